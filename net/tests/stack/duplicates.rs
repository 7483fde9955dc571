//! What duplicate acknowledgements lead to, where there is nothing to send again or no room for it.

use crate::frames::{Segment, mac_of_guest};
use crate::support::pattern;
use embedded_io_async::Write;
use smoltcp::wire::TcpControl;
use xenlet_kernel::hosted;
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, now, sleep};
use xenlet_net::TcpListener;
use xenlet_net::hosted::{Faults, Faulty, Peer};
use xenlet_netfront::hosted as netfront;

/// Starts a server on port 80 that sends everybody `len` bytes and closes.
async fn serve(len: usize) {
    let listener = TcpListener::bind(80).await.unwrap();
    spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            spawn(async move { stream.write_all(&pattern(len)).await });
        }
    });
    xenlet_net::up().await.unwrap();
}

/// Downloads through a wire that loses frames, from a guest whose vif has no room most of the time. Returns how long the
/// slowest took.
fn slowest(seed: u64, gso: bool) -> Duration {
    hosted::test(async move || {
        let peer = Peer::new();
        let config = netfront::Config {
            pace: 4,
            gso,
            ..netfront::Config::default()
        };
        let faults = Faults {
            lost: 10,
            ..Faults::default()
        };
        netfront::attach(config, Faulty::new(peer.wire(), faults, seed));
        serve(300_000).await;
        let clients: Vec<_> = (0..60)
            .map(|_| {
                let peer = peer.clone();
                spawn(async move {
                    let begun = now();
                    let mut client = peer.connect(80).await.unwrap();
                    assert_eq!(client.read_to_end().await.unwrap().len(), 300_000);
                    begun.elapsed()
                })
            })
            .collect();
        let mut slowest = Duration::ZERO;
        for client in clients {
            slowest = slowest.max(client.await);
        }
        slowest
    })
}

/// A segment that has to be sent again at once, and for which there is no room, is sent when there is.
#[test]
fn losses_while_the_vif_is_full() {
    for (seed, gso) in [(0, false), (1, false), (2, true), (3, true)] {
        let slowest = slowest(seed, gso);
        assert!(
            slowest < Duration::from_secs(30),
            "seed {seed}: {slowest:?}"
        );
    }
}

/// All was acknowledged but the FIN, and that several times: it is sent again all the same.
#[test]
fn a_lost_fin_and_duplicate_acknowledgements() {
    hosted::test(async || {
        let peer = Peer::attach_default();
        serve(1000).await;
        // From an address behind the peer, which would answer for its own.
        let (mac, from) = (mac_of_guest(), ([100, 64, 0, 1].into(), 5000));
        let mut segment = Segment::syn(from, (Peer::GUEST, 80));
        let say = |segment: &Segment| peer.inject(&segment.frame(peer.mac(), mac));
        peer.heard();
        say(&segment);
        sleep(Duration::from_millis(1)).await;
        let heard = || peer.heard().into_iter().filter_map(|f| Segment::parse(&f));
        let answer = heard().find(Segment::is_syn_ack).unwrap();
        segment.control = TcpControl::None;
        segment.seq += 1;
        segment.ack = Some(answer.seq.wrapping_add(1));
        say(&segment);
        sleep(Duration::from_millis(1)).await;
        assert!(heard().any(|reply| reply.control == TcpControl::Fin));
        segment.ack = Some(answer.seq.wrapping_add(1001));
        for _ in 0..5 {
            say(&segment);
            // A turn for each, or one would stand for all.
            sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(heard().count(), 0);
        sleep(Duration::from_secs(10)).await;
        assert!(heard().any(|again| again.control == TcpControl::Fin));
        segment.ack = Some(answer.seq.wrapping_add(1002));
        segment.control = TcpControl::Fin;
        say(&segment);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(crate::support::stats().connections, 0);
    });
}
