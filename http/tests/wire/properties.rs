//! What holds for any bytes: nothing panics, the same bytes get the same replies however they are cut, and requests
//! that share a connection get what they would get alone.

use crate::peer::{Then, play, play_once};
use proptest::prelude::*;

/// A piece of a request: mostly sense, some nonsense.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let fixed = |pieces: &'static [&'static str]| {
        proptest::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec())
    };
    prop_oneof![
        8 => fixed(&[
            "GET /echo HTTP/1.1\r\n", "HEAD /static HTTP/1.1\r\n", "PUT /echo?q HTTP/1.1\r\n", "POST /ignore HTTP/1.0\r\n",
            "GET /large HTTP/1.1\r\n", "GET /chunked HTTP/1.1\r\n", "GET http://h/static HTTP/1.1\r\n", "GET /silent HTTP/1.1\r\n",
            "GET /%41%2e HTTP/1.1\r\n", "GET /short HTTP/1.1\r\n", "OPTIONS * HTTP/1.1\r\n", "BREW / HTTP/1.1\r\n",
        ]),
        12 => fixed(&[
            "Host: h\r\n", "Connection: close\r\n", "Connection: keep-alive\r\n", "Content-Length: 5\r\n", "Content-Length: 1001\r\n",
            "Transfer-Encoding: chunked\r\n", "Range: bytes=0-1\r\n", "If-None-Match: \"a\", *\r\n", "X: y\r\n", " folded\r\n",
        ]),
        12 => fixed(&["\r\n", "\r\n\r\n", "hello", "5\r\nhello\r\n", "0\r\n\r\n", "3;x\r\nabc\r\n0\r\nT: u\r\n\r\n", "\n", "\r", " ", ":"]),
        4 => fixed(&[
            "GET /static HTTP/1.1\r\nHost: h\r\n\r\n",
            "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            "PUT /ignore HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        ]),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => proptest::collection::vec(any::<u8>(), 1000..1100),
    ]
}

fn script() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(piece(), 0..24).prop_map(|pieces| pieces.concat())
}

/// A request that leaves the connection open, whole.
fn good_request() -> impl Strategy<Value = Vec<u8>> {
    let method = proptest::sample::select(&["GET", "HEAD", "PUT", "POST", "DELETE"][..]);
    let path = proptest::sample::select(
        &[
            "/echo",
            "/static",
            "/large",
            "/chunked",
            "/ignore",
            "/missing",
            "/echo?a=b",
        ][..],
    );
    let body = proptest::option::of((
        any::<bool>(),
        proptest::collection::vec(any::<u8>(), 0..300),
    ));
    (method, path, body).prop_map(|(method, path, body)| {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n").into_bytes();
        match body {
            None => request.extend_from_slice(b"\r\n"),
            Some((false, body)) => {
                request.extend_from_slice(
                    format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(),
                );
                request.extend_from_slice(&body);
            }
            Some((true, body)) => {
                request.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in body.chunks(100) {
                    request.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    request.extend_from_slice(chunk);
                    request.extend_from_slice(b"\r\n");
                }
                request.extend_from_slice(b"0\r\n\r\n");
            }
        }
        request
    })
}

/// Cuts bytes into pieces of these lengths, over and over.
fn cut(mut bytes: &[u8], lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    for length in lengths.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (chunk, rest) = bytes.split_at((*length).min(bytes.len()));
        chunks.push(chunk.to_vec());
        bytes = rest;
    }
    chunks
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn splits_do_not_matter(script in script(), lengths in proptest::collection::vec(1..60usize, 1..8)) {
        for then in [Then::Close, Then::Wait] {
            let whole = play_once(&script, then);
            prop_assert_eq!(&play(cut(&script, &lengths), then), &whole);
            prop_assert_eq!(&play(cut(&script, &[1]), then), &whole);
        }
    }

    #[test]
    fn pipelined_is_sequential(requests in proptest::collection::vec(good_request(), 1..8), lengths in proptest::collection::vec(1..400usize, 1..8)) {
        let alone: Vec<u8> = requests.iter().flat_map(|request| play_once(request, Then::Close).replies).collect();
        let together = play(cut(&requests.concat(), &lengths), Then::Close);
        prop_assert_eq!(together.error, None);
        prop_assert_eq!(String::from_utf8_lossy(&together.replies), String::from_utf8_lossy(&alone));
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let outcome = play_once(&bytes, Then::Wait);
        prop_assert!(outcome.codes().iter().all(|code| [200, 400, 404, 408, 414, 431, 501, 505].contains(code)), "{}", outcome.text());
    }
}

/// Damages good requests in a fixed number of ways that a seed decides: the same on every run.
#[test]
fn damaged_requests_are_survived() {
    const ROUNDS: u64 = 20_000;
    let seeds: [&[u8]; 4] = [
        b"GET /static?a=%20b HTTP/1.1\r\nHost: example:80\r\nIf-None-Match: W/\"x\", \"y\"\r\nRange: bytes=0-5\r\n\r\n",
        b"PUT /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nT: u\r\n\r\n",
        b"PUT /ignore HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: keep-alive, te\r\n\r\nhelloGET / HTTP/1.0\r\n\r\n",
        b"GET http://example/%C3%A9?q HTTP/1.1\r\nHost: example\r\nAccept-Encoding: gzip;q=0.5, *;q=0\r\n\r\n",
    ];
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        // xorshift64: small, and good enough to choose with.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for round in 0..ROUNDS {
        let mut bytes = seeds[random(seeds.len())].repeat(1 + random(2));
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(5) {
                0 => bytes[at] = b"\r\n\0 :;,%/\x7f\xff0"[random(12)],
                1 => bytes[at] ^= 1 << random(8),
                2 if bytes.len() > 1 => drop(bytes.remove(at)),
                3 => bytes.insert(at, b"\r\n :,x"[random(6)]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let mut whole = play_once(&bytes, Then::Close);
        let mut split = play(cut(&bytes, &[1 + random(40), 1 + random(9)]), Then::Close);
        // Whether a client has to be told to go on depends on what it has sent, and nothing else does.
        for outcome in [&mut whole, &mut split] {
            outcome.replies = outcome
                .text()
                .replace("HTTP/1.1 100 Continue\r\n\r\n", "")
                .into_bytes();
        }
        let same = whole == split
            || bytes
                .windows(6)
                .any(|window| window.eq_ignore_ascii_case(b"expect"));
        assert!(
            same,
            "round {round}: {:?}\n{}\n{}",
            String::from_utf8_lossy(&bytes),
            whole.text(),
            split.text()
        );
    }
}
