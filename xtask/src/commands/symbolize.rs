//! `cargo xtask symbolize`: names the functions and lines of a crash report.

use std::io::Read;
use std::path::{Path, PathBuf};

use addr2line::Loader;
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use crate::image::{self, Image};
use crate::project::{self, Target};

/// `cargo xtask symbolize …`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask symbolize console.log
  ssh xenhost cat /var/log/xen/console/guest-httpd.log | cargo xtask symbolize
  cargo xtask symbolize --debug kept/unikernel.debug console.log")]
pub(crate) struct Arguments {
    /// A console's text with a crash report in it; standard input if none
    file: Option<PathBuf>,
    /// The image's symbols
    #[arg(long, value_name = "FILE")]
    debug: Option<PathBuf>,
    /// The application, to find its symbols where `build` leaves them
    #[arg(long, default_value = "httpd")]
    app: String,
}

/// # Errors
/// If the text or the symbols can't be read, or don't belong together.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let text = match &arguments.file {
        Some(file) => {
            std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?
        }
        None => {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text)?;
            text
        }
    };
    let debug = arguments
        .debug
        .clone()
        .unwrap_or_else(|| Image::of(&arguments.app, Target::Xen).debug());
    print!("{}", symbolize(&String::from_utf8_lossy(&text), &debug)?);
    Ok(())
}

/// The text with function, file and line after each frame `#N 0x…`, inlined calls included.
///
/// # Errors
/// If the symbols can't be read, or the report is of another build.
pub(crate) fn symbolize(text: &str, debug: &Path) -> Result<String> {
    let bytes = std::fs::read(debug).with_context(|| {
        format!(
            "no symbols at {}: build the image, or name them with --debug",
            debug.display()
        )
    })?;
    if let Some(reported) = build_id(text) {
        let id = image::build_id(&bytes)?;
        if !id.starts_with(reported) {
            bail!(
                "the report is of build {reported}, {} of build {id}: name its own with --debug",
                debug.display()
            );
        }
    }
    let loader =
        Loader::new(debug).map_err(|error| anyhow!("cannot read {}: {error}", debug.display()))?;
    let mut out = String::new();
    for line in text.lines() {
        out.push_str(line);
        if let Some((number, address)) = frame(line) {
            // A caller's address is that of the instruction after the call: the line is the call's.
            let address = if number == 0 {
                address
            } else {
                address.saturating_sub(1)
            };
            out.push_str(&names(&loader, address));
        }
        out.push('\n');
    }
    Ok(out)
}

/// The functions at an address, innermost first. Lines alone know functions by their short names; the symbol table
/// knows the outermost one, into which the others were inlined, by its whole path.
fn names(loader: &Loader, address: u64) -> String {
    let symbol = loader
        .find_symbol(address)
        .map(|name| format!("{:#}", rustc_demangle::demangle(name)));
    let mut calls: Vec<(Option<String>, String)> = Vec::new();
    if let Ok(mut frames) = loader.find_frames(address) {
        while let Ok(Some(frame)) = frames.next() {
            let function = frame
                .function
                .and_then(|function| Some(function.demangle().ok()?.into_owned()));
            let place = frame
                .location
                .and_then(|place| Some((place.file?, place.line?)));
            calls.push((
                function,
                place
                    .map(|(file, line)| format!("  {}:{line}", short(file)))
                    .unwrap_or_default(),
            ));
        }
    }
    if let Some(outermost) = calls.last_mut() {
        outermost.0 = symbol.or(outermost.0.take());
    } else {
        calls.push((symbol, String::new()));
    }
    let lines = calls
        .into_iter()
        .map(|(function, place)| format!("{}{place}", function.as_deref().unwrap_or("?")));
    format!(
        "  {}",
        lines.collect::<Vec<_>>().join("\n***      inlined into ")
    )
}

/// The hexadecimal digits after `build ` in `*** at rip 0x…, build 5f2e…`.
fn build_id(text: &str) -> Option<&str> {
    let line = text
        .lines()
        .rev()
        .find(|line| line.contains("*** at rip"))?;
    let id = line.split_once("build ")?.1;
    let digits = id
        .find(|letter: char| !letter.is_ascii_hexdigit())
        .unwrap_or(id.len());
    (digits > 0).then(|| &id[..digits])
}

/// The number and the address in `***   #3 0x0000000000413456`.
fn frame(line: &str) -> Option<(u32, u64)> {
    let (number, rest) = line
        .split_once("*** ")?
        .1
        .trim()
        .strip_prefix('#')?
        .split_once(' ')?;
    let address = rest.trim().split(' ').next()?.strip_prefix("0x")?;
    Some((number.parse().ok()?, u64::from_str_radix(address, 16).ok()?))
}

/// A path as people read it: within the project, or from the crate's folder on. Images have it so already, programs of
/// this machine have whole paths.
pub(crate) fn short(path: &str) -> &str {
    let root = project::root();
    if let Some(inside) = root.to_str().and_then(|root| path.strip_prefix(root)) {
        return inside.trim_start_matches('/');
    }
    path.split_once("/registry/src/")
        .and_then(|(_, rest)| rest.split_once('/'))
        .map_or(path, |(_, inside)| inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_build_ids_are_recognised() {
        assert_eq!(frame("***   #3 0x0000000000413456"), Some((3, 0x41_3456)));
        assert_eq!(frame("(XEN) ***   #0 0x10\r"), Some((0, 0x10)));
        assert_eq!(frame("***   rax 0x0000000000413456"), None);
        assert_eq!(
            build_id("*** at rip 0x0000000000412345, build 5f2e0a\n"),
            Some("5f2e0a")
        );
        assert_eq!(build_id("nothing\n"), None);
    }

    #[test]
    fn paths_are_shortened() {
        let own = format!("{}/kernel/src/run.rs", project::root().display());
        assert_eq!(short(&own), "kernel/src/run.rs");
        assert_eq!(
            short("/x/registry/src/index-1/smoltcp-0.14.0/src/lib.rs"),
            "smoltcp-0.14.0/src/lib.rs"
        );
        assert_eq!(
            short("smoltcp-0.14.0/src/lib.rs"),
            "smoltcp-0.14.0/src/lib.rs"
        );
        assert_eq!(
            short("/rustc/abc/library/core/src/fmt.rs"),
            "/rustc/abc/library/core/src/fmt.rs"
        );
    }

    /// This test program stands in for an image: an address in it must lead back to this file.
    #[test]
    fn an_address_becomes_a_function_and_a_line() {
        use object::{Object, ObjectSymbol};
        let program = std::env::current_exe().unwrap();
        let bytes = std::fs::read(&program).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let name = |symbol: &object::Symbol<'_, '_>| symbol.name().unwrap_or_default().to_owned();
        let here = file
            .symbols()
            .find(|symbol| name(symbol).contains("9symbolize8build_id"))
            .unwrap();
        let text = symbolize(&format!("***   #0 {:#018x}", here.address()), &program).unwrap();
        assert!(
            text.contains("symbolize::build_id")
                && text.contains("xtask/src/commands/symbolize.rs:"),
            "{text}"
        );
    }

    #[test]
    fn another_build_is_refused() {
        let program = std::env::current_exe().unwrap();
        let error = symbolize("*** at rip 0x1, build 0000000000\n", &program)
            .unwrap_err()
            .to_string();
        assert!(error.contains("0000000000"), "{error}");
    }
}
