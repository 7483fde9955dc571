//! What must be true of a guest's ELF file for Xen to boot it, and its build id.

use anyhow::{Context, Result, bail};
use object::elf::PT_NOTE;
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{Endianness, Object};

/// Checks that an image is a 64-bit program with Xen's ELF notes and no dynamic linking.
///
/// # Errors
/// With what is missing; for an error here rather than in `xl create`.
pub(crate) fn check(bytes: &[u8]) -> Result<()> {
    let file = ElfFile64::<Endianness>::parse(bytes).context("not a 64-bit ELF file")?;
    let endian = file.endian();
    let mut has_notes = false;
    for header in file.elf_header().program_headers(endian, bytes)? {
        if header.p_type(endian) == object::elf::PT_INTERP {
            bail!("it is linked dynamically");
        }
        if header.p_type(endian) == PT_NOTE {
            let mut notes = header
                .notes(endian, bytes)?
                .context("a note segment without notes")?;
            while let Some(note) = notes.next()? {
                has_notes |= note.name() == b"Xen";
            }
        }
    }
    if !has_notes {
        bail!("it has no ELF notes of Xen: link.ld must keep them in a PT_NOTE segment");
    }
    Ok(())
}

/// The linker's build id in hexadecimal, by which a crash report and its symbols are matched.
///
/// # Errors
/// If this is no ELF file or has no build id.
pub(crate) fn build_id(bytes: &[u8]) -> Result<String> {
    let id = object::File::parse(bytes)?
        .build_id()?
        .context("no build id in it")?
        .to_vec();
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_program_is_no_guest() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(
            check(&bytes)
                .unwrap_err()
                .to_string()
                .contains("dynamically")
        );
        assert!(check(b"#!/bin/sh").is_err());
    }
}
