//! Where an image's bytes go: by section, and by crate.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Result;
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SectionKind, SymbolKind};

use super::Image;

/// Crates with less than this are summed up in one line.
const SMALL: u64 = 2 * 1024;

/// Two tables of KiB: what is loaded, and which crate's functions and data it is.
///
/// # Errors
/// If the image can't be read.
pub(crate) fn report(image: &Image) -> Result<String> {
    let stripped = std::fs::metadata(image.elf())?.len();
    let packed = std::fs::metadata(image.packed())?.len();
    let bytes = std::fs::read(image.debug())?;
    let file = object::File::parse(&*bytes)?;
    let mut text = format!(
        "{}: {:.1} KiB; unpacked, as unikernel.elf: {:.1} KiB\n",
        image.packed().display(),
        kib(packed),
        kib(stripped)
    );
    text.push_str("  by section\n");
    for section in file.sections().filter(is_loaded) {
        let note = if section.kind() == SectionKind::UninitializedData {
            "  (zeros, not in the file)"
        } else {
            ""
        };
        row(&mut text, section.name()?, section.size(), note);
    }
    text.push_str("  by crate\n");
    let mut crates: Vec<(String, u64)> = by_crate(&file).into_iter().collect();
    crates.sort_by_key(|(name, size)| (std::cmp::Reverse(*size), name.clone()));
    let (large, small): (Vec<_>, Vec<_>) = crates.into_iter().partition(|(_, size)| *size >= SMALL);
    for (name, size) in &large {
        row(&mut text, name, *size, "");
    }
    row(
        &mut text,
        &format!("{} more", small.len()),
        small.iter().map(|(_, size)| size).sum(),
        "",
    );
    Ok(text)
}

fn row(text: &mut String, name: &str, size: u64, note: &str) {
    // Writing to a string can't fail.
    let _ = writeln!(text, "    {:>8.1}  {name}{note}", kib(size));
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sizes of images are far below 2^52 bytes"
)]
fn kib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}

fn is_loaded(section: &object::Section<'_, '_>) -> bool {
    let SectionFlags::Elf { sh_flags, .. } = section.flags() else {
        return false;
    };
    sh_flags.contains(object::elf::SHF_ALLOC) && section.size() > 0
}

/// The bytes of each crate's functions and statics. What has no symbol (strings, unnamed constants) is not in it.
fn by_crate(file: &object::File<'_>) -> BTreeMap<String, u64> {
    let mut sizes = BTreeMap::new();
    for symbol in file
        .symbols()
        .filter(|symbol| matches!(symbol.kind(), SymbolKind::Text | SymbolKind::Data))
    {
        let name = symbol.name().map(crate_of).unwrap_or_default();
        *sizes.entry(name).or_default() += symbol.size();
    }
    sizes.retain(|_, size| *size > 0);
    sizes
}

/// The crate a mangled symbol comes from: the first name of its path.
fn crate_of(symbol: &str) -> String {
    let Ok(name) = rustc_demangle::try_demangle(symbol) else {
        return "(not Rust)".into();
    };
    let name = format!("{name:#}");
    // `<alloc::vec::Vec<T> as core::ops::Drop>::drop` is alloc's; `<&mut T as core::fmt::Debug>::fmt`, for any type, is
    // the trait's.
    let paths = name.split([' ', '<', '>', '&', '(', ')', '[', ']', '*', ',', ';', '"']);
    let first = paths
        .filter_map(|path| path.split_once("::"))
        .find(|(name, _)| !name.is_empty());
    first.map_or("(not Rust)", |(name, _)| name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_name_their_crates() {
        assert_eq!(
            crate_of("_ZN7smoltcp4wire4ipv417h0123456789abcdefE"),
            "smoltcp"
        );
        assert_eq!(
            crate_of(
                "_ZN66_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..ops..drop..Drop$GT$4drop17h0123456789abcdefE"
            ),
            "alloc"
        );
        assert_eq!(crate_of("_RNvNtCsabc_7smoltcp4wire4ipv4"), "smoltcp");
        let of_a_parameter =
            "_ZN42_$LT$$RF$T$u20$as$u20$core..fmt..Debug$GT$3fmt17h0123456789abcdefE";
        assert_eq!(crate_of(of_a_parameter), "core");
        assert_eq!(crate_of("memcpy"), "(not Rust)");
    }
}
