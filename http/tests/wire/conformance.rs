//! What a request on the wire is answered with: tables by section of RFC 9110 and RFC 9112.

use crate::peer::{Then, limits, play, play_once};

const GET: &[u8] = b"GET /echo HTTP/1.1\r\nHost: h\r\n\r\n";

/// One request, and the codes of the replies when a good request follows it on the same connection: a second 200
/// shows that the connection went on, and at the right byte.
#[track_caller]
fn check(request: &str, codes: &[u16]) {
    let bytes = [request.as_bytes(), GET].concat();
    let at_once = play_once(&bytes, Then::Close);
    assert_eq!(at_once.codes(), codes, "{request:?}\n{}", at_once.text());
    let dribbled = play(bytes.chunks(1).map(<[u8]>::to_vec).collect(), Then::Close);
    let wanted: Vec<u16> = dribbled
        .codes()
        .into_iter()
        .filter(|&code| code != 100)
        .collect();
    let expected: Vec<u16> = codes.iter().copied().filter(|&code| code != 100).collect();
    assert_eq!(wanted, expected, "{request:?} a byte at a time");
}

#[test]
fn request_lines() {
    for (line, codes) in [
        ("GET /echo HTTP/1.1", &[200, 200][..]),
        ("HEAD /echo HTTP/1.1", &[200, 200]),
        ("GET /echo?a=%20 HTTP/1.1", &[200, 200]),
        ("GET http://h/echo HTTP/1.1", &[200, 200]),
        ("GET /nothing HTTP/1.1", &[404, 200]),
        ("OPTIONS * HTTP/1.1", &[404, 200]),
        ("\r\n\r\nGET /echo HTTP/1.1", &[200, 200]),
        ("GET * HTTP/1.1", &[400]),
        ("GET /echo HTTP/1.2", &[505]),
        ("GET /echo HTTP/2.0", &[505]),
        ("GET /echo HTTP/0.9", &[505]),
        ("GET /echo HTTP/11", &[400]),
        ("GET /echo http/1.1", &[400]),
        ("GET /echo", &[400]),
        ("GET  /echo HTTP/1.1", &[400]),
        ("GET /echo  HTTP/1.1", &[400]),
        ("GET /echo HTTP/1.1 ", &[400]),
        (" GET /echo HTTP/1.1", &[400]),
        ("GET\t/echo HTTP/1.1", &[400]),
        ("get /echo HTTP/1.1", &[501]),
        ("BREW /echo HTTP/1.1", &[501]),
        ("TRACE /echo HTTP/1.1", &[501]),
        ("CONNECT h:80 HTTP/1.1", &[501]),
        ("G(T /echo HTTP/1.1", &[400]),
        ("GET echo HTTP/1.1", &[400]),
        ("GET ftp://h/echo HTTP/1.1", &[400]),
        ("GET /echo#a HTTP/1.1", &[400]),
        ("GET /%zz HTTP/1.1", &[400]),
        ("GET /%00 HTTP/1.1", &[400]),
        ("GET /a%2fb HTTP/1.1", &[400]),
        ("GET /../etc/passwd HTTP/1.1", &[400]),
        ("GET /%2e%2e/etc/passwd HTTP/1.1", &[400]),
        ("GET /a\0 HTTP/1.1", &[400]),
        ("\nGET /echo HTTP/1.1", &[400]),
    ] {
        check(&format!("{line}\r\nHost: h\r\n\r\n"), codes);
    }
}

#[test]
fn header_fields() {
    for (lines, codes) in [
        ("Host: h\r\n", &[200, 200][..]),
        ("Host:\r\n", &[200, 200]),
        ("host:h:80\r\n", &[200, 200]),
        ("Host: [::1]:80\r\nX: \tobs\u{e9}\t\r\n", &[200, 200]),
        ("", &[400]),
        ("Host: h\r\nHost: h\r\n", &[400]),
        ("Host: h i\r\n", &[400]),
        ("Host: h/i\r\n", &[400]),
        ("Host : h\r\n", &[400]),
        ("Host: h\r\nX : y\r\n", &[400]),
        ("Host: h\r\n X: folded\r\n", &[400]),
        ("Host: h\r\nX: y\r\n\tfolded\r\n", &[400]),
        ("Host: h\r\n: y\r\n", &[400]),
        ("Host: h\r\nno colon\r\n", &[400]),
        ("Host: h\r\nX: a\0b\r\n", &[400]),
        ("Host: h\r\nX: a\rb\r\n", &[400]),
        ("Host: h\nX: y\r\n", &[400]),
        ("Host: h\r\nX: y\n", &[400]),
        ("Host: h\r\r\nX: y\r\n", &[400]),
        ("Host: h\r\nX@: y\r\n", &[400]),
    ] {
        check(&format!("GET /echo HTTP/1.1\r\n{lines}\r\n"), codes);
    }
    // The whole head in bare LF, to its end.
    check("GET /echo HTTP/1.1\nHost: h\n\n", &[400]);
}

