//! Streams: what goes in comes out, whatever the pieces, and whatever is dropped on the way.

use crate::support::{connection, test};
use embedded_io_async::{Read, Write};
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, timeout};
use xenlet_tls::Error;

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 251) as u8).collect()
}

#[test]
fn what_goes_in_comes_out() {
    for (size, piece, len, buf) in [
        (100_000, usize::MAX, 1_000_000, 16384),
        (1000, usize::MAX, 100_000, 7),
        (64, 13, 40_000, 100_000),
        // Less than six bytes are too few: what either end says unasked must have room.
        (6, 1, 3_000, 512),
    ] {
        test(async move || {
            let (mut near, mut far) = connection(size).await;
            near.get_ref().piece.set(piece);
            let sent = bytes(len);
            let copy = sent.clone();
            let writer = spawn(async move {
                near.write_all(&copy).await.unwrap();
                near.close().await.unwrap();
                near
            });
            let (mut received, mut place) = (Vec::<u8>::new(), vec![0; buf]);
            loop {
                match far.read(&mut place).await.unwrap() {
                    0 => break,
                    count => received.extend(&place[..count]),
                }
            }
            assert!(received == sent, "{size} {piece} {len} {buf}");
            // The other direction is still open.
            let mut near = writer.await;
            let answer = spawn(async move {
                far.write_all(b"thanks").await.unwrap();
                far.close().await.unwrap();
            });
            let mut place = [0; 6];
            near.read_exact(&mut place).await.unwrap();
            assert_eq!(&place, b"thanks");
            assert_eq!(near.read(&mut place).await, Ok(0));
            assert_eq!(near.read(&mut place).await, Ok(0), "the end stays the end");
            assert_eq!(near.write(b"x").await, Err(Error::Closed));
            answer.await;
        });
    }
}

#[test]
fn an_end_without_a_word_is_not_a_clean_one() {
    test(async || {
        let (near, mut far) = connection(4096).await;
        drop(near);
        assert_eq!(far.read(&mut [0; 9]).await, Err(Error::Truncated));
        let (mut near, mut far) = connection(4096).await;
        near.close().await.unwrap();
        near.close().await.unwrap();
        drop(near);
        assert_eq!(far.read(&mut [0; 9]).await, Ok(0));
    });
}

#[test]
fn dropped_writes_and_reads_take_nothing() {
    test(async || {
        // Smaller than a record, so that every write has to wait for the one before it.
        let (mut near, mut far) = connection(500).await;
        let sent = bytes(60_000);
        let copy = sent.clone();
        let writer = spawn(async move {
            let mut left = &copy[..];
            while !left.is_empty() {
                let len = left.len().min(700);
                // Most of these are dropped while they wait.
                if let Ok(count) = timeout(Duration::from_millis(1), near.write(&left[..len])).await
                {
                    left = &left[count.unwrap()..];
                }
            }
            while timeout(Duration::from_millis(1), near.flush())
                .await
                .is_err()
            {}
            while timeout(Duration::from_millis(1), near.close())
                .await
                .is_err()
            {}
            near
        });
        let (mut received, mut place) = (Vec::<u8>::new(), [0; 333]);
        loop {
            match timeout(Duration::from_millis(3), far.read(&mut place)).await {
                Ok(Ok(0)) => break,
                Ok(count) => received.extend(&place[..count.unwrap()]),
                Err(_) => xenlet_kernel::time::sleep(Duration::from_millis(4)).await,
            }
            // Slower than the writer's patience.
            xenlet_kernel::time::sleep(Duration::from_millis(2)).await;
        }
        assert!(received == sent);
        drop(writer.await);
    });
}

#[test]
fn both_directions_and_records_that_nobody_waited_for() {
    test(async || {
        let (mut near, mut far) = connection(50_000).await;
        for round in 0..50 {
            // Both write first, so that each finds the other's records when it wants to write again.
            let (a, b) = (bytes(round * 97 + 1), bytes(round * 53 + 1));
            for half in 0..2 {
                let part =
                    |all: &[u8]| all[all.len() * half / 2..all.len() * (half + 1) / 2].to_vec();
                near.write_all(&part(&a)).await.unwrap();
                far.write_all(&part(&b)).await.unwrap();
            }
            let (mut from_near, mut from_far) = (vec![0; a.len()], vec![0; b.len()]);
            far.read_exact(&mut from_near).await.unwrap();
            near.read_exact(&mut from_far).await.unwrap();
            assert!(from_near == a && from_far == b, "{round}");
        }
    });
}
