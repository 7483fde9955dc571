//! `/status`: this very guest, live, and `/status.json`: the same facts for programs.
//!
//! The page carries the facts of the moment it was sent, and its script fetches new ones each second. It brings its
//! style with it, so that it looks the same beside any site.

use crate::site;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use embedded_io_async::{Read, Write};
use serde::Serialize;
use xenlet_http::{Error, Exchange, KernelClock, Server, Status};
use xenlet_kernel::{memory, timeline};

/// Facts change all the time: nobody is to keep them.
const NOT_KEPT: (&str, &str) = ("Cache-Control", "no-store");
const NOSNIFF: (&str, &str) = ("X-Content-Type-Options", "nosniff");

/// What `/status.json` says. Names end in their unit.
#[derive(Serialize)]
struct Facts {
    /// What the guest runs on: `xen`, `hosted` or `unix`.
    target: &'static str,
    version: &'static str,
    /// The guest's own address and prefix length; `null` while it has none.
    address: Option<String>,
    uptime_us: u64,
    /// What was reached when after the first instruction.
    boot: Vec<Mark>,
    /// `null` where the guest is a process of the host.
    memory: Option<Memory>,
    image: Option<Image>,
    site: site::Facts,
    connections: Connections,
    requests: u64,
    refused: u64,
    sent_bytes: u64,
}

#[derive(Serialize)]
struct Mark {
    name: &'static str,
    us: u64,
}

#[derive(Serialize)]
struct Memory {
    total_bytes: usize,
    boot_bytes: usize,
    used_bytes: usize,
    free_bytes: usize,
}

#[derive(Serialize)]
struct Image {
    text_bytes: usize,
    rodata_bytes: usize,
    data_bytes: usize,
}

#[derive(Serialize)]
struct Connections {
    open: u32,
    total: u64,
}

impl Facts {
    fn now(server: &Server<KernelClock>, site: site::Facts) -> Facts {
        let counters = server.counters();
        let memory = memory::stats();
        let boot = timeline::marks().into_iter().map(|mark| Mark {
            name: mark.name,
            us: mark.ns / 1000,
        });
        Facts {
            target: if cfg!(xenlet = "xen") {
                "xen"
            } else if cfg!(xenlet = "unix") {
                "unix"
            } else {
                "hosted"
            },
            version: env!("CARGO_PKG_VERSION"),
            address: xenlet_net::address().map(|address| address.to_string()),
            uptime_us: u64::try_from(timeline::started().elapsed().as_micros()).unwrap_or(u64::MAX),
            boot: boot.collect(),
            memory: memory.map(|stats| Memory {
                total_bytes: stats.total,
                boot_bytes: stats.boot,
                used_bytes: stats.used,
                free_bytes: stats.free,
            }),
            image: memory.map(|stats| Image {
                text_bytes: stats.text,
                rodata_bytes: stats.rodata,
                data_bytes: stats.data,
            }),
            site,
            connections: Connections {
                open: counters.open,
                total: counters.connections,
            },
            requests: counters.requests,
            refused: counters.refused,
            sent_bytes: counters.bytes_sent,
        }
    }

    /// Strings and numbers under fixed names: there is nothing that JSON can't say.
    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Answers with the facts.
pub(crate) async fn json<S: Read + Write>(
    exchange: Exchange<'_, '_, S, KernelClock>,
    server: &Server<KernelClock>,
    site: site::Facts,
) -> Result<(), Error<S::Error>> {
    let facts = Facts::now(server, site).to_json();
    let fields = [("Content-Type", "application/json"), NOT_KEPT, NOSNIFF];
    exchange
        .respond(Status::OK, &fields, facts.as_bytes())
        .await
}

/// Answers with the page.
pub(crate) async fn page<S: Read + Write>(
    exchange: Exchange<'_, '_, S, KernelClock>,
    server: &Server<KernelClock>,
    site: site::Facts,
) -> Result<(), Error<S::Error>> {
    let facts = escape(&Facts::now(server, site).to_json());
    let page = around(&facts);
    let length = page.iter().map(|part| part.len() as u64).sum();
    let fields = [
        ("Content-Type", "text/html; charset=utf-8"),
        NOT_KEPT,
        NOSNIFF,
    ];
    let mut sender = exchange.start(Status::OK, &fields, Some(length)).await?;
    for part in page {
        sender.write(part.as_bytes()).await?;
    }
    sender.finish().await
}

/// Facts that can't leave the script element that holds them: a `<` could end it.
fn escape(facts: &str) -> String {
    facts.replace('<', "\\u003c")
}

/// The page in parts, with style and facts where the template wants them: most of it is sent from where it lies.
fn around(facts: &str) -> [&str; 5] {
    const TEMPLATE: &str = include_str!("status.html");
    const STYLE: &str = include_str!("../site/style.css");
    const PARTS: (&str, &str) = around_mark(TEMPLATE, "{{style}}");
    const REST: (&str, &str) = around_mark(PARTS.1, "{{facts}}");
    [PARTS.0, STYLE, REST.0, facts, REST.1]
}

/// What is before the first `mark` of a text, and what is behind it. Found when this is compiled.
const fn around_mark(text: &'static str, mark: &str) -> (&'static str, &'static str) {
    let (bytes, mark) = (text.as_bytes(), mark.as_bytes());
    let (mut at, mut alike) = (0, 0);
    while alike < mark.len() {
        if bytes[at + alike] == mark[alike] {
            alike += 1;
        } else {
            (at, alike) = (at + 1, 0);
        }
    }
    (text.split_at(at).0, text.split_at(at + alike).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_cannot_leave_their_element() {
        let page = around(&escape("{\"x\":\"</script>\"}")).concat();
        assert!(page.contains("{\"x\":\"\\u003c/script>\"}"));
        assert!(page.contains(include_str!("../site/style.css")));
        assert!(!page.contains("{{"));
    }
}
