//! Tests of rules, and of what requests are told.

extern crate std;

use super::*;
use crate::request::tests::request;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use proptest::prelude::*;

const OWN: &str = "aa:BB:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:01";
const RULES: Rules = Rules::new(&[
    Rule {
        methods: READ,
        path: "/a",
        who: &[
            Who::Token("one"),
            Who::Name("somebody"),
            Who::certificate(OWN),
        ],
    },
    Rule {
        methods: &[Method::Put],
        path: "/a",
        who: &[Who::Token("two")],
    },
    Rule {
        methods: ANY,
        path: "/b/c",
        who: &[Who::Name("somebody")],
    },
    Rule {
        methods: READ,
        path: "/",
        who: &[Who::Anyone],
    },
]);

/// No hash, but of one length and different for different tokens here.
fn hash(token: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (place, byte) in bytes.iter_mut().zip(token) {
        *place = *byte;
    }
    bytes
}

fn access() -> Access {
    let mut access = Access::new(RULES, hash);
    access.add_token("one", b"one-one-one-one-one").unwrap();
    access.add_token("two", b"two-two-two-two-two").unwrap();
    access
}

fn judge(method: Method, path: &'static str, lines: &str, peer: Option<&Peer>) -> &'static str {
    let request = Request {
        path,
        ..request(method, lines)
    };
    match access().judge(&request, peer) {
        Verdict::Admitted => "yes",
        Verdict::Nobody(true) => "token?",
        Verdict::Nobody(false) => "no",
        Verdict::WrongToken => "wrong",
    }
}

#[test]
fn who_may_what() {
    use Method::{Delete, Get, Head, Put};
    let peer = |name: &str, first| {
        let mut fingerprint = [0; 32];
        (fingerprint[0], fingerprint[1], fingerprint[31]) = (first, 0xbb, 1);
        Peer {
            name: Box::from(name),
            fingerprint,
        }
    };
    let (somebody, own, other) = (peer("somebody", 0), peer("", 0xaa), peer("other", 0));
    let (one, two) = (
        "Authorization: Bearer one-one-one-one-one\r\n",
        "Authorization: bearer  two-two-two-two-two\r\n",
    );
    for (method, path, lines, peer, verdict) in [
        (Get, "/", "", None, "yes"),
        (Get, "/ab", "", None, "yes"),
        (Put, "/", "", None, "no"),
        (Get, "/a", "", None, "token?"),
        (Head, "/a/b", "", None, "token?"),
        (Get, "/a", one, None, "yes"),
        (Get, "/a", two, None, "wrong"),
        (Put, "/a/b", two, None, "yes"),
        (Put, "/a/b", one, None, "wrong"),
        (Put, "/a", "Authorization: Basic two\r\n", None, "token?"),
        (Get, "/a", "Authorization: Bearer \r\n", None, "token?"),
        (
            Get,
            "/a",
            "Authorization: Bearer one-one-one-one-on\r\n",
            None,
            "wrong",
        ),
        // Of two fields nobody knows which is meant.
        (Get, "/a", &(String::from(one) + one), None, "token?"),
        (Delete, "/a", one, Some(&somebody), "no"),
        (Get, "/a", "", Some(&somebody), "yes"),
        (Get, "/a", "", Some(&own), "yes"),
        (Get, "/a", "", Some(&other), "token?"),
        (Put, "/a", "", Some(&somebody), "token?"),
        (Delete, "/b/c/d", "", Some(&somebody), "yes"),
        // No token would do.
        (Delete, "/b/c/d", one, Some(&other), "no"),
        (Get, "/b/c", "", None, "no"),
        (Get, "/b/cd", "", None, "yes"),
    ] {
        assert_eq!(
            judge(method, path, lines, peer),
            verdict,
            "{method} {path} {lines:?} {peer:?}"
        );
    }
}

#[test]
fn which_tokens_are_taken() {
    let mut access = Access::new(RULES, hash);
    let mut add = |name, token: &str| access.add_token(name, token.as_bytes());
    assert_eq!(add("three", "three-three-three"), Err(TokenError::Unknown));
    for bad in [
        "",
        "=",
        "a b a b a b a b a b",
        "a=b=a=b=a=b=a=b=a=",
        "üüüüüüüüüüüüüü",
    ] {
        assert_eq!(add("one", bad), Err(TokenError::Characters), "{bad:?}");
    }
    assert_eq!(add("one", "fifteen-letters"), Err(TokenError::Short));
    assert_eq!(add("one", "AZaz09-._~+/AZ=="), Ok(()));
    assert_eq!(add("one", "another-token-of-it"), Err(TokenError::Twice));
    assert!(access.has_token("one") && !access.has_token("two"));
}

#[test]
fn rules_say_what_they_are() {
    let lines: Vec<_> = RULES.iter().map(ToString::to_string).collect();
    let own = OWN.replace(':', "").to_lowercase();
    assert_eq!(
        lines,
        [
            &format!("GET, HEAD /a: token one, certificate of somebody, certificate {own}"),
            "PUT /a: token two",
            "any method /b/c: certificate of somebody",
            "GET, HEAD /: anyone",
        ]
    );
    assert!(RULES.ask_for_certificates());
    assert!(RULES.tokens().eq(["one", "two"]));
}

#[test]
fn rules_that_are_refused_when_they_are_compiled() {
    let refused = |rules: Vec<Rule>| {
        let rules: &'static [Rule] = rules.leak();
        std::panic::catch_unwind(|| Rules::new(rules)).is_err()
    };
    let rule = |path, who| Rule {
        methods: READ,
        path,
        who,
    };
    const ALL: &[Who] = &[Who::Anyone];
    for path in ["", "a", "/a/", "//", "/a//b", "/a?b", "/*", "/%41"] {
        assert!(refused(Vec::from([rule(path, ALL)])), "{path}");
    }
    assert!(refused(Vec::from([rule("/a", &[])])));
    assert!(refused(Vec::from([rule(
        "/a",
        &[Who::Anyone, Who::Token("a")]
    )])));
    assert!(refused(Vec::from([rule("/a", &[Who::Token("")])])));
    for (first, second) in [("/", "/a"), ("/a", "/a/b"), ("/a", "/a")] {
        assert!(
            refused(Vec::from([rule(first, ALL), rule(second, ALL)])),
            "{first} {second}"
        );
    }
    for (first, second) in [("/a", "/"), ("/a", "/ab"), ("/a/b", "/a")] {
        assert!(
            !refused(Vec::from([rule(first, ALL), rule(second, ALL)])),
            "{first} {second}"
        );
    }
}

proptest! {
    /// A rule that covers another fits whatever that fits.
    #[test]
    fn covering_is_fitting(first in "(/[ab]){1,3}|/", second in "(/[ab]){1,3}|/", path in "(/[ab]{0,2}){1,4}") {
        let rule = |path: String| Rule { methods: READ, path: path.leak(), who: &[Who::Anyone] };
        let (first, second) = (rule(first), rule(second));
        if first.covers(&second) && second.fits(Method::Get, &path) {
            prop_assert!(first.fits(Method::Get, &path));
        }
        if !first.covers(&second) {
            prop_assert!(!first.fits(Method::Get, second.path));
        }
    }
}

#[test]
fn what_a_token_is() {
    for good in ["a", "AZaz09-._~+/", "c2VjcmV0Cg=="] {
        assert!(is_token(good.as_bytes()), "{good}");
    }
    for bad in ["", "=", "a b", "a=b", "ü", "a\n", "\"a\""] {
        assert!(!is_token(bad.as_bytes()), "{bad:?}");
    }
}

#[test]
fn where_a_token_is() {
    assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
    assert_eq!(bearer(b"bEARER  abc"), Some(&b"abc"[..]));
    for none in [
        &b"Bearer"[..],
        b"Basic abc",
        b"Bearerabc",
        b"",
        "Bearer\u{e9}".as_bytes(),
    ] {
        assert_eq!(bearer(none), None);
    }
}
