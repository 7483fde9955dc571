//! A trace of an upload to a slow disk says where the time went.

use crate::support::{Client, LINE, MIB, in_the_clear, json, junk, whole};
use embedded_io_async::Write;
use serde_json::Value;
use xenlet_blkfront::hosted::{Config, Medium, attach};
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, now, sleep};
use xenlet_tests::{Answer, config};

const PORT: u16 = 9100;

/// What a disk takes for a request at most.
const SLOW: Duration = Duration::from_millis(40);

/// Runs the queue on a new disk that takes up to `delay` for a request.
fn on_slow_disk<T: Send + 'static>(client: impl AsyncFnOnce(Client) -> T + Send + 'static) -> T {
    let application = async || {
        let slow = Config {
            delay: SLOW,
            ..Config::default()
        };
        let _vbd = attach(slow, &Medium::new(16 * MIB));
        xenlet_queue::run().await
    };
    let line = format!("{} inspect={PORT}", in_the_clear(LINE));
    let client = async |peer| client(Client(peer)).await;
    xenlet_tests::run_with(config(&line, None), application, client).0
}

async fn trace(client: &Client, query: &str) -> Answer {
    let request = format!("GET /trace{query} HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n");
    let mut stream = client.0.connect(PORT).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    whole(&stream.read_to_end().await.unwrap(), "GET")
}

/// Slices of one row: what, from when, for how long, in milliseconds.
type Slices<'e> = Vec<(&'e str, f64, f64)>;

fn slices<'e>(events: &'e [Value], row: &Value) -> Slices<'e> {
    let events = events
        .iter()
        .filter(|event| event["ph"] == "X" && event["tid"] == *row);
    let ms = |value: &Value| value.as_f64().unwrap() / 1000.0;
    events
        .map(|event| {
            (
                event["name"].as_str().unwrap(),
                ms(&event["ts"]),
                ms(&event["dur"]),
            )
        })
        .collect()
}

/// How long those called `name` took together.
fn total(slices: &Slices<'_>, name: &str) -> f64 {
    let named = slices.iter().filter(|slice| slice.0 == name);
    named.map(|slice| slice.2).sum()
}

fn is_close(a: f64, b: f64) -> bool {
    (a - b).abs() < 1.0
}

#[test]
fn a_slow_upload_waited_for_the_disk() {
    on_slow_disk(async |client| {
        sleep(Duration::from_secs(1)).await;
        let asked = client.clone();
        let trace = spawn(async move { trace(&asked, "?seconds=5").await });
        sleep(Duration::from_millis(100)).await;
        let began = now();
        let content = junk(1, 2 * MIB as usize);
        assert_eq!(client.put("slow?token=secret", &content).await.status, 201);
        let took = began.elapsed().as_secs_f64() * 1000.0;
        let answer = trace.await;
        assert!(!String::from_utf8_lossy(&answer.body).contains("secret"));
        let file = json(&answer);
        let events = file["traceEvents"].as_array().unwrap();

        let name = "request: PUT /uploads/slow";
        let request = events.iter().find(|event| event["name"] == name).unwrap();
        let connection = slices(events, &request["tid"]);
        assert!(
            is_close(total(&connection, name), took),
            "{connection:?} {took}"
        );
        let disk = total(&connection, "waiting for disk write");
        let commit = total(&connection, "waiting for the commit");
        assert!(disk > 40.0 && commit > 40.0, "{connection:?}");
        // It waits for nothing else that would take any time.
        assert!(is_close(disk + commit, took), "{disk} {commit} {took}");

        let is_store = |event: &&Value| event["args"]["name"] == "store";
        let store = slices(events, &events.iter().find(is_store).unwrap()["tid"]);
        assert!(is_close(total(&store, "commit: 1 transactions"), commit));
        let flush = total(&store, "flush");
        let waited =
            total(&store, "waiting for the disk") + total(&store, "waiting for disk write");
        assert!(
            0.0 < flush && flush < waited && is_close(waited, commit),
            "{store:?}"
        );

        let is_disk = |event: &&Value| event["args"]["name"] == "xvda (vbd51712)";
        let process = &events.iter().find(is_disk).unwrap()["pid"];
        let flushes = events.iter().filter(|event| event["pid"] == *process);
        let flushes = flushes.filter(|event| event["name"] == "flush");
        let at = |event: &Value| event["ts"].as_f64().unwrap() / 1000.0;
        let sum: f64 = flushes
            .map(|event| {
                if event["ph"] == "e" {
                    at(event)
                } else {
                    -at(event)
                }
            })
            .sum();
        assert!(is_close(sum, flush), "{sum} {flush}");
    });
}

#[test]
fn what_a_trace_is_asked_for() {
    on_slow_disk(async |client| {
        sleep(Duration::from_secs(1)).await;
        for (query, status) in [
            ("?seconds=0", 400),
            ("?seconds=61", 400),
            ("?seconds=x", 400),
            ("?minutes=1", 400),
            ("", 200),
        ] {
            assert_eq!(trace(&client, query).await.status, status, "{query}");
        }
        let asked = client.clone();
        let first = spawn(async move { trace(&asked, "?seconds=2").await });
        sleep(Duration::from_secs(1)).await;
        assert_eq!(trace(&client, "").await.status, 503);
        assert_eq!(first.await.status, 200);
        assert_eq!(trace(&client, "").await.status, 200);
    });
}
