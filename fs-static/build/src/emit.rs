//! Writes the Rust source. It refers to `xenlet_fs_static::generated`, by the name `fs_static`.

use crate::blob::Place;
use crate::table::Target;
use std::collections::BTreeMap;
use std::fmt;
use xenlet_fs_static::{Coding, Encoded, Head, Places, redirect};

/// A file of the site, ready to be written.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) content_type: String,
    /// Identity, and the compressed ones that are worth having.
    pub(crate) variants: Vec<Variant>,
}

/// A body of a file.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) coding: Coding,
    pub(crate) place: Place,
    /// With its quotes.
    pub(crate) etag: String,
}

/// The source of an expression of type `Tree`. The bodies are in `site.bin` beside it.
pub(crate) fn source(
    files: &[File],
    table: &BTreeMap<String, Target>,
    stored_bytes: usize,
) -> String {
    let mut redirects = Vec::new();
    let mut entries = phf_codegen::Map::new();
    entries.phf_path("fs_static::phf");
    for (path, target) in table {
        entries.entry(
            path.as_str(),
            match target {
                Target::File(index) => format!("Entry::File(&FILES[{index}])"),
                Target::Redirect(_) => {
                    let mut head = String::new();
                    // Writing to a string does not fail, here and below.
                    let _ = redirect(path, &mut head);
                    let location = format!("{}/", Encoded(path));
                    redirects.push(format!("Redirect::new({location:?}, {})", bytes(&head)));
                    format!("Entry::Redirect(&REDIRECTS[{}])", redirects.len() - 1)
                }
            },
        );
    }
    let not_found = files.iter().find(|file| file.path == "/404.html");
    let not_found = not_found.map_or("None".to_owned(), |page| {
        format!("Some({})", file(page, |head, out| head.not_found(out)))
    });
    format!(
        "// Written by xenlet-fs-static-build. It depends on nothing but the paths and contents of the site.\n\
         {{\n\
         use fs_static::{{Coding, Entry, File, Redirect, Tree, Variant, slice}};\n\
         static BYTES: &[u8] = include_bytes!(\"site.bin\");\n\
         static FILES: [File; {}] = [\n{}];\n\
         #[allow(dead_code, reason = \"there may be none\")]\n\
         static REDIRECTS: [Redirect; {}] = [\n{}];\n\
         static ENTRIES: fs_static::phf::Map<&str, Entry> = {};\n\
         static NOT_FOUND: Option<File> = {not_found};\n\
         Tree::new(&ENTRIES, &FILES, NOT_FOUND.as_ref(), {stored_bytes})\n\
         }}\n",
        files.len(),
        lines(files.iter().map(|one| file(one, |head, out| head.ok(out)))),
        redirects.len(),
        lines(redirects.into_iter()),
        entries.build(),
    )
}

/// Writes one of the heads that a file has.
type Write = fn(&Head<'_>, &mut String) -> Result<Places, fmt::Error>;

fn file(file: &File, head: Write) -> String {
    let variant = |coding| {
        let variant = file
            .variants
            .iter()
            .find(|variant| variant.coding == coding)?;
        let Place { at, len } = variant.place;
        let of = Head {
            content_type: &file.content_type,
            coding,
            body_bytes: len as u64,
            etag: &variant.etag,
            varies: file.variants.len() > 1,
        };
        let mut text = String::new();
        let Places { fields, validators } = head(&of, &mut text).unwrap_or_default();
        Some(format!(
            "Variant::new(Coding::{coding:?}, slice(BYTES, {at}, {len}), {:?}, {}, {fields}, {validators})",
            variant.etag,
            bytes(&text),
        ))
    };
    let option =
        |coding| variant(coding).map_or("None".to_owned(), |variant| format!("Some({variant})"));
    format!(
        "File::new({:?}, {:?}, {}, {}, {})",
        file.path,
        file.content_type,
        variant(Coding::Identity).unwrap_or_default(),
        option(Coding::Gzip),
        option(Coding::Brotli),
    )
}

/// A byte string literal.
fn bytes(text: &str) -> String {
    format!("b\"{}\"", text.as_bytes().escape_ascii())
}

fn lines(items: impl Iterator<Item = String>) -> String {
    items.map(|item| item + ",\n").collect()
}
