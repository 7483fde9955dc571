//! Xen's own headers, for the tests of each crate that follows one.
//!
//! They are those of Debian's `libxen-dev`: below `$XENLET_XEN_HEADERS` (which `cargo xtask test` sets) or in
//! `/usr/include`. Without them there is nothing to check against, and the tests say so.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder that has `xen/xen.h`.
pub(crate) fn find() -> Option<PathBuf> {
    let named = std::env::var_os("XENLET_XEN_HEADERS").map(PathBuf::from);
    if let Some(dir) = &named {
        assert!(
            dir.join("xen/xen.h").exists(),
            "XENLET_XEN_HEADERS={} has no xen/xen.h",
            dir.display()
        );
    }
    named.or_else(|| {
        Path::new("/usr/include/xen/xen.h")
            .exists()
            .then(|| "/usr/include".into())
    })
}

/// What a C compiler says to a program of assertions.
pub(crate) fn compile(dir: &Path, program: &str) -> Result<(), String> {
    let mut cc = Command::new("cc")
        .args(["-fsyntax-only", "-std=gnu11", "-x", "c", "-I"])
        .arg(dir)
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cc: {e}"))?;
    let mut input = cc.stdin.take().ok_or("cc has no standard input")?;
    input
        .write_all(program.as_bytes())
        .map_err(|e| e.to_string())?;
    drop(input);
    let output = cc.wait_with_output().map_err(|e| e.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Adds to a C program that `c` is `ours`.
pub(crate) fn assert_equal(program: &mut String, c: &str, ours: u64) {
    let _ = writeln!(
        program,
        "_Static_assert(({c}) == {ours}u, \"{c} is not {ours}\");"
    );
}

/// Compiles a C program of assertions, if the headers are there.
///
/// # Panics
/// If an assertion fails.
pub(crate) fn check(program: &str) {
    let Some(dir) = find() else {
        eprintln!("not checked: no xen/xen.h (Debian: libxen-dev, or set XENLET_XEN_HEADERS)");
        return;
    };
    if let Err(said) = compile(&dir, program) {
        panic!("the headers below {} disagree:\n{said}", dir.display());
    }
}
