//! Who may do what.

use crate::support::{MIB, on_new_disk, run};
use xenlet_blkfront::hosted::Medium;
use xenlet_kernel::hosted::store;
use xenlet_kernel::time::{Duration, sleep};

/// Every kind of request, and whose it is.
const REQUESTS: [(&str, &str, &str); 6] = [
    ("PUT", "/uploads/a", "up"),
    ("GET", "/uploads", "down"),
    ("GET", "/uploads/b", "down"),
    ("HEAD", "/next", "down"),
    ("GET", "/next", "down"),
    ("DELETE", "/uploads/b", "down"),
];

#[test]
fn each_role_has_its_own_requests() {
    on_new_disk(8 * MIB, async |client| {
        for (method, path, role) in REQUESTS {
            for (lines, status) in [
                ("", 401),
                ("Authorization: Bearer\r\n", 401),
                ("Authorization: Bearer \r\n", 401),
                ("Authorization: Bearer x\r\n", 401),
                ("Authorization: Bearer upp\r\n", 401),
                ("Authorization: Bearer dow\r\n", 401),
                ("Authorization: Basic up\r\n", 401),
                ("Authorization: up\r\n", 401),
                (
                    "Authorization: Bearer up\r\nAuthorization: Bearer down\r\n",
                    401,
                ),
                (
                    "Authorization: Bearer up\r\n",
                    if role == "up" { 201 } else { 403 },
                ),
                (
                    "Authorization: bearer  down\r\n",
                    if role == "down" { 404 } else { 403 },
                ),
            ] {
                // Nothing is there but what the uploader puts.
                let status = if status == 404 && path == "/uploads" {
                    200
                } else {
                    status
                };
                let answer = client
                    .ask(
                        method,
                        path,
                        &(lines.to_owned() + "Content-Length: 0\r\n"),
                        b"",
                    )
                    .await;
                assert_eq!(answer.status, status, "{method} {path} {lines:?}");
                let challenge = answer.field("WWW-Authenticate");
                assert_eq!(
                    challenge.is_some_and(|c| c.starts_with("Bearer")),
                    status == 401
                );
            }
            let _ = client.delete("a").await;
        }
        assert_eq!(
            client.ask("GET", "/stats", "", b"").await.status,
            200,
            "open to all"
        );
    });
}

#[test]
fn a_role_without_a_token_is_refused_to_everybody() {
    for line in ["format=ifblank", "format=ifblank uploader= downloader="] {
        let ((), console) = run(&Medium::new(8 * MIB), line, async |client| {
            for (method, path, _) in REQUESTS {
                for lines in [
                    "",
                    "Authorization: Bearer\r\n",
                    "Authorization: Bearer x\r\n",
                ] {
                    assert_eq!(client.ask(method, path, lines, b"").await.status, 403);
                }
            }
        });
        assert!(
            console.contains("uploader=TOKEN") && console.contains("/data/downloader TOKEN"),
            "{console}"
        );
    }
}

#[test]
fn tokens_in_xenstore_are_followed() {
    let medium = Medium::new(8 * MIB);
    let ((), console) = run(&medium, "format=ifblank downloader=down", async |client| {
        assert_eq!(client.put("a", b"x").await.status, 403);
        for (token, status) in [
            ("up", 201),
            ("s3cret-one", 401),
            ("no good", 403),
            ("up", 201),
        ] {
            store::write(&format!("{}/data/uploader", store::HOME), token);
            sleep(Duration::from_millis(10)).await;
            assert_eq!(client.put("a", b"x").await.status, status, "{token}");
            let _ = client.delete("a").await;
        }
        store::remove(&format!("{}/data/uploader", store::HOME));
        sleep(Duration::from_millis(10)).await;
        assert_eq!(client.put("a", b"x").await.status, 403);
        // What is on the command line counts.
        store::write(&format!("{}/data/downloader", store::HOME), "other");
        sleep(Duration::from_millis(10)).await;
        assert_eq!(client.get("/uploads").await.status, 200);
    });
    assert!(
        !console.contains("s3cret-one") && !console.contains("no good"),
        "{console}"
    );
}
