#![no_main]

use libfuzzer_sys::fuzz_target;
use p2pdb_sim::hostile::value::TARGET;

fuzz_target!(|input: &[u8]| p2pdb_fuzz::put(&TARGET, input));
