//! Handshakes: very many at once, those that are none, and those of clients who come while the key is changed.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::{NAME, Site, files, written};
use crate::e2e::context::{BOOT, Context};

/// Five hundred clients have a connection to a guest of 32 MiB at the same time, and all are served.
pub(in crate::e2e) fn crowd(context: &mut Context<'_>) -> Result<()> {
    let site = Site::boot(context, "", Some(32))?;
    for round in ["first", "second"] {
        let said = site.python("print(crowd(500))")?;
        ensure!(
            said.trim() == "500",
            "{said} of 500 were served in the {round} crowd"
        );
    }
    Ok(())
}

/// As many handshakes are under way at the same time as a guest takes: each client has the server's half, and none goes on before all do.
pub(in crate::e2e) fn at_once(context: &mut Context<'_>) -> Result<()> {
    const COUNT: usize = 500;
    let site = Site::boot(context, "", Some(32))?;
    let page = site.curl("/boot/", &[])?;
    let hello: String = hello().iter().map(|byte| format!("{byte:02x}")).collect();
    // From dom0, since QEMU's forwarding takes a few connections at a time.
    let script = format!(
        "ulimit -n 1024; python3 -S - {} {COUNT} {hello} <<'END'
import sys
from _socket import AF_INET, SOCK_STREAM, socket
address, count, hello = sys.argv[1], int(sys.argv[2]), bytes.fromhex(sys.argv[3])
clients = [socket(AF_INET, SOCK_STREAM) for _ in range(count)]
for client in clients:
    client.settimeout(60)
    client.connect((address, 443))
for client in clients:
    client.sendall(hello)
# A handshake's record, and ServerHello.
answers = [client.recv(6) for client in clients]
print(sum(answer[:1] == b'\x16' and answer[5:] == b'\x02' for answer in answers))
END",
        site.guest.address(BOOT)?
    );
    let said = context.xen.dom0().run(&script)?;
    ensure!(
        said.trim() == COUNT.to_string(),
        "of {COUNT} clients at once these had an answer: {said}"
    );
    ensure!(site.curl("/boot/", &[])? == page, "another page after it");
    Ok(())
}

/// Handshakes that no client means: each ends with an alert or without a word, soon, and who is honest is served meanwhile.
pub(in crate::e2e) fn bad(context: &mut Context<'_>) -> Result<()> {
    const CLIENTS: usize = 20;
    let site = Site::boot(context, "", Some(32))?;
    let page = site.curl("/boot/", &[])?;
    let hello = hello();
    let fragments: Vec<u8> = (0..64).flat_map(|_| record(22, &[0xff; 1024])).collect();
    let long = [&record(22, &[1, 0xff, 0xff, 0xff])[..], &fragments].concat();
    let half = &hello[..hello.len() / 2];
    let attempts: &[(&str, Vec<u8>, bool)] = &[
        ("nothing", Vec::new(), true),
        ("a record's header", hello[..5].to_vec(), true),
        ("half a ClientHello", half.to_vec(), true),
        ("half a ClientHello, for ever", half.to_vec(), false),
        ("nothing, for ever", Vec::new(), false),
        (
            "a record that is too long",
            [22, 3, 1, 0xff, 0xff].to_vec(),
            false,
        ),
        ("a message that is too long", long, false),
        (
            "data in the middle",
            [half_record(&hello), record(23, b"GET / HTTP/1.1")].concat(),
            false,
        ),
        (
            "another ClientHello in the middle",
            [half_record(&hello), hello.clone()].concat(),
            false,
        ),
        (
            "no TLS at all",
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            false,
        ),
        ("an alert", record(21, &[2, 40]), false),
        ("an empty record", record(22, &[]), true),
    ];
    for (what, bytes, ends) in attempts {
        let mut streams = Vec::new();
        for _ in 0..CLIENTS {
            let mut stream = TcpStream::connect(site.at)?;
            stream.set_read_timeout(Some(Duration::from_secs(40)))?;
            // The guest may have heard enough before the end.
            let _ = stream.write_all(bytes);
            if *ends {
                let _ = stream.shutdown(Shutdown::Write);
            }
            streams.push(stream);
        }
        ensure!(
            site.curl("/boot/", &[])? == page,
            "beside {what}: another page"
        );
        for mut stream in streams {
            let mut said = Vec::new();
            // A reset is an end too.
            if let Err(error) = stream.read_to_end(&mut said)
                && error.kind() != std::io::ErrorKind::ConnectionReset
            {
                bail!("after {what}: {error}");
            }
            ensure!(
                said.first().is_none_or(|kind| *kind == 21),
                "after {what} it said {said:02x?}"
            );
        }
    }
    ensure!(
        site.curl("/boot/", &[])? == page,
        "another page after it all"
    );
    ensure!(site.guest.report().is_none(), "it crashed");
    Ok(())
}

