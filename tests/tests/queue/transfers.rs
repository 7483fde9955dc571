//! Uploads and downloads while they are under way.

use crate::support::{Client, MIB, junk, on_new_disk, parse, sha256, token, whole};
use embedded_io_async::{Read, Write};
use proptest::prelude::*;
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, sleep};
use xenlet_net::hosted::PeerStream;

/// The head of an upload, with these lines.
fn head(name: &str, lines: &str) -> String {
    let token = token("PUT");
    format!(
        "PUT /uploads/{name} HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n{token}{lines}\r\n"
    )
}

fn sized(name: &str, len: usize) -> String {
    head(name, &format!("Content-Length: {len}\r\n"))
}

/// A chunked body of these pieces.
fn chunks<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
        body.extend(format!("{:x}\r\n", piece.len()).bytes());
        body.extend_from_slice(piece);
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\n\r\n");
    body
}

async fn status(mut stream: PeerStream) -> u16 {
    whole(&stream.read_to_end().await.unwrap(), "PUT").status
}

/// What there is when nothing is under way.
async fn state(client: &Client) -> (Vec<String>, u64, u64) {
    (
        client.names().await,
        client.stat("/disk/free_bytes").await,
        client.stat("/uploading").await,
    )
}

#[test]
fn what_is_refused_is_refused_before_the_body() {
    on_new_disk(8 * MIB, async |client| {
        client.put("taken", b"x").await;
        let too_much = (16 * MIB).to_string();
        for (head, status) in [
            (sized("taken", 5), 409),
            (sized("a%5Cb", 5), 400),
            (
                head("a", "Content-Length: 5\r\nContent-Range: bytes 0-4/10\r\n"),
                400,
            ),
            (head("a", &format!("Content-Length: {too_much}\r\n")), 507),
            (head("a", &format!("Content-Length: {}\r\n", u64::MAX)), 507),
            (sized("a", 5).replace("Bearer up", "Bearer x"), 401),
            (sized("a", 5).replace("Bearer up", "Bearer down"), 403),
        ] {
            let head = head.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
            let mut stream = client.send(head.as_bytes()).await;
            let answer = stream.read_to_end().await.unwrap();
            assert!(
                answer.starts_with(format!("HTTP/1.1 {status} ").as_bytes()),
                "{head}"
            );
        }
        let head = sized("a", 5).replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
        let mut stream = client.send(head.as_bytes()).await;
        let mut go_on = [0; 25];
        stream.read_exact(&mut go_on).await.unwrap();
        assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(b"hello").await.unwrap();
        assert_eq!(status(stream).await, 201);
        assert_eq!(client.get("/uploads/a").await.body, b"hello");
    });
}

#[test]
fn a_connection_cut_anywhere_leaves_nothing_behind() {
    on_new_disk(8 * MIB, async |client| {
        let before = state(&client).await;
        let body = junk(1, 300_000);
        let sized = [sized("a", body.len()).as_bytes(), &body].concat();
        let chunked = [
            head("a", "Transfer-Encoding: chunked\r\n").as_bytes(),
            &chunks(body.chunks(1000)),
        ]
        .concat();
        for request in [sized, chunked] {
            let last = request.len() - 1;
            for cut in [1, 50, 130, 150, 200, 4096, 65_536, 200_000, last] {
                for politely in [true, false] {
                    let mut stream = client.send(&request[..cut]).await;
                    while stream.unacknowledged() > 0 {
                        sleep(Duration::from_millis(1)).await;
                    }
                    if politely {
                        stream.shutdown_write();
                        assert!(
                            !stream
                                .read_to_end()
                                .await
                                .unwrap()
                                .starts_with(b"HTTP/1.1 2")
                        );
                    } else {
                        stream.abort();
                    }
                    drop(stream);
                    sleep(Duration::from_millis(100)).await;
                    assert_eq!(state(&client).await, before, "cut at {cut}");
                }
            }
        }
        assert_eq!(client.put("a", &body).await.status, 201);
    });
}

