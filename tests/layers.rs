//! The layers hold: no import points up. See `docs/ARCHITECTURE.md` for the picture.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of the root package, from the bottom: one may use those before it and itself.
/// `store` and `schema` know neither node nor surface; the CLI and the API stand on top.
const ORDER: [(&str, &[&str]); 8] = [
    ("quote", &[]),
    ("schema", &["quote"]),
    ("capture", &["quote", "schema"]),
    ("store", &["quote", "schema", "capture"]),
    ("node", &["store"]),
    ("surface", &["node", "store"]),
    ("cli", &["quote", "node", "store", "surface"]),
    ("bin", &["cli"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(under: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![under.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// `crate::x` and `p2pdb::x` anywhere in the file, comments left out.
fn modules_used(source: &str) -> Vec<String> {
    let code = source.lines().map(|l| l.split("//").next().unwrap_or_default());
    let code: String = code.collect::<Vec<_>>().join("\n");
    ["crate::", "p2pdb::"]
        .iter()
        .flat_map(|prefix| code.match_indices(prefix).map(|(at, _)| at + prefix.len()).collect::<Vec<_>>())
        .map(|at| code[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

#[test]
fn no_module_of_the_root_package_imports_one_above_it() {
    let allowed: BTreeMap<_, _> = ORDER.into_iter().collect();
    let src = root().join("src");
    let mut seen = 0;
    for file in rust_files(&src) {
        let relative = file.strip_prefix(&src).unwrap();
        let module = relative.components().next().unwrap().as_os_str().to_string_lossy().replace(".rs", "");
        if module == "lib" || file.ends_with("tests.rs") {
            continue;
        }
        let may = allowed.get(module.as_str()).unwrap_or_else(|| panic!("{module} has no place among the layers"));
        for used in modules_used(&fs::read_to_string(&file).unwrap()) {
            let is_module = allowed.contains_key(used.as_str());
            assert!(
                !is_module || used == module || may.contains(&used.as_str()),
                "{} uses {used}, which is above {module} or beside it",
                relative.display()
            );
            seen += usize::from(is_module);
        }
    }
    assert!(seen > 10, "the test reads imports: {seen}");
}

#[test]
fn core_is_pure_and_core_and_net_do_not_know_each_other() {
    for file in rust_files(&root().join("crates/core/src")) {
        let source = fs::read_to_string(&file).unwrap();
        for impure in [
            "rusqlite",
            "tokio",
            "libp2p",
            "std::thread",
            "std::net",
            "std::fs",
            "std::time",
            "HashMap",
            "HashSet",
            "getrandom",
            "rand::",
        ] {
            let uses = source.lines().any(|l| !l.trim_start().starts_with("//") && l.contains(impure));
            assert!(!uses, "{} uses {impure}; time, randomness and storage are arguments there", file.display());
        }
    }
    let net = fs::read_to_string(root().join("crates/net/Cargo.toml")).unwrap();
    assert!(!net.contains("p2pdb-core"), "net moves frames and does not know what is in them");
    let core = fs::read_to_string(root().join("crates/core/Cargo.toml")).unwrap();
    assert!(!core.contains("p2pdb-net"));
}

#[test]
fn only_the_surface_and_the_extension_are_unsafe() {
    for folder in ["src", "crates"] {
        for file in rust_files(&root().join(folder)) {
            let path = file.strip_prefix(root()).unwrap();
            let may =
                path.starts_with("src/surface") || path.starts_with("src/surface.rs") || path.starts_with("crates/ext");
            let source = fs::read_to_string(&file).unwrap();
            let has = source.lines().any(|l| {
                let code = l.split("//").next().unwrap_or_default();
                code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
            });
            assert!(may || !has, "{} has unsafe code", path.display());
        }
    }
}
