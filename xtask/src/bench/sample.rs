//! One measurement: a load on one guest, and in its middle a look at what all domains' processor time grows by.
//!
//! ```text
//!   load      ├─┬───────────────────────┬─┤    what it did in load_secs, by its own account
//!               begins               ends
//!   cputime        ├────────────┤              what Xen has accounted for: processor time for each second
//!             lead_ms    +   window_ms
//! ```
//!
//! So neither the start of a load nor its end is counted. Processor time divided by the rate is the time for each unit.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::guests::Guest;
use super::rows::{Load, PAGE};
use crate::xen::Dom0;

/// How long a measurement takes.
#[derive(Debug)]
struct Timing {
    /// How long a load lasts.
    load_secs: u32,
    /// How long after its start the window opens. Linux has started fio by then.
    lead_ms: u32,
    /// How long it is open.
    window_ms: u32,
}

impl Timing {
    /// For a load where time counts instructions (each second is ten of the clock's then), or by the clock, where all
    /// else that a machine does is in it too, and programs of an emulated one start slowly.
    fn of(load: &Load, wall: bool) -> Self {
        match (load, wall) {
            // There is little to see.
            (Load::Idle, _) => Self {
                load_secs: 12,
                lead_ms: 1000,
                window_ms: 10_000,
            },
            (_, false) => Self {
                load_secs: 2,
                lead_ms: 600,
                window_ms: 800,
            },
            (_, true) => Self {
                load_secs: 10,
                lead_ms: 3000,
                window_ms: 4000,
            },
        }
    }
}

/// The harness in dom0 answers within this, however slow its time goes by.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// In what the row's quantity says.
    pub(super) value: f64,
    /// The guest's processor time for each unit, ns, unless that is the value.
    pub(super) guest_ns: Option<f64>,
    /// dom0's.
    pub(super) dom0_ns: Option<f64>,
}

impl Sample {
    /// Of what has nothing to do with processor time.
    pub(super) fn only(value: f64) -> Self {
        Self {
            value,
            guest_ns: None,
            dom0_ns: None,
        }
    }
}

/// Measures a load on a guest.
///
/// # Errors
/// If the load can't be put on it, or doesn't say what it did.
pub(super) fn take(dom0: &Dom0, load: &Load, guest: &Guest, wall: bool) -> Result<Sample> {
    let timing = Timing::of(load, wall);
    run(
        dom0,
        &script(load, guest.address, &timing),
        load,
        guest,
        &timing,
    )
}

