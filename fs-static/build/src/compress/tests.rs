//! What variants are made, and what is kept of them.

use super::*;
use proptest::prelude::*;
use std::io::Read;

fn gunzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_end(&mut out)
        .unwrap();
    out
}

fn unbrotli(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    brotli_decompressor::BrotliDecompress(&mut &bytes[..], &mut out).unwrap();
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn what_is_compressed_comes_back(body in prop::collection::vec(prop_oneof![Just(b' '), any::<u8>()], 0..600)) {
        prop_assert_eq!(&gunzip(&gzip(&body).unwrap()), &body);
        prop_assert_eq!(&unbrotli(&brotli(&body).unwrap()), &body);
    }
}

#[test]
fn gzip_says_nothing_about_the_build() {
    let gzip = gzip(b"hello").unwrap();
    // RFC 1952 §2.3: no name, no comment (flags), no time.
    assert_eq!(gzip[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
}

#[test]
fn a_variant_must_save_something() {
    for (body, variant, expected) in [
        (1000, 900, true),
        (1000, 936, true),
        (1000, 937, false), // less than 64 bytes saved
        (10_000, 9_500, true),
        (10_000, 9_501, false), // less than a twentieth
        (63, 0, false),
        (0, 20, false),
    ] {
        assert_eq!(is_worth(body, variant), expected, "{body} → {variant}");
    }
}

#[test]
fn results_are_kept_used_and_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("variants");
    let names = || {
        let mut names: Vec<_> = fs::read_dir(&cache)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    };
    let (first, second) = (b"first ".repeat(100), b"second ".repeat(100));

    let made = compress_all(
        [&first[..], &second, &first].into_iter(),
        &Cache::new(&cache),
    );
    assert_eq!(made.len(), 2);
    assert_eq!(gunzip(made[&first[..]].gzip.as_ref().unwrap()), first);
    assert_eq!(unbrotli(made[&second[..]].brotli.as_ref().unwrap()), second);
    assert_eq!(names().len(), 4);

    // What is kept is believed, so that a mark put there shows up.
    let marked = cache.join(hex(&hash(&first), 32)).with_extension("gz");
    fs::write(marked, "mark").unwrap();
    let again = Cache::new(&cache);
    let kept = compress_all([&first[..]].into_iter(), &again);
    again.sweep();
    assert_eq!(kept[&first[..]].gzip.as_deref(), Some(&b"mark"[..]));
    assert_eq!(kept[&first[..]].brotli, made[&first[..]].brotli);
    // And the second body, which is gone, left nothing behind.
    assert_eq!(names().len(), 2);
}

#[test]
fn without_a_cache_the_work_is_done_again() {
    let body = b"body ".repeat(100);
    let nowhere = Cache::new(Path::new("/dev/null/variants"));
    let made = compress_all([&body[..]].into_iter(), &nowhere);
    assert_eq!(gunzip(made[&body[..]].gzip.as_ref().unwrap()), body);
}
