//! What each request is answered with.

use crate::support::{LINE, MIB, in_the_clear, json, junk, on_new_disk, run, sha256};
use xenlet_blkfront::hosted::{Config, Medium, attach};
use xenlet_tests::config;

#[test]
fn an_upload_from_begin_to_end() {
    on_new_disk(8 * MIB, async |client| {
        let bytes = junk(1, 100_000);
        let put = client.put("report%201.bin", &bytes).await;
        assert_eq!(put.status, 201);
        assert_eq!(put.field("Location"), Some("/uploads/report%201.bin"));
        let expected = serde_json::json!({
            "name": "report 1.bin", "bytes": 100_000, "sha256": sha256(&bytes),
        });
        assert_eq!(json(&put), expected);
        assert_eq!(
            json(&client.get("/uploads").await),
            serde_json::json!([expected])
        );

        for path in ["/uploads/report%201.bin", "/next"] {
            let got = client.get(path).await;
            assert_eq!((got.status, got.body == bytes), (200, true), "{path}");
            for (name, value) in [
                ("Content-Type", "application/octet-stream"),
                ("X-Content-Type-Options", "nosniff"),
                (
                    "Content-Disposition",
                    "attachment; filename=\"report 1.bin\"",
                ),
                ("Content-Location", "/uploads/report%201.bin"),
                ("Accept-Ranges", "bytes"),
                ("ETag", put.field("ETag").unwrap()),
            ] {
                assert_eq!(got.field(name), Some(value), "{path}");
            }
            let head = client.call("HEAD", path, "").await;
            assert_eq!(
                (head.status, head.field("Content-Length")),
                (200, Some("100000"))
            );
        }

        assert_eq!(client.stat("/uploads").await, 1);
        assert_eq!(client.stat("/upload_bytes").await, 100_000);
        assert_eq!(client.stat("/since_boot/downloads").await, 2);
        assert_eq!(client.delete("report%201.bin").await, 204);
        assert_eq!(client.delete("report%201.bin").await, 404);
        assert_eq!(client.get("/next").await.status, 404);
        assert_eq!(client.get("/uploads").await.body, b"[\n]\n");
        assert_eq!(client.stat("/uploads").await, 0);
        assert_eq!(client.stat("/upload_bytes").await, 0);
    });
}

#[test]
fn over_the_ring() {
    let medium = Medium::new(8 * MIB);
    for round in 0..2 {
        let medium = medium.clone();
        let application = async move || {
            attach(Config::default(), &medium);
            xenlet_queue::run().await
        };
        xenlet_tests::run_with(
            config(&in_the_clear(LINE), None),
            application,
            async move |peer| {
                let client = crate::support::Client(peer);
                let bytes = junk(round, 1_000_000);
                let name = format!("round{round}");
                assert_eq!(client.put(&name, &bytes).await.status, 201);
                assert!(client.get(&format!("/uploads/{name}")).await.body == bytes);
                assert!(client.get("/next").await.body == junk(0, 1_000_000));
            },
        );
    }
}

#[test]
fn ranges_and_conditions() {
    on_new_disk(8 * MIB, async |client| {
        let bytes = junk(1, 300_000);
        let tag = client
            .put("a", &bytes)
            .await
            .field("ETag")
            .unwrap()
            .to_owned();
        for (range, part) in [
            ("0-0", 0..1),
            ("4095-4096", 4095..4097),
            ("100000-199999", 100_000..200_000),
            ("299999-", 299_999..300_000),
            ("-70000", 230_000..300_000),
        ] {
            let got = client
                .call("GET", "/uploads/a", &format!("Range: bytes={range}\r\n"))
                .await;
            assert_eq!(
                (got.status, got.body == bytes[part.clone()]),
                (206, true),
                "{range}"
            );
            let content_range = format!("bytes {}-{}/300000", part.start, part.end - 1);
            assert_eq!(got.field("Content-Range"), Some(content_range.as_str()));
        }
        for (method, lines, status) in [
            ("GET", "Range: bytes=300000-\r\n", 416),
            ("GET", &*format!("If-None-Match: {tag}\r\n"), 304),
            ("HEAD", &*format!("If-None-Match: {tag}\r\n"), 304),
            ("GET", "If-None-Match: \"x\"\r\n", 200),
            ("GET", "If-Match: \"x\"\r\n", 412),
            ("GET", "If-Range: \"x\"\r\nRange: bytes=0-0\r\n", 200),
            ("DELETE", "If-Match: \"x\"\r\n", 412),
            ("DELETE", &*format!("If-Match: {tag}\r\n"), 204),
        ] {
            assert_eq!(
                client.call(method, "/uploads/a", lines).await.status,
                status,
                "{lines}"
            );
        }
    });
}

