//! From an instruction to the function of the source that it is of, inlined ones included.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

use addr2line::Loader;
use anyhow::{Result, anyhow};

use crate::commands::symbolize::short;

/// A function of the source.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Function {
    /// Where it is from: a crate, or what stands for Xen.
    pub(super) of: String,
    /// The file that it is in, if that is known.
    pub(super) file: String,
    /// Its path in Rust.
    pub(super) name: String,
}

/// What is of the hosted Xen: hypercalls on a real one.
pub(super) const XEN: &str = "the hosted Xen";
/// What has no source: `memcpy`, `malloc`.
pub(super) const C: &str = "the C library";
/// Functions of `core`, `alloc` and `std` that are not inlined.
const STD: &str = "core, alloc, std";

/// The program's debugging information.
pub(super) struct Source {
    loader: Loader,
    /// Instructions next to each other are often of one function.
    known: RefCell<HashMap<u64, Function>>,
}

impl Source {
    /// Reads it.
    ///
    /// # Errors
    /// If there is none.
    pub(super) fn load(program: &Path) -> Result<Self> {
        let loader = Loader::new(program)
            .map_err(|error| anyhow!("cannot read {}: {error}", program.display()))?;
        Ok(Self {
            loader,
            known: RefCell::default(),
        })
    }

    /// The function that an instruction is of; `symbol` is the one that it was compiled into.
    ///
    /// What was inlined is its own function's, but for the standard library's: that is whose it was inlined into.
    pub(super) fn function(&self, address: u64, symbol: &str) -> Function {
        if let Some(known) = self.known.borrow().get(&address) {
            return known.clone();
        }
        let function = self.find(address, symbol);
        self.known.borrow_mut().insert(address, function.clone());
        function
    }

    fn find(&self, address: u64, symbol: &str) -> Function {
        let mut standard = false;
        if let Ok(mut frames) = self.loader.find_frames(address) {
            while let Ok(Some(frame)) = frames.next() {
                let Some(file) = frame.location.and_then(|place| place.file) else {
                    continue;
                };
                // The standard library's own dependencies are in the other.
                if file.starts_with("/rustc/") || file.starts_with("/rust/deps/") {
                    standard = true;
                } else if let Some(name) = frame.function {
                    let file = short(file);
                    return Function {
                        of: origin(file),
                        file: file.into(),
                        name: demangled(&name.raw_name().unwrap_or_default()),
                    };
                }
            }
        }
        let of = if standard { STD } else { C };
        Function {
            of: of.into(),
            file: of.into(),
            name: demangled(symbol),
        }
    }
}

/// The crate of a file.
fn origin(file: &str) -> String {
    if file.contains("/src/hosted/") {
        return XEN.into();
    }
    let folder = file.split("/src/").next().unwrap_or_default();
    match folder.rsplit_once('-') {
        // `smoltcp-0.14.0`
        Some((name, version)) if version.starts_with(|first: char| first.is_ascii_digit()) => {
            name.into()
        }
        _ => folder.into(),
    }
}

/// A symbol as Rust writes the path; without the crate's hash.
pub(super) fn demangled(symbol: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(symbol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_are_known_by_their_files() {
        for (file, of) in [
            ("smoltcp-0.14.0/src/wire/tcp.rs", "smoltcp"),
            ("async-task-4.7.1/src/raw.rs", "async-task"),
            ("drivers/netfront/src/tx.rs", "drivers/netfront"),
            ("fs-static/src/tree.rs", "fs-static"),
            ("kernel/src/ring.rs", "kernel"),
            ("kernel/src/hosted/platform.rs", XEN),
        ] {
            assert_eq!(origin(file), of);
        }
    }

    /// This test program stands in for what is profiled.
    #[test]
    fn an_instruction_is_of_its_function() {
        use object::{Object, ObjectSymbol};
        let program = std::env::current_exe().unwrap();
        let bytes = std::fs::read(&program).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let here = file
            .symbols()
            .find(|symbol| {
                let name = symbol.name().map(demangled);
                name.is_ok_and(|name| name == "xtask::profile::source::origin")
            })
            .unwrap();
        let source = Source::load(&program).unwrap();
        let found = source.function(here.address(), here.name().unwrap());
        assert_eq!(found.of, "xtask");
        assert!(found.name.ends_with("profile::source::origin"), "{found:?}");
        let nowhere = source.function(u64::MAX / 2, "memcpy");
        assert_eq!((&*nowhere.of, &*nowhere.name), (C, "memcpy"));
    }
}
