//! Who may do what.

use crate::support::{MIB, on_new_disk, run};
use embedded_io_async::{Read, Write};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::fmt::Debug;
use xenlet_blkfront::hosted::{Faults, Medium};
use xenlet_kernel::hosted::{self, store};
use xenlet_kernel::time::{self, Duration, sleep};
use xenlet_net::hosted::Peer;
use xenlet_tests::config;
use xenlet_tls::{Identities, Roots, TlsConnector, Versions};

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
fn who_guesses_waits() {
    on_new_disk(8 * MIB, async |client| {
        let mut took = Vec::new();
        // The first one is for ARP.
        for lines in ["", "", "Authorization: Bearer x\r\n"] {
            let began = time::now();
            let answer = client.ask("GET", "/uploads", lines, b"").await;
            assert_eq!(answer.status, 401);
            took.push(began.elapsed());
        }
        assert!(took[2] >= took[1] + Duration::from_secs(1), "{took:?}");
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

/// Who has issued a certificate, and a key and a certificate for `name` by it, in PEM.
fn issue(name: &str) -> (String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let mut params = CertificateParams::new(vec!["guest.test".into()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    (ca, key.serialize_pem() + &certificate)
}

#[test]
fn who_shows_a_certificate_of_a_role_needs_no_token() {
    const TOKEN: &str = "Authorization: Bearer down\r\n";
    let (servers, server) = issue("server");
    let (uploaders, uploader) = issue("uploader");
    let (downloaders, downloader) = issue("downloader");
    let (others, other) = issue("somebody");
    let (_, stranger) = issue("uploader");
    let module =
        format!("{server}token downloader: down\nclients:\n{uploaders}{downloaders}{others}");
    let medium = Medium::new(8 * MIB);
    let application = async move || {
        let disk = medium.disk(Faults::default());
        xenlet_queue::serve(Ok::<_, String>(disk)).await
    };
    let client = async move |peer: Peer| {
        let roots = Roots::from_pem(servers.as_bytes()).unwrap();
        let ask = async |shown: Option<&String>, request: &str| {
            let mut connector = TlsConnector::new(&roots, &[], Versions::Tls13).unwrap();
            if let Some(text) = shown {
                let own = Identities::from_pem(text.as_bytes(), time::wall().unwrap()).unwrap();
                connector = connector.with_identity(&own);
            }
            let stream = peer.connect(443).await.unwrap();
            let mut stream = connector.connect("guest.test", stream).await.unwrap();
            let head = format!("{request}Host: guest.test\r\nContent-Length: 0\r\n\r\n");
            // Who is not wanted hears it when the handshake is over for him.
            match stream.write_all(head.as_bytes()).await {
                Ok(()) => {}
                Err(_) => return 0,
            }
            match stream.read(&mut [0; 9]).await {
                Ok(9) => answer_status(&mut stream).await,
                _ => 0,
            }
        };
        for (shown, lines, put, get) in [
            (Some(&uploader), "", 201, 403),
            (Some(&downloader), "", 403, 200),
            (Some(&other), "", 403, 401),
            (None, "", 403, 401),
            (Some(&stranger), "", 0, 0),
            // The token is the downloader's, whoever sends it.
            (Some(&uploader), TOKEN, 409, 200),
            (Some(&other), TOKEN, 403, 200),
        ] {
            let status = ask(shown, &format!("PUT /uploads/a HTTP/1.1\r\n{lines}")).await;
            assert_eq!(status, put, "{lines}");
            let status = ask(shown, &format!("GET /uploads HTTP/1.1\r\n{lines}")).await;
            assert_eq!(status, get, "{lines}");
        }
    };
    let config = config("format=ifblank", Some(module));
    let ((), ended) = xenlet_tests::run_with(config, application, client);
    assert!(
        ended.console.contains("serving the queue on port 443"),
        "{}",
        ended.console
    );
}

#[test]
fn a_token_that_is_given_twice_is_told() {
    let (_, server) = issue("server");
    let module = format!("{server}token uploader: one\ntoken uploader: two\n");
    let medium = Medium::new(8 * MIB);
    let ended = hosted::run(config("format=ifblank", Some(module)), async move || {
        let disk = medium.disk(Faults::default());
        let served = xenlet_queue::serve(Ok::<_, String>(disk)).await;
        served.map_err(|e| e.to_string())
    });
    let error = ended.value.unwrap().unwrap_err();
    assert!(error.ends_with("the token: it is there twice"), "{error}");
}

/// The number in a status line, behind `HTTP/1.1 `.
async fn answer_status(stream: &mut impl Read<Error: Debug>) -> u16 {
    let mut digits = [0; 3];
    stream.read_exact(&mut digits).await.unwrap();
    str::from_utf8(&digits).unwrap().parse().unwrap()
}
