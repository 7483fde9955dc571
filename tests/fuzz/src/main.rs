//! With `--cfg libfuzzer`, libFuzzer on the target that `XENLET_FUZZ` names. Without, what has no need of it: running files that are
//! inputs, and moving inputs between the corpus and a folder of such files.
#![forbid(unsafe_code)]
#![cfg_attr(libfuzzer, no_main)]

#[cfg(libfuzzer)]
mod libfuzzer {
    use std::sync::LazyLock;
    use xenlet_fuzz::Target;

    static TARGET: LazyLock<Target> = LazyLock::new(|| {
        let name = std::env::var("XENLET_FUZZ").unwrap_or_default();
        Target::find(&name).unwrap_or_else(|| panic!("XENLET_FUZZ={name}: no such target"))
    });

    libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.run)(data));
}

#[cfg(not(libfuzzer))]
mod by_hand;

#[cfg(not(libfuzzer))]
fn main() -> std::process::ExitCode {
    by_hand::main()
}
