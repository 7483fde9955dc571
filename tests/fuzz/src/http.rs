//! A client that sends any bytes, cut anywhere, to a server of pages.

use crate::stream::connection;
use xenlet_http::{Handler, KernelClock, Limits, Server};
use xenlet_httpd::{Pages, SITE};
use xenlet_kernel::hosted;
use xenlet_kernel::run::{spawn, yield_now};

/// What a server may say to anything.
const CODES: [u16; 16] = [
    100, 200, 206, 304, 308, 400, 404, 405, 406, 408, 412, 414, 416, 417, 431, 501,
];

/// Sends `data`, behind a byte that says where it is cut, to a server: whole, and in pieces.
///
/// # Panics
/// If the server does, waits for ever, says what a server may not, or something else to the pieces than to the whole.
pub(crate) fn http(data: &[u8]) {
    let (cut, bytes) = data.split_first().unwrap_or((&1, &[]));
    let whole = serve(bytes.to_vec(), usize::MAX);
    for reply in whole.split("HTTP/1.1 ").skip(1) {
        let code = reply.get(..3).and_then(|code| code.parse().ok());
        // What is in a page may begin like that, too.
        let known = code.is_none_or(|code| CODES.contains(&code) || code == 505);
        assert!(known, "{code:?} to {:?}", String::from_utf8_lossy(bytes));
    }
    // Whether a client has to be told to go on depends on what it has sent, and /status on how often it was read.
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    if !text.contains("expect") && !text.contains("status") {
        let pieces = serve(bytes.to_vec(), 1 + usize::from(*cut));
        assert!(
            pieces == whole,
            "in pieces of {}:\n{pieces}\nwhole:\n{whole}",
            1 + cut
        );
    }
}

/// What a server says to `bytes` that come in pieces of this length.
fn serve(bytes: Vec<u8>, piece: usize) -> String {
    hosted::test(async move || {
        let limits = Limits {
            head_bytes: 1024,
            drain_bytes: 1000,
            max_requests: 20,
            ..Limits::default()
        };
        let (mut near, far) = connection(None);
        let served = spawn(async move {
            let server = Server::new(KernelClock, limits);
            let pages = Pages(&SITE);
            let mut connection = server.connection(&mut near);
            while let Ok(Some(exchange)) = connection.next().await {
                if pages.answer(exchange, &server).await.is_err() {
                    break;
                }
            }
            connection.linger().await;
        });
        for part in bytes.chunks(piece) {
            far.send(part);
            for _ in 0..4 {
                yield_now().await;
            }
        }
        far.finish();
        served.await;
        String::from_utf8_lossy(&far.received()).into_owned()
    })
}