#[test]
fn a_client_that_stands_still_leaves_nothing_behind() {
    on_new_disk(8 * MIB, async |client| {
        let before = state(&client).await;
        let mut stream = client
            .send(&[sized("a", 100_000).as_bytes(), &[7; 50_000]].concat())
            .await;
        sleep(Duration::from_secs(10)).await;
        assert_eq!(client.stat("/uploading").await, 1);
        assert_eq!(client.put("a", b"x").await.status, 409, "it is on its way");
        sleep(Duration::from_secs(15)).await;
        assert_eq!(state(&client).await, before);
        let _ = stream.read_to_end().await;
    });
}

#[test]
fn a_malformed_body_leaves_nothing_behind() {
    on_new_disk(8 * MIB, async |client| {
        let before = state(&client).await;
        for bad in [
            "x\r\n",
            "5\r\nhelloX",
            "5\r\nhello\r\nffffffffffffffffff\r\n",
        ] {
            let head = head("a", "Transfer-Encoding: chunked\r\n");
            let stream = client.send((head + bad).as_bytes()).await;
            assert_eq!(status(stream).await, 400, "{bad:?}");
        }
        assert_eq!(state(&client).await, before);
    });
}

#[test]
fn two_at_once() {
    on_new_disk(8 * MIB, async |client| {
        let (one, two) = (junk(1, 700_000), junk(2, 600_000));
        let mut first = client.send(sized("one", one.len()).as_bytes()).await;
        let mut second = client.send(sized("two", two.len()).as_bytes()).await;
        for at in (0..one.len()).step_by(10_000) {
            first.write_all(&one[at..][..10_000]).await.unwrap();
            if at < two.len() {
                second.write_all(&two[at..][..10_000]).await.unwrap();
            }
        }
        assert_eq!((status(second).await, status(first).await), (201, 201));
        assert!(client.get("/uploads/one").await.body == one);
        assert!(client.get("/uploads/two").await.body == two);
    });
}

#[test]
fn a_name_is_taken_while_it_is_on_its_way_and_free_if_it_does_not_come() {
    on_new_disk(8 * MIB, async |client| {
        let first = client.send(sized("a", 10).as_bytes()).await;
        sleep(Duration::from_millis(10)).await;
        assert_eq!(client.put("a", b"x").await.status, 409);
        assert_eq!(
            client.get("/uploads/a").await.status,
            404,
            "it is not there yet"
        );
        first.abort();
        sleep(Duration::from_millis(10)).await;
        assert_eq!(client.put("a", b"x").await.status, 201);
    });
}

#[test]
fn a_full_disk_says_so_and_stays_usable() {
    on_new_disk(8 * MIB, async |client| {
        let (large, small) = (junk(1, 5 << 20), junk(2, 100_000));
        let empty = state(&client).await;
        for round in 0..3 {
            assert_eq!(
                client.put("large", &large).await.status,
                201,
                "round {round}"
            );
            let before = state(&client).await;
            assert_eq!(
                client.put("more", &large).await.status,
                507,
                "of known length"
            );
            let request = head("more", "Transfer-Encoding: chunked\r\n");
            let mut stream = client
                .send(&[request.as_bytes(), &chunks(large.chunks(50_000))].concat())
                .await;
            // The guest may have closed before all of it was sent: then the answer can be lost to a reset.
            if let Ok(answer) = stream.read_to_end().await {
                assert_eq!(parse(&answer, "PUT").0.status, 507, "of unknown length");
            }
            assert_eq!(state(&client).await, before, "nothing of it is left");
            assert_eq!(
                client.put("small", &small).await.status,
                201,
                "what fits is taken"
            );
            assert_eq!(client.delete("large").await, 204);
            assert_eq!(client.delete("small").await, 204);
            assert_eq!(state(&client).await, empty);
        }
    });
}

