//! Guests of their own, created for one measurement and then destroyed: how soon they serve, and with how little.

use std::fs;

use anyhow::{Context, Result, bail, ensure};

use super::guests::{self, Guest};
use super::rows::PAGE;
use super::sample::{PATIENCE, Sample};
use crate::sh;
use crate::xen::{Dom0, Xen};

/// Its name in Xen, and its addresses.
const NAME: &str = "bench-fresh";
const ADDRESS: &str = "10.77.0.4";
const MAC: &str = "00:16:3e:77:00:04";

/// A guest that serves before this, serves. Linux takes three to four.
const SECONDS: u32 = 20;

/// Which web server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Xenlet,
    Linux,
}

impl Kind {
    /// As the pair's guests are called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Xenlet => "xenlet",
            Self::Linux => "linux",
        }
    }

    /// The guest's configuration, with so much memory, MiB.
    fn config(self, memory: u32) -> String {
        let kernel = match self {
            Self::Xenlet => format!("kernel = \"/run/bench/httpd\"\nextra = \"ip={ADDRESS}/24\""),
            Self::Linux => format!(
                "kernel = \"/run/bench/vmlinuz\"\nramdisk = \"/run/bench/web\"\n\
                 extra = \"console=hvc0 quiet address={ADDRESS}/24\""
            ),
        };
        format!(
            "name = \"{NAME}\"\ntype = \"pv\"\nmemory = {memory}\nvcpus = 1\n\
             vif = [ 'bridge=xenbr0,mac={MAC}' ]\n{kernel}\n"
        )
    }

    /// Memory to try, MiB, until there is too little. Xen's tools create no PV guest with less than 4.
    fn sizes(self) -> &'static [u32] {
        match self {
            Self::Xenlet => &[12, 8, 6, 5, 4],
            Self::Linux => &[160, 128, 112, 104, 96, 88],
        }
    }
}

/// A guest that serves. Another one takes its place.
pub(super) struct Fresh {
    dom0: Dom0,
    /// How it came to serve: ms, and the processor time that took.
    pub(super) start: Sample,
    pub(super) guest: Guest,
}

impl Fresh {
    /// Creates a guest with so much memory, MiB, unpauses it, and waits for its first page.
    ///
    /// # Errors
    /// If it can't be created, or doesn't serve the page, or another one; the error has the end of its console.
    pub(super) fn create(xen: &Xen, kind: Kind, memory: u32) -> Result<Self> {
        let dom0 = xen.dom0();
        let console = xen.console_file(NAME);
        let before = fs::read_to_string(&console).unwrap_or_default().len();
        // A bridge that doesn't know an address sends to all its ports, and behind the rig's other one is QEMU, which
        // connects to anything.
        let script = format!(
            "cd /run/bench && xl destroy {NAME} 2>/dev/null
             ip neigh replace {ADDRESS} lladdr {MAC} dev xenbr0 nud permanent
             cat >fresh.cfg <<'END'\n{config}END\n\
             xl create -q -p fresh.cfg && sleep 0.5 || exit 1
             domain=$(xl domid {NAME}) && bridge fdb replace {MAC} dev \"vif$domain.0\" master static || exit 1
             export PYTHONPATH=$(echo /usr/lib/xen-*/lib/python)
             python3 -S first.py \"$domain\" {ADDRESS} {PAGE} {SECONDS} || exit 1
             tail -c \"$(stat -c %s .{PAGE})\" first | cmp - .{PAGE} || exit 1
             echo \"$domain\"",
            config = kind.config(memory)
        );
        let done = dom0.try_run(&script, PATIENCE)?;
        if done.status != 0 {
            let text = fs::read_to_string(&console).unwrap_or_default();
            dom0.try_run(&format!("xl destroy {NAME}"), PATIENCE)?;
            bail!(
                "with {memory} MiB: {}; its console:\n{}",
                done.text.trim_end(),
                sh::tail(text.get(before..).unwrap_or_default())
            );
        }
        let (start, guest) =
            parse(&done.text).with_context(|| format!("dom0 said:\n{}", done.text))?;
        Ok(Self { dom0, start, guest })
    }

