//! The end of a service, with a client on the other machine.
#![cfg(not(any(xenlet = "xen", xenlet = "unix")))]

use super::Pages;
use crate::SITE;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};
use embedded_io_async::{Read, Write};
use std::format;
use xenlet_http::Service;
use xenlet_kernel::hosted::{self, Config, store};
use xenlet_kernel::run::spawn;
use xenlet_kernel::shutdown::Reason;
use xenlet_kernel::time::{Duration, now};
use xenlet_net::TcpListener;
use xenlet_net::hosted::Peer;

/// Runs the service and, beside it, a client that asks for `requests` and has the domain end when it has read the first
/// byte. Gives how many bytes the client read up to the end, if it came to that, and how long the service took to end.
fn end_during(requests: Vec<u8>, closes: bool) -> (usize, Duration) {
    let read = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&read);
    let ended = hosted::run(Config::default(), async move || {
        let peer = Peer::attach_default();
        let listener = TcpListener::bind(80).await.unwrap();
        spawn(async move {
            let mut stream = peer.connect(80).await.unwrap();
            stream.write_all(&requests).await.unwrap();
            stream.read_exact(&mut [0]).await.unwrap();
            store::write(&format!("{}/control/shutdown", store::HOME), "poweroff");
            let rest = stream.read_to_end().await.unwrap();
            seen.store(1 + rest.len(), Ordering::Relaxed);
            if !closes {
                core::future::pending::<()>().await;
            }
        });
        let asked = spawn(async {
            xenlet_kernel::shutdown::requested().await;
            now()
        });
        Service::new(Pages(&SITE)).serve(listener).await;
        now().since(asked.await)
    });
    assert_eq!(ended.reason, Reason::Poweroff);
    (read.load(Ordering::Relaxed), ended.value.unwrap())
}

#[test]
fn a_reply_that_has_begun_arrives_whole_although_the_domain_ends() {
    let file = SITE
        .files()
        .iter()
        .max_by_key(|file| file.identity().body().len())
        .unwrap();
    let request = format!("GET {} HTTP/1.1\r\nHost: guest\r\n\r\n", file.path());
    let (read, took) = end_during(request.into_bytes(), true);
    let body = file.identity().body().len();
    assert!(read > body, "{read} bytes of {body}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_client_that_does_not_go_does_not_keep_the_domain() {
    let request = b"GET / HTTP/1.1\r\nHost: guest\r\n\r\n";
    let (_, took) = end_during(request.to_vec(), false);
    assert!(took < Duration::from_secs(3), "{took:?}");
    // Nor does one that sends a body that nobody wants, slowly.
    let request = b"POST / HTTP/1.1\r\nHost: guest\r\nContent-Length: 9\r\n\r\n";
    let (_, took) = end_during(request.to_vec(), false);
    assert!(took < Duration::from_secs(3), "{took:?}");
}