#[test]
fn body_framing() {
    for (lines, body, codes) in [
        ("Content-Length: 3\r\n", "abc", &[200, 200][..]),
        ("Content-Length: 0\r\n", "", &[200, 200]),
        ("Content-Length: 003\r\n", "abc", &[200, 200]),
        (
            "Transfer-Encoding: chunked\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            &[200, 200],
        ),
        (
            "Transfer-Encoding: Chunked\r\n",
            "3;x=y\r\nabc\r\n0\r\nTrailer: z\r\n\r\n",
            &[200, 200],
        ),
        ("Transfer-Encoding: ,chunked\r\n", "0\r\n\r\n", &[200, 200]),
        (
            "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
            &[400],
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            "0\r\n\r\n",
            &[400],
        ),
        ("Content-Length: 3\r\nContent-Length: 3\r\n", "abc", &[400]),
        ("Content-Length: 3\r\nContent-Length: 4\r\n", "abc", &[400]),
        ("Content-Length: 3, 3\r\n", "abc", &[400]),
        ("Content-Length:\r\n", "", &[400]),
        ("Content-Length: +3\r\n", "abc", &[400]),
        ("Content-Length: -3\r\n", "abc", &[400]),
        ("Content-Length: 3 3\r\n", "abc", &[400]),
        ("Content-Length: 0x3\r\n", "abc", &[400]),
        ("Content-Length: 18446744073709551616\r\n", "", &[400]),
        (
            "Transfer-Encoding: chunked, chunked\r\n",
            "0\r\n\r\n",
            &[400],
        ),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
            &[400],
        ),
        ("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n", &[400]),
        ("Transfer-Encoding: gzip\r\n", "", &[400]),
        ("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n", &[501]),
        ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n", &[400]),
        ("Transfer-Encoding: \u{b}chunked\r\n", "0\r\n\r\n", &[400]),
        ("Transfer-Encoding:\r\n", "", &[400]),
        (
            "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n",
            "0\r\n\r\n",
            &[501],
        ),
        ("Transfer-Encoding: chunked\r\n", "x\r\n", &[400]),
        (
            "Transfer-Encoding: chunked\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            &[400],
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            "3\nabc\r\n0\r\n\r\n",
            &[400],
        ),
        (
            "Transfer-Encoding: chunked\r\n",
            "11111111111111111\r\n",
            &[400],
        ),
        ("Expect: a-miracle\r\nContent-Length: 3\r\n", "abc", &[417]),
    ] {
        check(
            &format!("PUT /echo HTTP/1.1\r\nHost: h\r\n{lines}\r\n{body}"),
            codes,
        );
    }
    check(
        "PUT /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        &[400],
    );
}

#[test]
fn bodies_arrive_as_sent() {
    let outcome = play_once(
        b"PUT /echo?q HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        Then::Close,
    );
    assert!(
        outcome
            .text()
            .ends_with("\r\n\r\nPut /echo Some(\"q\")\nhello"),
        "{}",
        outcome.text()
    );
    let chunked = b"PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
    assert!(
        play_once(chunked, Then::Close)
            .text()
            .ends_with("Put /echo None\nhello")
    );
}

#[test]
fn bodies_that_nobody_reads() {
    // Small enough: skipped, and the next request is found.
    check(
        "PUT /ignore HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
        &[200, 200],
    );
    check(
        "PUT /ignore HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n\r\n",
        &[200, 200],
    );
    // Declared too large: the reply says that the connection ends.
    let large = format!(
        "PUT /ignore HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n{}",
        "x".repeat(1001)
    );
    check(&large, &[200]);
    assert!(
        play_once(large.as_bytes(), Then::Close)
            .text()
            .contains("\r\nConnection: close\r\n")
    );
    // Chunked without an end in sight: the connection ends.
    let endless = "1f4\r\n".to_string() + &"x".repeat(500) + "\r\n";
    check(
        &format!(
            "PUT /ignore HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            endless.repeat(3)
        ),
        &[200],
    );
    // Nonsense in the part that is skipped: nothing that follows may be taken for a request.
    check(
        "PUT /ignore HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        &[200],
    );
}

