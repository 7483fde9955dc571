//! The field as clients send it, as the grammar has it, and as no grammar has it.

use super::*;
use crate::{File, Variant};
use proptest::prelude::*;
use std::vec::Vec;

const CODINGS: [Coding; 3] = [Coding::Identity, Coding::Gzip, Coding::Brotli];

fn preferences(value: &str) -> [Option<u16>; 3] {
    CODINGS.map(|coding| Accept::parse(value.as_bytes()).preference(coding))
}

#[test]
fn what_clients_send() {
    for (value, expected) in [
        ("", [Some(0), None, None]),
        ("gzip, deflate", [Some(0), Some(1000), None]),
        ("gzip, deflate, br, zstd", [Some(0), Some(1000), Some(1000)]),
        (
            "br;q=1.0, gzip;q=0.8, *;q=0.1",
            [Some(100), Some(800), Some(1000)],
        ),
        ("identity", [Some(1000), None, None]),
        ("*", [Some(1000), Some(1000), Some(1000)]),
        ("x-gzip", [Some(0), Some(1000), None]),
        ("GZip;Q=0.5", [Some(0), Some(500), None]),
        ("gzip;q=0", [Some(0), None, None]),
        ("gzip, identity;q=0", [None, Some(1000), None]),
        ("gzip, *;q=0", [None, Some(1000), None]),
        ("*;q=0, identity;q=0.001", [Some(1), None, None]),
        ("gzip \t; \t q=0.25 ,\tbr", [Some(0), Some(250), Some(1000)]),
        (",, ,gzip,", [Some(0), Some(1000), None]),
        ("gzip;q=0.2, gzip;q=0.9", [Some(0), Some(900), None]),
    ] {
        assert_eq!(preferences(value), expected, "{value:?}");
    }
}

#[test]
fn weights() {
    for (weight, expected) in [
        ("1", 1000),
        ("1.", 1000),
        ("1.000", 1000),
        ("0.5", 500),
        ("0.05", 50),
        ("0.005", 5),
    ] {
        assert_eq!(parse_qvalue(weight.as_bytes()), Some(expected), "{weight}");
    }
    for weight in [
        "", ".", ".5", "1.001", "2", "0.1234", "0.-1", "0.1x", "-0", "1,0", "00", "01", "0 ",
    ] {
        assert_eq!(parse_qvalue(weight.as_bytes()), None, "{weight}");
    }
}

#[test]
fn what_the_grammar_does_not_allow_is_not_said() {
    for value in [
        "gzip;q=2",
        "gzip;level=9",
        "gzip;q=0.5;x=1",
        "gzip;",
        "gzip q=1",
        "gzi p",
        ";q=1",
        "\u{a0}gzip",
    ] {
        assert_eq!(Accept::parse(value.as_bytes()), Accept::UNSAID, "{value:?}");
    }
}

/// A file whose variants have these sizes; 0 means that there is no such variant.
fn file(identity: usize, gzip: usize, brotli: usize) -> File {
    static BODY: [u8; 1000] = [0; 1000];
    let variant = |coding, len| Variant::new(coding, &BODY[..len], "\"\"", b"", 0, 0);
    let optional = |coding, len| (len > 0).then(|| variant(coding, len));
    File::new(
        "/",
        "",
        variant(Coding::Identity, identity),
        optional(Coding::Gzip, gzip),
        optional(Coding::Brotli, brotli),
    )
}

fn chosen(file: &File, value: &str) -> Option<Coding> {
    file.negotiate(Accept::parse(value.as_bytes()))
        .map(Variant::coding)
}

#[test]
fn the_smallest_of_the_best_liked() {
    let (all, plain) = (file(1000, 300, 200), file(1000, 0, 0));
    assert_eq!(chosen(&all, ""), Some(Coding::Identity));
    assert_eq!(chosen(&all, "gzip, br"), Some(Coding::Brotli));
    assert_eq!(
        chosen(&file(1000, 100, 200), "gzip, br"),
        Some(Coding::Gzip)
    );
    assert_eq!(chosen(&all, "gzip, br;q=0.9"), Some(Coding::Gzip));
    assert_eq!(chosen(&all, "gzip;q=0.001"), Some(Coding::Gzip));
    assert_eq!(chosen(&all, "identity, gzip;q=0.5"), Some(Coding::Identity));
    assert_eq!(chosen(&all, "*"), Some(Coding::Brotli));
    assert_eq!(chosen(&plain, "gzip, br"), Some(Coding::Identity));
    assert_eq!(chosen(&plain, "gzip, identity;q=0"), None);
    assert_eq!(chosen(&all, "*;q=0"), None);
    assert_eq!(chosen(&all, "zstd, identity;q=0"), None);
}

/// An element as the grammar has it, and what it says.
fn element() -> impl Strategy<Value = (&'static str, u16)> {
    let names = prop::sample::select(&["gzip", "br", "identity", "*", "zstd", "deflate"][..]);
    (names, prop_oneof![Just(0), Just(1000), 0..=1000u16])
}

proptest! {
    #[test]
    fn any_bytes_are_taken(value in prop::collection::vec(any::<u8>(), 0..200)) {
        Accept::parse(&value);
    }

    #[test]
    fn bytes_that_look_like_it_are_taken(value in "[gzipbr*identity;q=01.,5 \t]{0,60}") {
        Accept::parse(value.as_bytes());
    }

    /// The choice, against the words of RFC 9110 §12.5.3, from the elements themselves.
    #[test]
    fn no_acceptable_variant_is_better_than_the_chosen(
        elements in prop::collection::vec(element(), 0..6),
        sizes in (1..1000usize, 0..1000usize, 0..1000usize),
    ) {
        let value: Vec<_> = elements.iter()
            .map(|(name, weight)| std::format!("{name};q={}.{:03}", weight / 1000, weight % 1000))
            .collect();
        let weight = |coding: Coding| {
            let said = |name| elements.iter().rev().find(|(named, _)| *named == name).map(|&(_, weight)| weight);
            match (said(coding.token()), said("*")) {
                (Some(weight), _) | (None, Some(weight)) => (weight > 0).then_some(f64::from(weight)),
                (None, None) if coding == Coding::Identity => Some(0.5),
                (None, None) => None,
            }
        };
        let file = file(sizes.0, sizes.1, sizes.2);
        let choice = file.negotiate(Accept::parse(value.join(", ").as_bytes()));
        let acceptable = file.variants().filter(|variant| weight(variant.coding()).is_some());
        match choice {
            None => prop_assert_eq!(acceptable.count(), 0),
            Some(chosen) => {
                prop_assert!(weight(chosen.coding()).is_some());
                for other in acceptable {
                    let (other_weight, weight) = (weight(other.coding()), weight(chosen.coding()));
                    prop_assert!(other_weight <= weight);
                    prop_assert!(other_weight < weight || other.body().len() >= chosen.body().len());
                }
            }
        }
    }

    #[test]
    fn two_lines_are_one_list(first in "[gzipbr*;q=01., ]{0,30}", second in "[gzipbr*;q=01., ]{0,30}") {
        let joined = std::format!("{first},{second}");
        prop_assert_eq!(Accept::parse(first.as_bytes()).and(second.as_bytes()), Accept::parse(joined.as_bytes()));
    }
}
