//! One measurement: a load on one guest, and in its middle a look at what all domains' processor time grows by.
//!
//! ```text
//!   load      ├─┬───────────────────────┬─┤    what it did in LOAD_SECS, by its own account: the rate
//!               begins               ends
//!   cputime        ├────────────┤              what Xen has accounted for: processor time for each second
//!             LEAD_MS    +   WINDOW_MS
//! ```
//!
//! So neither the start of a load nor its end is counted. Processor time divided by the rate is the time for each unit.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::guests::Guest;
use super::rows::{Load, Row};
use crate::xen::Dom0;

/// How long a load lasts.
pub(super) const LOAD_SECS: u32 = 2;
/// How long after its start the window opens. Linux has started fio by then.
const LEAD_MS: u32 = 600;
const WINDOW_MS: u32 = 800;

/// The harness in dom0 answers within this, however slow its time goes by.
const PATIENCE: Duration = Duration::from_secs(600);

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Units a second.
    pub(super) rate: f64,
    /// The guest's processor time for each, ns.
    pub(super) guest_ns: f64,
    /// dom0's.
    pub(super) dom0_ns: f64,
}

/// Measures a row on a guest.
///
/// # Errors
/// If the load can't be put on it, or doesn't say what it did.
pub(super) fn take(dom0: &Dom0, row: &Row, guest: &Guest) -> Result<Sample> {
    let script = script(&row.load, guest.address);
    let done = dom0.try_run(&script, PATIENCE)?;
    ensure!(done.status == 0, "the load failed:\n{}", done.text);
    parse(&done.text, &row.load, guest.domain).with_context(|| format!("dom0 said:\n{}", done.text))
}

fn script(load: &Load, address: &str) -> String {
    let load = match load {
        Load::Disk { op, bytes, depth } => format!(
            "curl -sS --fail-with-body 'http://{address}:9000/blk?op={op}&bs={bytes}&qd={depth}&secs={LOAD_SECS}'"
        ),
        Load::Pages {
            path,
            connections,
            close,
        } => {
            // wrk looks for the port's name in a file that the rig doesn't have, unless the port is given.
            let close = if *close { "-H 'Connection: close'" } else { "" };
            format!("wrk -t1 -c{connections} -d{LOAD_SECS}s {close} 'http://{address}:80{path}'")
        }
    };
    format!(
        "cd /run/bench && began=$EPOCHREALTIME
         {load} >answer 2>&1 & load=$!
         PYTHONPATH=$(echo /usr/lib/xen-*/lib/python) python3 -S cputime.py {LEAD_MS} {WINDOW_MS} >windows || {{ dmesg | tail -n 3; exit 1; }}
         wait $load || {{ cat answer; exit 1; }}
         echo $began $EPOCHREALTIME; cat windows answer"
    )
}

/// Reads what the script prints: when the load began and ended, processor times at both ends of the window, the load's
/// own words.
fn parse(text: &str, load: &Load, domain: u32) -> Result<Sample> {
    let mut lines = text.lines();
    let mut line = || lines.next().context("too few lines");
    let (began, ended) = line()?.split_once(' ').context("no times")?;
    let (began, ended): (f64, f64) = (began.parse()?, ended.parse()?);
    let (open, close) = (Times::parse(line()?)?, Times::parse(line()?)?);
    let answer: Vec<&str> = lines.collect();
    // What of this was before the load, and what after it, nobody knows: as much as there is of both may be either.
    let late = ended - began - f64::from(LOAD_SECS);
    ensure!(
        began + late <= open.clock && close.clock <= ended - late,
        "the load took {:.0} ms to start and end: too long for a look at its middle",
        late * 1000.0
    );
    let rate = rate(load, &answer.join("\n"))?;
    let seconds = close.clock - open.clock;
    let each =
        |domain| Ok::<_, anyhow::Error>((close.of(domain)? - open.of(domain)?) / seconds / rate);
    Ok(Sample {
        rate,
        guest_ns: each(domain)?,
        dom0_ns: each(0)?,
    })
}