/// A record (RFC 8446 §5.1) of this type.
fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(content.len())
        .unwrap_or(u16::MAX)
        .to_be_bytes();
    [&[kind, 3, 1, high, low], content].concat()
}

/// A ClientHello of TLS 1.3, in a record of its own: one cipher, X25519 and a share of it (RFC 8446 §4.1.2).
fn hello() -> Vec<u8> {
    let extension = |number: u8, content: &[u8]| {
        let len = u8::try_from(content.len()).unwrap_or(u8::MAX);
        [&[0, number, 0, len], content].concat()
    };
    let extensions = [
        extension(43, &[2, 3, 4]),
        extension(10, &[0, 2, 0, 29]),
        extension(13, &[0, 2, 4, 3]),
        extension(51, &[&[0, 36, 0, 29, 0, 32][..], &[9; 32]].concat()),
    ]
    .concat();
    let len = u8::try_from(extensions.len()).unwrap_or(u8::MAX);
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0, 0, 2, 0x13, 1, 1, 0, 0, len],
        &extensions,
    ]
    .concat();
    let len = u8::try_from(body.len()).unwrap_or(u8::MAX);
    record(22, &[&[1, 0, 0, len][..], &body].concat())
}

/// A whole record with the first half of a ClientHello.
fn half_record(hello: &[u8]) -> Vec<u8> {
    record(22, &hello[5..hello.len() / 2])
}

/// The key is changed three times while clients come: each of them is served, by a certificate of the one CA or of the other.
pub(in crate::e2e) fn new_keys(context: &mut Context<'_>) -> Result<()> {
    const CLIENTS: usize = 4;
    let (first, other) = (files(&[NAME])?, crate::ca::issue(&[NAME])?);
    let keys = [fs::read_to_string(&first.1)?, other.1];
    let both = fs::read_to_string(&first.0)? + &other.0;
    let mut site = Site::boot_with(context, "", None, first.0, first.1)?;
    site.ca = written("both.pem", &both)?;
    let domain = site.guest.domid()?.context("the guest is gone")?;
    let (site, over, served) = (&site, &AtomicBool::new(false), &AtomicUsize::new(0));
    let ask = || {
        while !over.load(Ordering::Relaxed) {
            site.curl("/boot/", &[])?;
            served.fetch_add(1, Ordering::Relaxed);
        }
        anyhow::Ok(())
    };
    let change = |key: &str| {
        let before = served.load(Ordering::Relaxed);
        while served.load(Ordering::Relaxed) < before + 4 * CLIENTS {
            thread::sleep(Duration::from_millis(20));
        }
        let script = format!(
            "xenstore-write -- /local/domain/{domain}/data/tls \"$(cat <<'END'\n{key}END\n)\""
        );
        context.xen.dom0().run(&script).map(drop)
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(ask)).collect();
        let changed = [1, 0, 1]
            .iter()
            .try_for_each(|key: &usize| change(&keys[*key]));
        over.store(true, Ordering::Relaxed);
        for client in clients {
            let done = client.join();
            done.unwrap_or_else(|_| bail!("a client's thread panicked"))?;
        }
        changed
    })?;
    let console = site.guest.console.text();
    let times = console
        .matches("from now on the certificate is for")
        .count();
    ensure!(times == 3, "it took {times} of three keys:\n{console}");
    // The last one is the other CA's.
    let alone = written("other.pem", &other.0)?.display().to_string();
    site.curl("/", &["--cacert", &alone]).map(drop)
}
