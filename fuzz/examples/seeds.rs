//! Writes what each target begins with: `cargo run --example seeds -- corpus` fills `corpus/<target>/`, a file an input.

use p2pdb_sim::hostile::TARGETS;
use std::path::PathBuf;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let corpus = PathBuf::from(env::args().nth(1).unwrap_or_else(|| "corpus".into()));
    for target in TARGETS {
        let folder = corpus.join(target.name);
        fs::create_dir_all(&folder)?;
        let inputs = target.inputs();
        for (n, input) in inputs.iter().enumerate() {
            fs::write(folder.join(format!("seed-{n}")), input)?;
        }
        println!("{}: {} inputs", folder.display(), inputs.len());
    }
    Ok(())
}