/// A line of `cputime`.
struct Times {
    /// Seconds.
    clock: f64,
    /// Domains, and the processor time of each, ns.
    domains: Vec<(u32, f64)>,
}

impl Times {
    fn parse(line: &str) -> Result<Self> {
        let mut words = line.split(' ');
        let clock: f64 = words.next().unwrap_or_default().parse()?;
        let domains = words.map(|word| {
            let (domain, ns) = word.split_once(':').context("no processor time")?;
            Ok((domain.parse()?, ns.parse()?))
        });
        Ok(Self {
            clock: clock / 1e9,
            domains: domains.collect::<Result<_>>()?,
        })
    }

    fn of(&self, domain: u32) -> Result<f64> {
        let found = self.domains.iter().find(|(number, _)| *number == domain);
        found
            .map(|(_, ns)| *ns)
            .with_context(|| format!("domain {domain} is gone"))
    }
}

/// Units a second, by the load's own account.
fn rate(load: &Load, answer: &str) -> Result<f64> {
    let rate = match load {
        Load::Disk { bytes, .. } => {
            let answer: serde_json::Value = serde_json::from_str(answer)?;
            let key = if *bytes == 1 << 20 { "MiBps" } else { "iops" };
            answer[key].as_f64().context("no rate")?
        }
        Load::Pages { .. } => {
            if let Some(line) = answer
                .lines()
                .find(|line| line.contains("Non-2xx") || line.contains("Socket errors"))
            {
                bail!("{}", line.trim());
            }
            let line = answer
                .lines()
                .find_map(|line| line.trim().strip_prefix("Requests/sec:"));
            line.context("no rate")?.trim().parse()?
        }
    };
    ensure!(rate > 0.0, "nothing was done");
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Load = Load::Disk {
        op: "randread",
        bytes: 4096,
        depth: 1,
    };
    const PAGES: Load = Load::Pages {
        path: "/",
        connections: 1,
        close: false,
    };

    #[test]
    fn a_sample_is_processor_time_for_each_unit() {
        let text = "100.0 102.5\n100500000000 0:100 7:1000\n101500000000 0:400000100 7:200001000\n{\"ops\":1,\"iops\":10000.0}";
        let sample = parse(text, &DISK, 7).unwrap();
        assert_eq!(sample.rate, 10_000.0);
        assert_eq!((sample.guest_ns, sample.dom0_ns), (20_000.0, 40_000.0));
        assert!(
            parse(text, &DISK, 8)
                .unwrap_err()
                .to_string()
                .contains("domain 8")
        );
    }

    #[test]
    fn a_window_that_is_not_within_the_load_is_refused() {
        let with = |open: &str, close: &str| {
            let text = format!("100.0 102.5\n{open} 0:1 7:1\n{close} 0:2 7:2\n{{\"iops\":1.0}}");
            parse(&text, &DISK, 7)
        };
        assert!(with("100500000000", "102000000000").is_ok());
        for (open, close) in [
            ("100499000000", "102000000000"),
            ("100500000000", "102001000000"),
        ] {
            let error = with(open, close).unwrap_err().to_string();
            assert!(error.contains("500 ms"), "{error}");
        }
    }

    #[test]
    fn the_load_says_how_much_it_did() {
        let said =
            "Running 2s test\n  3 requests in 2.00s\nRequests/sec:   8860.25\nTransfer/sec: 1MB\n";
        assert_eq!(rate(&PAGES, said).unwrap(), 8860.25);
        assert!(rate(&PAGES, "  Non-2xx or 3xx responses: 3\nRequests/sec: 1\n").is_err());
        assert!(rate(&PAGES, "Requests/sec: 0.00\n").is_err());
        assert!(rate(&DISK, "This guest has no disk.").is_err());
    }
}
