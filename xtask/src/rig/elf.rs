//! What a program or a kernel module needs beside it, read from its ELF file.

use anyhow::{Context, Result};
use object::elf::{DT_NEEDED, PT_DYNAMIC, PT_INTERP};
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object, ObjectSection};

/// The interpreter's path and the names of the shared libraries; none for a script or a static program.
///
/// # Errors
/// If the ELF file is damaged.
pub(crate) fn needs(bytes: &[u8]) -> Result<Vec<String>> {
    if !bytes.starts_with(b"\x7fELF") {
        return Ok(Vec::new());
    }
    let file = ElfFile64::<Endianness>::parse(bytes)?;
    let endian = file.endian();
    let mut names = Vec::new();
    let headers = file.elf_header().program_headers(endian, bytes)?;
    let sections = file.elf_header().sections(endian, bytes)?;
    for header in headers {
        match header.p_type(endian) {
            PT_INTERP => {
                let path = header
                    .interpreter(endian, bytes)?
                    .context("an interpreter without a name")?;
                names.push(String::from_utf8_lossy(path).into_owned());
            }
            PT_DYNAMIC => {
                let Some((entries, strings)) = sections.dynamic(endian, bytes)? else {
                    continue;
                };
                let strings = sections.strings(endian, bytes, strings)?;
                for entry in entries
                    .iter()
                    .filter(|entry| entry.d_tag(endian) == DT_NEEDED)
                {
                    let name = entry.string(endian, strings)?;
                    names.push(String::from_utf8_lossy(name).into_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

/// The modules a kernel module asks for, from the `depends=` of its `.modinfo`.
///
/// # Errors
/// If this is not an ELF file with such a section.
pub(crate) fn module_needs(bytes: &[u8]) -> Result<Vec<String>> {
    let file = object::File::parse(bytes)?;
    let section = file
        .section_by_name(".modinfo")
        .context("no .modinfo section")?;
    let info = String::from_utf8_lossy(section.data()?).into_owned();
    let depends = info
        .split('\0')
        .find_map(|word| word.strip_prefix("depends="))
        .unwrap_or_default();
    Ok(depends
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_needs_libc() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let names = needs(&bytes).unwrap();
        assert!(names.iter().any(|name| name == "libc.so.6"), "{names:?}");
        assert!(
            names.iter().any(|name| name.contains("ld-linux")),
            "{names:?}"
        );
    }

    #[test]
    fn a_script_needs_nothing() {
        assert!(needs(b"#!/bin/sh\n").unwrap().is_empty());
    }
}
