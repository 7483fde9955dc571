//! A bad wire: what is sent arrives all the same.

use crate::support::{check_echo, pattern, serve_echo, stats};
use proptest::prelude::*;
use xenlet_kernel::hosted;
use xenlet_kernel::run::spawn;
use xenlet_net::hosted::{Faults, Faulty, Peer};
use xenlet_netfront::hosted as netfront;

/// Sends through a bad wire and back; returns how many segments the guest had to send again.
fn exchange(faults: Faults, seed: u64, connections: usize, bytes: usize) -> u64 {
    hosted::test(async move || {
        let peer = Peer::new();
        netfront::attach(
            netfront::Config::default(),
            Faulty::new(peer.wire(), faults, seed),
        );
        serve_echo().await;
        let tasks: Vec<_> = (0..connections)
            .map(|_| {
                let peer = peer.clone();
                spawn(async move {
                    let client = peer.connect(7).await.unwrap();
                    check_echo(client, pattern(bytes)).await;
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        stats().retransmissions
    })
}

#[test]
fn a_wire_that_loses() {
    let again = exchange(
        Faults {
            lost: 30,
            ..Faults::default()
        },
        1,
        4,
        300_000,
    );
    assert!(again > 0, "a loss must show");
}

#[test]
fn a_wire_that_repeats_and_reorders() {
    exchange(
        Faults {
            repeated: 100,
            late: 200,
            ..Faults::default()
        },
        2,
        4,
        300_000,
    );
}

/// Every frame that the backend does not vouch for has its checksum verified.
#[test]
fn a_wire_that_changes_bytes() {
    exchange(
        Faults {
            changed: 30,
            ..Faults::default()
        },
        3,
        4,
        200_000,
    );
}

/// Both sides have lost something and begin again: an acknowledgement that begins there too would be out of the other's
/// window, and neither would ever hear the other.
#[test]
fn both_sides_begin_again() {
    for seed in 0..30 {
        exchange(
            Faults {
                late: 150,
                ..Faults::default()
            },
            seed,
            2,
            60_000,
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_bad_wire(lost in 0_u64..30, repeated in 0_u64..200, late in 0_u64..300, changed in 0_u64..50, seed: u64) {
        exchange(Faults { lost, repeated, late, changed }, seed, 2, 60_000);
    }
}
