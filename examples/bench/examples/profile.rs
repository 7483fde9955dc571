//! The measured guest as `cargo xtask profile` runs it: whole, on the hosted backend, with its clients on the other machine.
//!
//! `profile ROW REQUESTS` does twice as many requests. The second half is between calls of [`begin`] and [`end`], which a
//! profiler looks for. Clients are polled as a backend is, while the guest sleeps: none of their work is in its loop.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a run that fails says so by panicking")]
#![cfg_attr(
    any(xenlet = "xen", xenlet = "unix"),
    allow(
        unused,
        reason = "only the hosted guest has a host that can be left out"
    )
)]

#[cfg(not(any(xenlet = "xen", xenlet = "unix")))]
mod clients {
    //! What the clients do, and the count of it.

    use embedded_io_async::{Read, Write};
    use std::cell::Cell;
    use std::future::Future;
    use std::pin::Pin;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Wake, Waker};
    use xenlet_kernel::hosted::{Backend, store};
    use xenlet_net::hosted::{Peer, PeerStream};

    const MIB: usize = 1 << 20;

    /// What is measured; the names are those of `cargo xtask profile --row`.
    #[derive(Clone, Copy)]
    pub(super) enum Row {
        Page,
        Close,
        Download,
        Upload,
    }

    impl Row {
        pub(super) fn parse(name: &str) -> Self {
            match name {
                "page" => Self::Page,
                "close" => Self::Close,
                "download" => Self::Download,
                "upload" => Self::Upload,
                _ => panic!("no row is called {name}"),
            }
        }

        /// As many connections as `cargo xtask bench` has.
        fn connections(self) -> usize {
            match self {
                Self::Page | Self::Close => 16,
                Self::Download => 4,
                Self::Upload => 1,
            }
        }
    }

    /// How many requests are done, and where the count begins and ends.
    pub(super) struct Tally {
        done: Cell<usize>,
        requests: usize,
    }

    impl Tally {
        fn one_more(&self) {
            self.done.set(self.done.get() + 1);
            if self.done.get() == self.requests {
                super::begin();
            } else if self.done.get() == 2 * self.requests {
                super::end();
                store::write(&format!("{}/control/shutdown", store::HOME), "poweroff");
            }
        }

        fn is_over(&self) -> bool {
            self.done.get() >= 2 * self.requests
        }
    }

    /// A client, and whether something happened that it waits for.
    struct Client {
        woken: Arc<Woken>,
        work: Pin<Box<dyn Future<Output = ()>>>,
    }

    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// All clients of a row.
    pub(super) struct Clients(Vec<Client>);

    impl Clients {
        pub(super) fn of(row: Row, requests: usize, peer: &Peer) -> Self {
            let tally = Rc::new(Tally {
                done: Cell::new(0),
                requests,
            });
            let client = |_| Client {
                woken: Arc::new(Woken(AtomicBool::new(true))),
                work: Box::pin(work(row, peer.clone(), Rc::clone(&tally))),
            };
            Self((0..row.connections()).map(client).collect())
        }
    }

    impl Backend for Clients {
        fn poll(&mut self) -> bool {
            let mut progress = false;
            self.0.retain_mut(|client| {
                if !client.woken.0.swap(false, Ordering::Relaxed) {
                    return true;
                }
                progress = true;
                let waker = Waker::from(Arc::clone(&client.woken));
                let mut context = Context::from_waker(&waker);
                client.work.as_mut().poll(&mut context).is_pending()
            });
            progress
        }
    }

    /// One client's work, until all of it is done.
    async fn work(row: Row, peer: Peer, tally: Rc<Tally>) {
        if let Row::Upload = row {
            let mut stream = peer.connect(9).await.unwrap();
            while !tally.is_over() {
                stream.write_all(&[b'x'; MIB]).await.unwrap();
                tally.one_more();
            }
            return;
        }
        let (path, bytes) = match row {
            Row::Download => ("1m.bin", MIB),
            _ => ("4k.html", 4096),
        };
        let closes = matches!(row, Row::Close);
        let more = if closes { "Connection: close\r\n" } else { "" };
        let request = format!("GET /{path} HTTP/1.1\r\nHost: 10.0.2.15\r\n{more}\r\n");
        let mut stream = None;
        let mut buffer = vec![0; 64 * 1024];
        while !tally.is_over() {
            let on = match stream.as_mut() {
                Some(on) => on,
                None => stream.insert(peer.connect(80).await.unwrap()),
            };
            on.write_all(request.as_bytes()).await.unwrap();
            answer(on, &mut buffer, bytes).await;
            if closes {
                assert_eq!(on.read(&mut buffer).await.unwrap(), 0, "closed");
                stream = None;
            }
            tally.one_more();
        }
    }

    /// Reads an answer whose body must be so long.
    async fn answer(stream: &mut PeerStream, buffer: &mut [u8], bytes: usize) {
        let mut filled = 0;
        let head = loop {
            let count = stream.read(&mut buffer[filled..]).await.unwrap();
            assert!(count > 0, "the guest closed in the middle of a head");
            filled += count;
            let end = buffer[..filled].windows(4).position(|w| w == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
        };
        let text = str::from_utf8(&buffer[..head]).unwrap();
        let length = format!("\r\nContent-Length: {bytes}\r\n");
        assert!(
            text.starts_with("HTTP/1.1 200 ") && text.contains(&length),
            "not {bytes} bytes: {text}"
        );
        let mut left = (head + bytes).checked_sub(filled).unwrap();
        while left > 0 {
            let most = left.min(buffer.len());
            let count = stream.read(&mut buffer[..most]).await.unwrap();
            assert!(count > 0, "the guest closed in the middle of a body");
            left -= count;
        }
    }
}

/// What is counted begins here.
#[inline(never)]
fn begin() {
    std::hint::black_box(());
}

/// What is counted ends here.
#[inline(never)]
fn end() {
    // Not what `begin` is, or the linker may make one of the two.
    std::hint::black_box(1);
}

#[cfg(not(any(xenlet = "xen", xenlet = "unix")))]
fn main() {
    use clients::{Clients, Row};
    use xenlet_kernel::hosted::{Config, add_backend, run};
    use xenlet_net::hosted::Peer;
    use xenlet_netfront::hosted::{self as netfront, attach};

    let words: Vec<String> = std::env::args().skip(1).collect();
    let [row, requests] = words.as_slice() else {
        panic!("usage: profile ROW REQUESTS");
    };
    let (row, requests) = (Row::parse(row), requests.parse().unwrap());
    let config = Config {
        // The connections' buffers are those of a guest with 64 MiB, as is measured on Xen.
        command_line: "tcp_rx=8192 tcp_tx=16384".into(),
        wall: Some(xenlet_kernel::time::Duration::from_secs(1_792_000_000)),
        ..Config::default()
    };
    let ended = run(config, async move || {
        let peer = Peer::with_offloads();
        attach(netfront::Config::default(), peer.wire());
        add_backend(Box::new(Clients::of(row, requests, &peer)));
        xenlet_bench::run().await
    });
    assert!(
        matches!(ended.value, Some(Ok(()))),
        "the guest failed: {:?}; its console:\n{}",
        ended.value,
        ended.console
    );
}

#[cfg(any(xenlet = "xen", xenlet = "unix"))]
fn main() {}
