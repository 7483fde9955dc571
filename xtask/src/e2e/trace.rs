//! A trace of a queue that is busy, recorded in a running guest.

use std::io::Read;
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::content::Content;
use super::context::Context;
use super::destroyed;
use super::http::{Client, LONG};
use super::inspect::{boot, loaded};

/// Under load it can be read, and an upload that is on it waited for the disk, in the time that it took.
pub(super) fn recorded(context: &mut Context<'_>) -> Result<()> {
    let (_server, uploads, inside) = boot(context)?;
    let file = loaded(&uploads, || {
        thread::scope(|scope| {
            let file = scope.spawn(|| read(&inside));
            sleep(Duration::from_secs(1));
            let put = uploads.put("traced", &Content::new(9, 20_000));
            put.and(destroyed::joined(file))
        })
    })?;
    let file: Value = serde_json::from_slice(&file).context("the trace")?;
    let events = file["traceEvents"].as_array().context("no events")?;
    let slices: Vec<Slice<'_>> = events.iter().filter_map(Slice::read).collect();
    let upload = slices
        .iter()
        .find(|slice| slice.name == "request: PUT /uploads/traced")
        .context("the upload is not on it")?;
    let waited: f64 = slices
        .iter()
        .filter(|slice| slice.row == upload.row && slice.is_within(upload))
        .filter(|slice| slice.name.starts_with("waiting for "))
        .map(|slice| slice.took)
        .sum();
    let took = upload.took;
    ensure!(
        waited > took / 4.0 && waited <= took,
        "{upload:?}: it waited for {waited} of {took} µs"
    );
    for (name, what) in [
        ("sleep", "the loop"),
        ("flush", "the store"),
        ("ready", "a task that was woken"),
    ] {
        let is_there = slices.iter().any(|slice| slice.name == name);
        ensure!(is_there, "nothing of {what} is on it");
    }
    let is_of_disk = |event: &&Value| event["ph"] == "b" && event["name"] == "write";
    ensure!(
        events.iter().any(|event| is_of_disk(&event)),
        "no request to the disk"
    );
    Ok(())
}

/// Records while the upload is under way.
fn read(inside: &Client) -> Result<Vec<u8>> {
    let mut response = inside.open("/trace?seconds=10", &[], LONG)?;
    let status = response.status().as_u16();
    ensure!(status == 200, "it was answered with {status}");
    let mut file = Vec::new();
    response.body_mut().as_reader().read_to_end(&mut file)?;
    Ok(file)
}

/// Something that took its time, in microseconds.
#[derive(Debug)]
struct Slice<'t> {
    name: &'t str,
    row: u64,
    from: f64,
    took: f64,
}

impl<'t> Slice<'t> {
    fn read(event: &'t Value) -> Option<Self> {
        Some(Self {
            name: event["name"].as_str()?,
            row: event["tid"].as_u64()?,
            from: event["ts"].as_f64()?,
            took: event["dur"].as_f64()?,
        })
    }

    fn is_within(&self, other: &Self) -> bool {
        other.from <= self.from && self.from + self.took <= other.from + other.took
    }
}
