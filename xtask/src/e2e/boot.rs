//! Booting, in all the ways a configuration can ask for.

use std::net::Ipv4Addr;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::context::{BOOT, Context, END, Server};
use super::serve;
use crate::xen::{Settings, Xen};

/// A guest boots and talks: lines of `[seconds] LEVEL target: text`, and nothing is worse than information.
pub(super) fn console(context: &mut Context<'_>) -> Result<()> {
    let text = context.shared()?.guest.console.text();
    let is_log = |line: &&str| line.starts_with('[') && line.contains("] INFO ");
    ensure!(
        text.lines().filter(is_log).count() >= 2,
        "hardly a line of a log:\n{text}"
    );
    for bad in ["] ERROR ", "] WARN ", "*** "] {
        ensure!(!text.contains(bad), "the console has a line with `{bad}`");
    }
    ensure!(text.contains("httpd"), "the application says nothing");
    Ok(())
}

/// The address comes by DHCP where the command line names none.
pub(super) fn dhcp(context: &mut Context<'_>) -> Result<()> {
    let server = context.shared()?;
    ensure!(
        server.guest.console.text().contains("by DHCP"),
        "the console does not say `by DHCP`"
    );
    let [a, b, c, d] = server.address.octets();
    let is_qemus = [a, b, c] == [10, 0, 2] && (15..31).contains(&d);
    ensure!(
        is_qemus || matches!(context.xen, Xen::Local),
        "{a}.{b}.{c}.{d} is not one QEMU gives"
    );
    Ok(())
}

/// The address of the command line is used, and reaches beyond its own network.
pub(super) fn fixed(context: &mut Context<'_>) -> Result<()> {
    let address = Ipv4Addr::new(10, 0, 2, 50);
    let extra = Some(format!("ip={address}/24 gw=10.0.2.2"));
    let server = context.server(
        1,
        Settings {
            extra,
            ..Settings::default()
        },
    )?;
    ensure!(
        server.address == address,
        "it has the address {}",
        server.address
    );
    ensure!(
        !server.guest.console.text().contains("by DHCP"),
        "it asked for another address"
    );
    server.client.page("/").map(drop)
}

/// Without a network interface the guest says so, stays, and ends when asked to.
pub(super) fn no_vif(context: &mut Context<'_>) -> Result<()> {
    let settings = Settings {
        no_vif: true,
        on_crash: Some("preserve"),
        ..Settings::default()
    };
    let guest = context.guest(1, settings)?;
    guest.wait("word on the missing interface", BOOT, |text| {
        text.lines().find(|line| line.contains("no vif")).map(drop)
    })?;
    ensure!(guest.domid()?.is_some(), "it ended on its own");
    guest.xl("shutdown")?;
    guest.wait_end(END)?;
    ensure!(guest.report().is_none(), "it crashed");
    Ok(())
}

/// 3 MiB are enough to serve the whole site to many at once; who is too many waits, and the guest goes on.
pub(super) fn little_memory(context: &mut Context<'_>) -> Result<()> {
    let server = context.server(
        1,
        Settings {
            memory: Some(3),
            ..Settings::default()
        },
    )?;
    for (path, bytes) in Context::site()? {
        ensure!(
            server.client.page(&path)?.body == bytes,
            "{path} differs from its file"
        );
    }
    serve::crowd(&server.client, 60, 60)?;
    server.client.wait_for_answer(BOOT)?;
    ensure!(server.guest.report().is_none(), "it crashed");
    Ok(())
}

/// The image is small, the site's pictures aside: 400 KiB at most, and 225 KiB as it is shipped. With TLS it is 900 KiB, and the
/// site's pages.
pub(super) fn image_size(context: &mut Context<'_>) -> Result<()> {
    const PAGES: u64 = 60 * 1024;
    let limits = [
        (context.image.elf(), 400 * 1024),
        (context.image.packed(), 225 * 1024),
        (context.others.tls.elf(), 900 * 1024 + PAGES),
    ];
    let is_picture = |path: &str| {
        [".png", ".jpg", ".webp", ".avif", ".ico"]
            .iter()
            .any(|kind| path.ends_with(kind))
    };
    let site = Context::site()?;
    let pictures: usize = site
        .iter()
        .filter(|(path, _)| is_picture(path))
        .map(|(_, bytes)| bytes.len())
        .sum();
    let pictures = u64::try_from(pictures)?;
    for (file, limit) in limits {
        let size = std::fs::metadata(&file)?.len().saturating_sub(pictures);
        ensure!(
            size <= limit,
            "{} has {size} bytes without its pictures, {limit} are allowed",
            file.display()
        );
    }
    Ok(())
}

/// A guest that nobody asks anything uses no processor time.
pub(super) fn idle(context: &mut Context<'_>) -> Result<()> {
    const SECONDS: u64 = 10;
    let guest = context.shared()?.guest.clone();
    let before = guest.cpu_seconds()?;
    sleep(Duration::from_secs(SECONDS));
    let used = guest.cpu_seconds()? - before;
    // xl counts in tenths; timers of the network take next to nothing.
    ensure!(
        used < 0.25,
        "in {SECONDS} idle seconds it used {used:.1} s of a processor"
    );
    Ok(())
}

/// The time to boot is the same with 3 MiB and with 2 GiB.
///
/// Emulation is noisy: the best of some boots is compared, and a difference must be more than noise to count.
/// Mapping 2 GiB at boot would take a hundred times as long as all of it.
pub(super) fn boot_time(context: &mut Context<'_>) -> Result<()> {
    const BOOTS: usize = 3;
    let mut best = [u64::MAX; 2];
    for _ in 0..BOOTS {
        for (best, memory) in best.iter_mut().zip([3, 2048]) {
            let server = context.server(
                1,
                Settings {
                    memory: Some(memory),
                    ..Settings::default()
                },
            )?;
            let micros = boot_micros(&server)?;
            // Xen's clock record may be older than the guest; a clock that reads it wrong stands still at first.
            ensure!(
                micros > 0,
                "the clock stood still while a guest of {memory} MiB booted"
            );
            *best = micros.min(*best);
            context.clean(false);
        }
    }
    let [little, much] = best;
    ensure!(
        much < little * 3 / 2 + 2000,
        "boot took {little} µs with 3 MiB and {much} µs with 2 GiB"
    );
    Ok(())
}

/// The guest's own boot, up to its device handshakes: what comes after depends on dom0.
fn boot_micros(server: &Server) -> Result<u64> {
    let status: Value = serde_json::from_slice(&server.client.page("/status.json")?.body)?;
    micros(&status).with_context(|| format!("no boot timeline in /status.json: {status}"))
}

fn micros(status: &Value) -> Option<u64> {
    status["boot"]
        .as_array()?
        .iter()
        .find(|mark| mark["name"] == "kernel")?["us"]
        .as_u64()
}