    /// Ends it.
    ///
    /// # Errors
    /// If it is gone already: it crashed.
    pub(super) fn destroy(self) -> Result<()> {
        self.dom0.run(&format!("xl destroy {NAME}")).map(drop)
    }
}

/// Reads what the script prints: nanoseconds, those of processor time, the domain's number.
fn parse(text: &str) -> Result<(Sample, Guest)> {
    let line = text.lines().find(|line| line.split(' ').count() == 3);
    let numbers: Result<Vec<f64>, _> = line
        .context("no times")?
        .split(' ')
        .map(str::parse)
        .collect();
    let numbers = numbers?;
    let [ns, guest_ns, dom0_ns] = numbers[..] else {
        bail!("no times")
    };
    let start = Sample {
        value: ns / 1e6,
        guest_ns: Some(guest_ns),
        dom0_ns: Some(dom0_ns),
    };
    let guest = Guest {
        name: NAME,
        address: ADDRESS,
        domain: guests::number(text)?,
    };
    Ok((start, guest))
}

/// How long a guest takes from being unpaused to its first page, and what that costs.
///
/// # Errors
/// As [`Fresh::create`].
pub(super) fn boot(xen: &Xen, kind: Kind, memory: u32) -> Result<Sample> {
    let fresh = Fresh::create(xen, kind, memory)?;
    let start = fresh.start;
    fresh.destroy()?;
    Ok(start)
}

/// The least memory with which a guest serves, MiB.
///
/// # Errors
/// If it doesn't with the most that is tried.
pub(super) fn memory(xen: &Xen, kind: Kind) -> Result<Sample> {
    let mut least = None;
    for &memory in kind.sizes() {
        // Once more where it fails: programs of dom0 do, now and then, on an emulated processor.
        match serves(xen, kind, memory).or_else(|_| serves(xen, kind, memory)) {
            Ok(()) => least = Some(memory),
            Err(error) if least.is_none() => return Err(error),
            Err(_) => break,
        }
    }
    let least = least.context("nothing was tried")?;
    Ok(Sample::only(f64::from(least)))
}

/// Checks that a guest serves the page, and not only once.
fn serves(xen: &Xen, kind: Kind, memory: u32) -> Result<()> {
    let fresh = Fresh::create(xen, kind, memory)?;
    let again = format!(
        "cd /run/bench && for again in 1 2 3 4 5; do curl -sSf -m 10 http://{ADDRESS}{PAGE} | cmp - .{PAGE} || exit 1; done"
    );
    let done = fresh.dom0.try_run(&again, PATIENCE)?;
    fresh.destroy()?;
    ensure!(
        done.status == 0,
        "with {memory} MiB: {}",
        done.text.trim_end()
    );
    Ok(())
}

/// How long `xl unpause` takes by itself, of a guest that was paused for the purpose, ms.
///
/// # Errors
/// If `xl` fails.
pub(super) fn unpause(dom0: &Dom0, guest: &Guest) -> Result<Sample> {
    let domain = guest.domain;
    let script = format!(
        "xl pause {domain} && began=$EPOCHREALTIME && xl unpause {domain} && echo $began $EPOCHREALTIME"
    );
    let said = dom0.run(&script)?;
    let (began, ended) = said.trim().split_once(' ').context("no times")?;
    let (began, ended): (f64, f64) = (began.parse()?, ended.parse()?);
    Ok(Sample::only((ended - began) * 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_its_times_and_a_domain() {
        let (start, guest) = parse("12500000 900000 8000000\n17\n").unwrap();
        assert_eq!((start.value, guest.domain), (12.5, 17));
        assert_eq!((start.guest_ns, start.dom0_ns), (Some(9e5), Some(8e6)));
        assert!(parse("17\n").is_err() && parse("1 2 x\n17\n").is_err());
        assert!(parse("1 2 3\nno number\n").is_err());
    }

    #[test]
    fn memory_is_tried_downwards() {
        for kind in [Kind::Xenlet, Kind::Linux] {
            assert!(kind.sizes().is_sorted_by(|a, b| a > b));
        }
    }
}