#[test]
fn expectations() {
    let head =
        b"PUT /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
            .to_vec();
    let outcome = play(vec![head.clone(), b"hello".to_vec()], Then::Close);
    assert_eq!(outcome.codes(), [100, 200]);
    assert!(
        outcome
            .text()
            .starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    );
    // The body is there already: no need to ask for it.
    assert_eq!(
        play_once(&[&head[..], b"hello"].concat(), Then::Close).codes(),
        [200]
    );
    // Refused without reading: whether the body comes is unknown, so the connection ends.
    let refused =
        b"PUT /ignore HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
            .to_vec();
    let outcome = play(vec![refused, GET.to_vec()], Then::Close);
    assert_eq!(outcome.codes(), [200]);
    assert!(outcome.text().contains("Connection: close"));
    // HTTP/1.0 does not know 100, and without a body there is nothing to wait for.
    let old = b"PUT /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n".to_vec();
    assert_eq!(
        play(vec![old, b"hello".to_vec()], Then::Close).codes(),
        [200]
    );
    check(
        "GET /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
        &[200, 200],
    );
}

#[test]
fn persistence() {
    for (request, codes, says) in [
        ("GET /echo HTTP/1.1\r\nHost: h\r\n\r\n", &[200, 200][..], ""),
        (
            "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
            &[200],
            "Connection: close",
        ),
        (
            "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: te, CLOSE\r\n\r\n",
            &[200],
            "Connection: close",
        ),
        (
            "GET /echo HTTP/1.1\r\nHost: h\r\nConnection: x\r\nConnection: close\r\n\r\n",
            &[200],
            "Connection: close",
        ),
        ("GET /echo HTTP/1.0\r\n\r\n", &[200], "Connection: close"),
        (
            "GET /echo HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
            &[200, 200],
            "Connection: keep-alive",
        ),
        (
            "GET /echo HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n",
            &[200],
            "Connection: close",
        ),
        (
            "GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            &[200],
            "Connection: close",
        ),
    ] {
        check(request, codes);
        let text = play_once(request.as_bytes(), Then::Close).text();
        assert_eq!(text.contains("Connection:"), !says.is_empty(), "{text}");
        assert!(text.contains(says), "{text}");
    }
    let many = GET.repeat(limits().max_requests as usize + 5);
    let outcome = play_once(&many, Then::Close);
    assert_eq!(outcome.codes().len(), limits().max_requests as usize);
    assert_eq!(outcome.text().matches("Connection: close").count(), 1);
}

#[test]
fn limits_of_heads() {
    let field = |bytes: usize| {
        format!(
            "GET /echo HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n",
            "y".repeat(bytes)
        )
    };
    let overhead = field(0).len();
    check(&field(limits().head_bytes - overhead), &[200, 200]);
    check(&field(limits().head_bytes - overhead + 1), &[431]);
    check(&field(10 * limits().head_bytes), &[431]);
    check(
        &format!(
            "GET /{} HTTP/1.1\r\nHost: h\r\n\r\n",
            "y".repeat(limits().head_bytes)
        ),
        &[414],
    );
    check(
        &format!(
            "GET /echo HTTP/1.1\r\nHost: h\r\n{}\r\n",
            "X: y\r\n".repeat(99)
        ),
        &[200, 200],
    );
    check(
        &format!(
            "GET /echo HTTP/1.1\r\nHost: h\r\n{}\r\n",
            "X: y\r\n".repeat(100)
        ),
        &[431],
    );
}

#[test]
fn time_limits() {
    // Nothing at all, or nothing more: the connection ends without a word.
    assert_eq!(play(vec![], Then::Wait).codes(), []);
    assert_eq!(play_once(b"\r\n", Then::Wait).codes(), []);
    assert_eq!(play_once(GET, Then::Wait).codes(), [200]);
    // Half a head.
    assert_eq!(
        play_once(b"GET /echo HTTP/1.1\r\nHo", Then::Wait).codes(),
        [408]
    );
    assert_eq!(
        play_once(&[GET, b"G"].concat(), Then::Wait).codes(),
        [200, 408]
    );
    assert_eq!(
        play_once(b"GET /echo HTTP/1.1\r\nHo", Then::Close).codes(),
        []
    );
    // Half a body.
    let half = b"PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhel";
    assert_eq!(
        play_once(half, Then::Wait).error,
        Some(xenlet_http::Error::Stalled)
    );
    assert_eq!(
        play_once(half, Then::Close).error,
        Some(xenlet_http::Error::Truncated)
    );
}

#[test]
fn replies_to_head_have_no_body() {
    for path in [
        "/echo", "/static", "/large", "/chunked", "/nothing", "/silent",
    ] {
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        let text = play_once(request.as_bytes(), Then::Close).text();
        assert!(text.ends_with("\r\n\r\n"), "{text}");
        assert_eq!(text.matches("\r\n\r\n").count(), 1, "{text}");
    }
    let bad = play_once(b"HEAD /../ HTTP/1.1\r\nHost: h\r\n\r\n", Then::Close).text();
    assert!(
        bad.starts_with("HTTP/1.1 400 ") && bad.ends_with("\r\n\r\n"),
        "{bad}"
    );
}
