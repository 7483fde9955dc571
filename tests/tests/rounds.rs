//! A disk and a vif that come and go a thousand times, and leave the guest as it was.
#![cfg(not(any(xenlet = "xen", xenlet = "unix")))]
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test that fails says so by panicking")]

use embedded_io_async::{Read, Write};
use xenlet_blkfront::hosted::{self as blkfront, Medium};
use xenlet_blkfront::{BlockDevice, Disk, Link};
use xenlet_kernel::hosted::{self, store};
use xenlet_kernel::page::Pages;
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, sleep};
use xenlet_kernel::xenbus::State;
use xenlet_kernel::{Held, held};
use xenlet_net::TcpListener;
use xenlet_net::hosted::Peer;
use xenlet_netfront::hosted as netfront;

const ROUNDS: u32 = 1000;

/// Pages of this process that are its own.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib: usize = line.unwrap().trim_end_matches("kB").trim().parse().unwrap();
    kib / 4
}

/// What the domain says it holds, and what xenstored and Xen have of it.
fn holds() -> (Held, usize, usize) {
    (held().unwrap(), store::watches(), hosted::ports())
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn a_thousand_times_detached_and_attached() {
    hosted::test(async || {
        let (peer, medium) = (Peer::new(), Medium::new(1 << 20));
        let mut vif = netfront::attach(netfront::Config::default(), peer.wire());
        let mut vbd = blkfront::attach(blkfront::Config::default(), &medium);
        let disk = Disk::open("xvda").await.unwrap();
        let listener = TcpListener::bind(7).await.unwrap();
        spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut byte = [0];
            while stream.read_exact(&mut byte).await.is_ok() {
                stream.write_all(&byte).await.unwrap();
            }
        });
        xenlet_net::up().await.unwrap();
        let mut client = peer.connect(7).await.unwrap();
        let ends = [
            netfront::Config::default().ends(),
            blkfront::Config::default().ends(),
        ];
        let (mut before, mut pages) = (None, 0);
        for round in 0..ROUNDS {
            vif.detach();
            vbd.detach();
            until(|| !xenlet_net::interfaces()[0].link && disk.link() != Link::Up).await;
            let gone = || ends.map(|ends| ends.front_state()) == [State::Unknown; 2];
            until(gone).await;
            // Asked for while there is no backend: waits for the next.
            let asked = disk.write(u64::from(round), Pages::new(512).unwrap());
            vif = netfront::attach(netfront::Config::default(), peer.wire());
            vbd = blkfront::attach(blkfront::Config::default(), &medium);
            assert_eq!(asked.await.1, Ok(()), "round {round}");
            // The connection that was there at the start is still there.
            client.write_all(&[1]).await.unwrap();
            client.read_exact(&mut [0]).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            assert_eq!(*before.get_or_insert(holds()), holds(), "round {round}");
            if round == ROUNDS / 5 {
                pages = resident();
            }
        }
        let more = resident().saturating_sub(pages);
        assert!(
            more < 400,
            "{more} pages more in the last {} rounds",
            ROUNDS * 4 / 5
        );
    });
}