#[test]
fn an_empty_upload() {
    on_new_disk(8 * MIB, async |client| {
        assert_eq!(json(&client.put("empty", b"").await)["sha256"], sha256(b""));
        let got = client.get("/next").await;
        assert_eq!((got.status, got.body.len()), (200, 0));
        let ranged = client.call("GET", "/next", "Range: bytes=0-\r\n").await;
        assert_eq!(ranged.status, 416);
    });
}

#[test]
fn names() {
    on_new_disk(8 * MIB, async |client| {
        let longest = "n".repeat(200);
        let good = [
            "a",
            "%22quoted%22",
            "a%20b",
            "%C3%A9",
            "%F0%9F%8D%B5",
            "a%25b",
            "..a",
            &longest,
        ];
        for name in good {
            let put = client.put(name, name.as_bytes()).await;
            assert_eq!(put.status, 201, "{name}");
            let location = put.field("Location").unwrap().to_owned();
            assert_eq!(client.get(&location).await.body, name.as_bytes());
            assert_eq!(client.put(name, b"again").await.status, 409);
        }
        assert_eq!(client.names().await.len(), good.len());
        let too_long = "n".repeat(201);
        for name in [
            "", ".", "..", "a/b", "a%2Fb", "a%5Cb", "%0A", "%00", "%7F", "%C2%85", "%FF", &too_long,
        ] {
            assert_eq!(client.put(name, b"x").await.status, 400, "{name}");
        }
        for name in ["", "a/b", "%0A", &too_long] {
            assert_eq!(
                client.get(&format!("/uploads/{name}")).await.status,
                404,
                "{name}"
            );
            assert_eq!(client.delete(name).await, 404, "{name}");
        }
        assert_eq!(client.names().await.len(), good.len());
    });
}

#[test]
fn what_is_not_there() {
    on_new_disk(8 * MIB, async |client| {
        for path in ["/", "/upload", "/nexts", "/stats/", "/favicon.ico"] {
            assert_eq!(client.get(path).await.status, 404, "{path}");
        }
        for (method, path, allowed) in [
            ("POST", "/uploads", "GET, HEAD"),
            ("DELETE", "/uploads", "GET, HEAD"),
            ("PUT", "/next", "GET, HEAD"),
            ("DELETE", "/stats", "GET, HEAD"),
            ("POST", "/uploads/a", "GET, HEAD, PUT, DELETE"),
        ] {
            let answer = client.call(method, path, "Content-Length: 0\r\n").await;
            assert_eq!(
                (answer.status, answer.field("Allow")),
                (405, Some(allowed)),
                "{method} {path}"
            );
        }
    });
}

#[test]
fn the_list_is_oldest_first_and_longer_than_a_page() {
    on_new_disk(16 * MIB, async |client| {
        // Neither the order of names nor of hashes.
        let names: Vec<String> = (0..200).map(|i| format!("{:03}", i * 77 % 200)).collect();
        for name in &names {
            assert_eq!(client.put(name, name.as_bytes()).await.status, 201);
        }
        assert_eq!(client.names().await, names);
        for name in &names {
            assert_eq!(client.get("/next").await.body, name.as_bytes());
            assert_eq!(client.delete(name).await, 204);
        }
    });
}

#[test]
fn without_a_usable_disk_it_says_so() {
    // Not blank, and not formatted without being asked to.
    let other = Medium::from_bytes(&junk(1, 8 << 20));
    let blank = Medium::new(8 * MIB);
    for (medium, line, words) in [
        (&other, LINE, "the disk can't be used"),
        (&blank, "uploader=up downloader=down", "format=ifblank"),
        (
            &blank,
            "uploader=up downloader=down format=yes",
            "format=yes: only format=ifblank",
        ),
    ] {
        let before = medium.bytes();
        let ((), console) = run(medium, line, async |client| {
            assert_eq!(client.put("a", b"x").await.status, 503);
            assert_eq!(client.get("/uploads").await.status, 503);
            assert_eq!(client.get("/stats").await.status, 503);
        });
        assert!(console.contains(words), "{console}");
        assert!(medium.bytes() == before, "it was left as it was");
    }
    let (_, ended) = xenlet_tests::run_with(
        config(&in_the_clear(LINE), None),
        xenlet_queue::run,
        async |peer| {
            assert_eq!(crate::support::Client(peer).get("/next").await.status, 503);
        },
    );
    assert!(
        ended.console.contains("queue: no disk: "),
        "{}",
        ended.console
    );
}
