//! A client of the queue, and a guest for it.

use embedded_io_async::Write;
use serde_json::Value;
use sha2::{Digest, Sha256};
use xenlet_blkfront::hosted::{Dice, Faults, Medium};
use xenlet_net::hosted::{Peer, PeerStream};
use xenlet_tests::{Answer, config};

pub(crate) const MIB: u64 = 1 << 20;

/// The command line that the tests' clients know the tokens of.
pub(crate) const LINE: &str = "uploader=up downloader=down format=ifblank";

/// The command line of a guest that speaks no TLS, which it is built with.
pub(crate) fn in_the_clear(line: &str) -> String {
    format!("{line} tls=off")
}

/// Runs the queue on `medium`, with `line` as its command line and `client` beside it. Gives what the client returned
/// and the console.
pub(crate) fn run<T: Send + 'static>(
    medium: &Medium,
    line: &str,
    client: impl AsyncFnOnce(Client) -> T + Send + 'static,
) -> (T, String) {
    let medium = medium.clone();
    let application = async move || {
        let disk = medium.disk(Faults::default());
        xenlet_queue::serve(Ok::<_, String>(disk)).await
    };
    let client = async |peer| client(Client(peer)).await;
    let (value, ended) =
        xenlet_tests::run_with(config(&in_the_clear(line), None), application, client);
    (value, ended.console)
}

/// Runs the queue on a new disk of `bytes`.
pub(crate) fn on_new_disk<T: Send + 'static>(
    bytes: u64,
    client: impl AsyncFnOnce(Client) -> T + Send + 'static,
) -> T {
    run(&Medium::new(bytes), LINE, client).0
}

/// Bytes that `seed` decides.
pub(crate) fn junk(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Dice::new(seed).fill(&mut bytes);
    bytes
}

/// The SHA-256 in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The token that the method needs, as a header line.
pub(crate) fn token(method: &str) -> &'static str {
    match method {
        "PUT" => "Authorization: Bearer up\r\n",
        _ => "Authorization: Bearer down\r\n",
    }
}

/// The other machine.
#[derive(Clone)]
pub(crate) struct Client(pub(crate) Peer);

impl Client {
    /// A connection on which this was sent.
    pub(crate) async fn send(&self, bytes: &[u8]) -> PeerStream {
        let mut stream = self.0.connect(80).await.unwrap();
        // The guest may have heard enough before the end.
        let _ = stream.write_all(bytes).await;
        stream
    }

    /// Sends a request with these header lines, each with its CRLF, and reads the answer.
    pub(crate) async fn ask(&self, method: &str, path: &str, lines: &str, body: &[u8]) -> Answer {
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n{lines}\r\n");
        let mut stream = self.send(&[head.as_bytes(), body].concat()).await;
        whole(&stream.read_to_end().await.unwrap(), method)
    }

    /// The same with the token that the method needs.
    pub(crate) async fn call(&self, method: &str, path: &str, lines: &str) -> Answer {
        self.ask(method, path, &(token(method).to_owned() + lines), b"")
            .await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "").await
    }

    pub(crate) async fn put(&self, name: &str, body: &[u8]) -> Answer {
        let lines = format!("{}Content-Length: {}\r\n", token("PUT"), body.len());
        self.ask("PUT", &format!("/uploads/{name}"), &lines, body)
            .await
    }

    pub(crate) async fn delete(&self, name: &str) -> u16 {
        self.call("DELETE", &format!("/uploads/{name}"), "")
            .await
            .status
    }

    /// The names in the list.
    pub(crate) async fn names(&self) -> Vec<String> {
        let list = json(&self.get("/uploads").await);
        let name = |line: &Value| line["name"].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(name).collect()
    }

    /// A number of `/stats`, such as `/disk/free_bytes`.
    pub(crate) async fn stat(&self, pointer: &str) -> u64 {
        json(&self.get("/stats").await)
            .pointer(pointer)
            .unwrap()
            .as_u64()
            .unwrap()
    }
}

/// The body as JSON.
pub(crate) fn json(answer: &Answer) -> Value {
    assert!(answer.status / 100 == 2, "{}", answer.head);
    assert_eq!(answer.field("Content-Type"), Some("application/json"));
    serde_json::from_slice(&answer.body).unwrap()
}

/// Takes a whole answer apart; one that was cut off is a panic.
pub(crate) fn whole(bytes: &[u8], method: &str) -> Answer {
    let (answer, is_whole) = parse(bytes, method);
    assert!(is_whole, "the answer was cut off: {}", answer.head);
    answer
}

/// Takes an answer apart, and says whether it is whole.
pub(crate) fn parse(bytes: &[u8], method: &str) -> (Answer, bool) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let end = 4 + end.unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(bytes)));
    let (head, mut rest) = bytes.split_at(end);
    let head = String::from_utf8(head.to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    if status == 100 {
        return parse(rest, method);
    }
    let mut answer = Answer {
        status,
        head,
        body: Vec::new(),
    };
    if method == "HEAD" || matches!(status, 204 | 304) {
        assert!(rest.is_empty(), "a body where there is none");
        return (answer, true);
    }
    if let Some(length) = answer.field("Content-Length") {
        let is_whole = length.parse::<usize>().unwrap() == rest.len();
        answer.body = rest.to_vec();
        return (answer, is_whole);
    }
    assert_eq!(
        answer.field("Transfer-Encoding"),
        Some("chunked"),
        "{}",
        answer.head
    );
    while let Some(line) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        rest = &rest[line + 2..];
        if size == 0 {
            return (answer, rest == b"\r\n");
        }
        if rest.len() < size + 2 {
            break;
        }
        answer.body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
    (answer, false)
}
