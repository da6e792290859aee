//! Links the library so that it is never unmapped.
//!
//! SQLite unloads an extension that returns an error, whatever it has registered by then: the next call of a function, or the
//! close of the connection, would jump into the gap. Loading permanently can only be asked for by a load that succeeds.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    }
}