#[test]
fn what_is_fetched_can_be_deleted() {
    on_new_disk(16 * MIB, async |client| {
        let empty = state(&client).await;
        let bytes = junk(1, 6 << 20);
        client.put("a", &bytes).await;
        let request = format!(
            "GET /next HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n{}\r\n",
            token("GET")
        );
        let mut stream = client.send(request.as_bytes()).await;
        let mut answer = vec![0; 1000];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(client.delete("a").await, 204);
        assert_eq!(client.get("/uploads/a").await.status, 404);
        // Its space is not given to others while it is read.
        let other = junk(2, 6 << 20);
        assert_eq!(client.put("a", &other).await.status, 201);
        answer.extend(stream.read_to_end().await.unwrap());
        assert!(whole(&answer, "GET").body == bytes);
        assert!(client.get("/uploads/a").await.body == other);
        client.delete("a").await;
        assert_eq!(state(&client).await, empty);
    });
}

#[test]
fn as_many_as_memory_allows() {
    on_new_disk(16 * MIB, async |client| {
        let mut streams = Vec::new();
        for number in 0..64 {
            streams.push(client.send(sized(&number.to_string(), 5).as_bytes()).await);
        }
        sleep(Duration::from_millis(10)).await;
        let refused = client.put("one-more", b"x").await;
        assert_eq!(
            (refused.status, refused.field("Retry-After")),
            (503, Some("5"))
        );
        assert_eq!(
            client.get("/next").await.status,
            404,
            "what needs no transfer is answered"
        );
        for mut stream in streams {
            stream.write_all(b"hello").await.unwrap();
            assert_eq!(status(stream).await, 201);
        }
        assert_eq!(client.put("one-more", b"x").await.status, 201);
        assert_eq!(client.names().await.len(), 65);
    });
}

#[test]
fn many_clients_at_once() {
    on_new_disk(32 * MIB, async |client| {
        let clients: Vec<_> = (0..20)
            .map(|number| {
                let client = client.clone();
                spawn(async move {
                    for round in 0..3_u64 {
                        let name = format!("{number}-{round}");
                        let bytes = junk(number * 8 + round, 40_000 + 1000 * number as usize);
                        assert_eq!(client.put(&name, &bytes).await.status, 201);
                        assert!(client.get(&format!("/uploads/{name}")).await.body == bytes);
                        if round == 1 {
                            assert_eq!(client.delete(&name).await, 204);
                        }
                    }
                })
            })
            .collect();
        for client in clients {
            client.await;
        }
        assert_eq!(client.names().await.len(), 40);
        assert_eq!(client.stat("/uploads").await, 40);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever the length and however it arrives: bytes in, bytes out.
    #[test]
    fn bytes_in_are_bytes_out(
        seed: u64,
        len in prop_oneof![0..10_usize, 4090..4100_usize, 0..300_000_usize],
        cuts in prop::collection::vec(0..300_000_usize, 0..6),
        chunked: bool,
        pause: bool,
    ) {
        on_new_disk(8 * MIB, async move |client| {
            let bytes = junk(seed, len);
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(len)).chain([0, len]).collect();
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]);
            let (head, body) = match chunked {
                true => (head("a", "Transfer-Encoding: chunked\r\n"), chunks(pieces)),
                false => (sized("a", len), bytes.clone()),
            };
            let mut stream = client.send(head.as_bytes()).await;
            for piece in body.chunks(body.len().div_ceil(5).max(1)) {
                stream.write_all(piece).await.unwrap();
                if pause {
                    sleep(Duration::from_millis(3)).await;
                }
            }
            let put = whole(&stream.read_to_end().await.unwrap(), "PUT");
            assert_eq!(put.status, 201);
            assert_eq!(put.field("ETag"), Some(&*format!("\"{}\"", sha256(&bytes))));
            assert!(client.get("/uploads/a").await.body == bytes);
        });
    }
}