/// Measures a load on a guest while so many other connections to it are open. Afterwards all of them must be open still.
///
/// # Errors
/// As [`take`], or if the connections can't be opened, or are closed.
pub(super) fn take_with_open(
    dom0: &Dom0,
    load: &Load,
    guest: &Guest,
    count: u32,
    wall: bool,
) -> Result<Sample> {
    let timing = Timing::of(load, wall);
    let script = format!(
        "cd /run/bench && rm -f go opened && mkfifo go && ulimit -n {} || exit 1
         python3 -S open.py {address} {PAGE} {count} <go >opened 2>&1 & opener=$!
         exec 5>go
         until [ -s opened ]; do sleep 0.1; kill -0 $opener || exit 1; done
         [ \"$(cat opened)\" = open ] || {{ cat opened; exit 1; }}
         {measure}
         echo >&5; wait $opener || {{ cat opened; exit 1; }}",
        count + 1000,
        address = guest.address,
        measure = script(load, guest.address, &timing),
    );
    run(dom0, &script, load, guest, &timing)
}

fn run(dom0: &Dom0, script: &str, load: &Load, guest: &Guest, timing: &Timing) -> Result<Sample> {
    let done = dom0.try_run(script, PATIENCE)?;
    ensure!(
        done.status == 0,
        "the load failed: {}",
        done.text.trim_end()
    );
    parse(&done.text, load, guest.domain, timing)
        .with_context(|| format!("dom0 said:\n{}", done.text))
}

fn script(load: &Load, address: &str, timing: &Timing) -> String {
    let Timing {
        load_secs,
        lead_ms,
        window_ms,
    } = timing;
    let load = match load {
        Load::Disk { op, bytes, depth } => format!(
            "curl -sS --fail-with-body 'http://{address}:9000/blk?op={op}&bs={bytes}&qd={depth}&secs={load_secs}'"
        ),
        Load::Pages {
            path,
            connections,
            close,
            tls,
        } => {
            // wrk looks for the port's name in a file that the rig doesn't have, unless the port is given.
            let close = if *close { "-H 'Connection: close'" } else { "" };
            let site = if *tls {
                format!("https://{address}:443")
            } else {
                format!("http://{address}:80")
            };
            format!("wrk -t1 -c{connections} -d{load_secs}s {close} '{site}{path}'")
        }
        Load::Handshakes { clients, resume } => format!(
            "./handshakes address={address}:443 path={PAGE} content=.{PAGE} ca=ca.pem clients={clients} seconds={load_secs}{}",
            if *resume { " resume" } else { "" }
        ),
        Load::Upload { mib } => format!("python3 -S upload.py {address} {mib} {load_secs}"),
        Load::Ping { interval_ms } => {
            // busybox's, or where there is no busybox, what there is.
            let interval = f64::from(*interval_ms) / 1000.0;
            format!("$(command -v busybox) ping -i {interval} -w {load_secs} {address}")
        }
        Load::Idle => format!("sleep {load_secs}"),
    };
    format!(
        "cd /run/bench && export PYTHONPATH=$(echo /usr/lib/xen-*/lib/python)
         coproc python3 -S cputime.py {lead_ms} {window_ms} 2>&1
         exec 3<&${{COPROC[0]}} 4>&${{COPROC[1]}} && read -r problem <&3 && [ -z \"$problem\" ] ||
             {{ echo \"$problem\"; sleep 1; kill $COPROC_PID; cat <&3; dmesg | tail -n 3; exit 1; }}
         began=$EPOCHREALTIME
         {load} >answer 2>&1 & load=$!
         echo >&4; windows=$(cat <&3)
         wait $load || {{ cat answer; exit 1; }}
         echo $began $EPOCHREALTIME; echo \"$windows\"; cat answer"
    )
}

/// Reads what the script prints: when the load began and ended, processor times at both ends of the window, the load's
/// own words.
fn parse(text: &str, load: &Load, domain: u32, timing: &Timing) -> Result<Sample> {
    let mut lines = text.lines();
    let mut line = || lines.next().context("too few lines");
    let (began, ended) = line()?.split_once(' ').context("no times")?;
    let (began, ended): (f64, f64) = (began.parse()?, ended.parse()?);
    let (open, close) = (Times::parse(line()?)?, Times::parse(line()?)?);
    let answer: Vec<&str> = lines.collect();
    // What of this was before the load, and what after it, nobody knows: as much as there is of both may be either.
    let late = (ended - began - f64::from(timing.load_secs)).max(0.0);
    ensure!(
        began + late <= open.clock && close.clock <= ended - late,
        "the load took {:.0} ms to start and end: too long for a look at its middle",
        late * 1000.0
    );
    let seconds = close.clock - open.clock;
    let used = |domain| Ok::<_, anyhow::Error>((close.of(domain)? - open.of(domain)?) / seconds);
    let (guest, dom0) = (used(domain)?, used(0)?);
    let (value, rate) = match load {
        Load::Idle => {
            return Ok(Sample {
                value: guest / 1e3,
                guest_ns: None,
                dom0_ns: Some(dom0),
            });
        }
        Load::Ping { .. } => pings(&answer, f64::from(timing.load_secs))?,
        load => {
            let rate = rate(load, &answer.join("\n"))?;
            (rate, rate)
        }
    };
    Ok(Sample {
        value,
        guest_ns: Some(guest / rate),
        dom0_ns: Some(dom0 / rate),
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
    let named = |name: &str| -> Result<f64> {
        let mut lines = answer.lines();
        let line = lines.find_map(|line| line.trim().strip_prefix(name));
        Ok(line.context("no rate")?.trim().parse()?)
    };
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
            named("Requests/sec:")?
        }
        Load::Upload { .. } => named("MiB/sec:")?,
        Load::Handshakes { .. } => named("Handshakes/sec:")?,
        Load::Ping { .. } | Load::Idle => bail!("a load without a rate"),
    };
    ensure!(rate > 0.0, "nothing was done");
    Ok(rate)
}

/// The median round trip, µs, and how many there were a second, by what `ping` says.
fn pings(answer: &[&str], seconds: f64) -> Result<(f64, f64)> {
    let count = |word: &str| {
        let parts = answer.iter().flat_map(|line| line.split(", "));
        let part = parts.into_iter().find(|part| part.ends_with(word));
        let number = part.and_then(|part| part.split(' ').next()?.parse::<u32>().ok());
        number.with_context(|| format!("ping says nothing of what was {word}"))
    };
    let (sent, received) = (count("transmitted")?, count("received")?);
    // The last one may still be on its way.
    ensure!(
        received > 0 && received + 1 >= sent,
        "of {sent} pings {received} were answered"
    );
    let times = answer.iter().filter_map(|line| {
        let ms = line.split_once("time=")?.1.strip_suffix(" ms")?;
        Some(ms.parse::<f64>().ok()? * 1000.0)
    });
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).context("ping tells no times")?;
    Ok((*median, f64::from(received) / seconds))
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
        tls: false,
    };

    fn counting() -> Timing {
        Timing::of(&DISK, false)
    }

    #[test]
    fn a_sample_is_processor_time_for_each_unit() {
        let text = "100.0 102.5\n100500000000 0:100 7:1000\n101500000000 0:400000100 7:200001000\n{\"ops\":1,\"iops\":10000.0}";
        let sample = parse(text, &DISK, 7, &counting()).unwrap();
        assert_eq!(sample.value, 10_000.0);
        assert_eq!(
            (sample.guest_ns, sample.dom0_ns),
            (Some(20_000.0), Some(40_000.0))
        );
        assert!(
            parse(text, &DISK, 8, &counting())
                .unwrap_err()
                .to_string()
                .contains("domain 8")
        );
    }

    #[test]
    fn a_window_that_is_not_within_the_load_is_refused() {
        let with = |open: &str, close: &str| {
            let text = format!("100.0 102.5\n{open} 0:1 7:1\n{close} 0:2 7:2\n{{\"iops\":1.0}}");
            parse(&text, &DISK, 7, &counting())
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

    #[test]
    fn what_ping_says_is_a_median_and_a_rate() {
        let said = |received: u32| {
            format!(
                "64 bytes from 10.77.0.2: seq=0 ttl=64 time=0.900 ms\n64 bytes: time=0.075 ms\n64 bytes: time=0.074 ms\n\n\
                 --- 10.77.0.2 ping statistics ---\n4 packets transmitted, {received} packets received, 0% packet loss"
            )
        };
        let pings = |text: &str| pings(&text.lines().collect::<Vec<_>>(), 2.0);
        assert_eq!(pings(&said(3)).unwrap(), (75.0, 1.5));
        assert!(
            pings(&said(2))
                .unwrap_err()
                .to_string()
                .contains("of 4 pings 2")
        );
        assert!(pings("ping: bad address").is_err());
    }

    #[test]
    fn an_idle_guest_is_measured_by_its_processor_time() {
        let text = "100.0 112.0\n101000000000 0:0 7:5000000\n111000000000 0:10000000 7:6000000\n";
        let sample = parse(text, &Load::Idle, 7, &Timing::of(&Load::Idle, false)).unwrap();
        assert_eq!((sample.value, sample.guest_ns), (100.0, None));
        assert_eq!(sample.dom0_ns, Some(1e6));
    }
}
