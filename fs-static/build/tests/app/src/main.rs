//! An application with a site in it, for the tests: writes what it finds there.
//!
//! `paths` lists the paths that answer; `head|fields|validators|body PATH CODING` writes that part of a variant, and
//! `head PATH` that of a redirect. The path `404` is the site's own error page.
#![forbid(unsafe_code)]

use std::io::Write;
use xenlet_fs_static::{Entry, Tree};

static SITE: Tree = xenlet_fs_static::site!();

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let out = match args.as_slice() {
        ["paths"] => {
            let mut paths: Vec<_> = SITE.entries().map(|(path, _)| path).collect();
            paths.sort();
            paths.join("\n").into_bytes()
        }
        ["files"] => SITE
            .files()
            .iter()
            .map(|file| file.path())
            .collect::<Vec<_>>()
            .join("\n")
            .into_bytes(),
        ["bytes"] => format!("{} {}", SITE.content_bytes(), SITE.stored_bytes()).into_bytes(),
        [part, path, rest @ ..] => {
            let file = match (SITE.get(path), rest) {
                (Some(Entry::Redirect(redirect)), []) => return write(redirect.head()),
                (Some(Entry::File(file)), [_]) => file,
                (None, [_]) if *path == "404" => SITE.not_found().expect("no 404 page"),
                (entry, _) => panic!("{path} is {entry:?}"),
            };
            let variant = file
                .variants()
                .find(|variant| variant.coding().token() == rest[0])
                .expect("no such variant");
            match *part {
                "head" => variant.head(),
                "fields" => variant.fields(),
                "validators" => variant.validators(),
                "etag" => variant.etag().as_bytes(),
                "type" => file.content_type().as_bytes(),
                _ => variant.body(),
            }
            .to_vec()
        }
        _ => panic!("unknown command"),
    };
    write(&out);
}

fn write(bytes: &[u8]) {
    std::io::stdout()
        .write_all(bytes)
        .expect("stdout is closed");
}
