//! Measuring an image beside a Linux guest, in the same boot of the same Xen: rounds interleaved, processor time from
//! Xen's own accounting, the content compared.
//!
//! | file | what |
//! | --- | --- |
//! | `rows` | what is measured |
//! | `linux` | the Linux guest: Debian's kernel, an initramfs with fio and nginx |
//! | `guests` | both guests, and the disk that they share |
//! | `fresh` | guests of their own, for what is measured at their start |
//! | `still` | what needs no Xen |
//! | `site` | what they serve |
//! | `sample` | one measurement under a load |
//! | `dom0/` | what dom0 runs for it: processor times, a first page, uploads, open connections |
//! | `handshakes` | building another such program, examples/bench/examples/handshakes.rs |
//! | `report`, `chart` | the table, the file, the comparison; the picture |

mod chart;
mod fresh;
mod guests;
mod handshakes;
mod linux;
mod report;
mod rows;
mod sample;
pub(crate) mod site;
mod still;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

pub(crate) use self::report::Report;
pub(crate) use self::rows::{Row, rows};

use self::fresh::{Fresh, Kind};
use self::guests::{Files, Guest, Guests};
use self::linux::Linux;
use self::report::Measured;
use self::rows::{PAGE_16, What};
use self::sample::Sample;
use crate::image::{self, Image, Key, With};
use crate::interrupt;
use crate::project::{self, Target};
use crate::rig::Options;
use crate::ui::Phase;
use crate::xen::{On, Xen};

/// The application that is measured under loads, and the one that is measured where size and start are.
const APP: &str = "bench";
const WEB: &str = "httpd";

/// Memory of the Linux guest whose start is measured, and of ours with many connections, MiB.
const LINUX_MIB: u32 = 256;
const OPEN_MIB: u32 = 64;

/// What to measure, and how.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) rows: Vec<&'static Row>,
    /// Whether rows were asked for by name: then what takes long is measured too.
    pub(crate) named: bool,
    pub(crate) rounds: u32,
    /// By the clock.
    pub(crate) wall: bool,
    pub(crate) on: On,
    /// Install missing packages without asking.
    pub(crate) yes: bool,
}

impl Plan {
    fn any(&self, what: fn(&What) -> bool) -> bool {
        self.rows.iter().any(|row| what(&row.what))
    }
}

/// All that is built for a measurement.
struct Builds {
    bench: Option<Image>,
    tls: Option<Image>,
    httpd: Option<Image>,
    linux: Option<Linux>,
    handshakes: Option<PathBuf>,
    /// The site of httpd.
    page: PathBuf,
}

impl Builds {
    fn make(plan: &Plan) -> Result<Self> {
        let page = site::write_page()?;
        let bench = || image::build(APP, Target::Xen, With::site(&site::write()?));
        let tls = || {
            let site = site::write()?;
            let with = With {
                tls: Some(Key::Module),
                ..With::site(&site)
            };
            // Kept where the httpd without TLS does not replace it.
            let built = image::build(WEB, Target::Xen, with)?;
            built.keep(project::target_dir().join("bench").join("httpd-tls"))
        };
        let httpd = || image::build(WEB, Target::Xen, With::site(&page));
        Ok(Self {
            bench: plan.any(What::needs_pair).then(bench).transpose()?,
            tls: plan.any(What::needs_tls).then(tls).transpose()?,
            httpd: plan.any(What::needs_httpd).then(httpd).transpose()?,
            linux: plan
                .any(What::needs_linux)
                .then(linux::prepare)
                .transpose()?,
            handshakes: plan
                .any(What::needs_handshakes)
                .then(handshakes::build)
                .transpose()?,
            page,
        })
    }
}

/// Builds the guests, boots them, measures, and removes them.
///
/// # Errors
/// If something doesn't build or boot, or the guests serve different bytes. What can't be measured is in the report.
pub(crate) fn run(plan: &Plan) -> Result<Report> {
    let builds = Builds::make(plan)?;
    if !plan.any(What::needs_xen) {
        return measure(plan, &builds, None, None);
    }
    let linux = builds.linux.as_ref().context("no Linux guest")?;
    let options = Options {
        yes: plan.yes,
        counting: !plan.wall,
        ..Options::default()
    };
    let (xen, new) = Xen::get(plan.on, options)?;
    if let Xen::Rig(rig) = &xen {
        ensure!(
            rig.counts() != plan.wall,
            "the rig that is up has another kind of time: `cargo xtask rig down`, then again"
        );
    }
    let files = Files {
        bench: builds.bench.as_ref(),
        tls: builds.tls.as_ref(),
        httpd: builds.httpd.as_ref(),
        linux,
        handshakes: builds.handshakes.as_deref(),
    };
    let pair = || Guests::create(&xen, plan.any(What::needs_tls));
    let result = guests::prepare(&xen, &files)
        .and_then(|()| plan.any(What::needs_pair).then(pair).transpose())
        .and_then(|guests| compared(plan, &builds, &xen, guests.as_ref()));
    let ended = match xen {
        Xen::Rig(rig) if new => rig.down(),
        xen => guests::end(&xen),
    };
    // A failure to measure tells more than one to clean up.
    result.and_then(|report| ended.map(|()| report))
}

/// Measures between two comparisons of what the guests serve.
fn compared(plan: &Plan, builds: &Builds, xen: &Xen, guests: Option<&Guests>) -> Result<Report> {
    let compare = |when: &str| {
        let phase = Phase::start(format!("comparing what the guests serve{when}"));
        guests.map_or(Ok(()), Guests::compare)?;
        phase.done();
        Ok::<_, anyhow::Error>(())
    };
    compare("")?;
    let report = measure(plan, builds, Some(xen), guests)?;
    compare(", once more")?;
    Ok(report)
}

/// All rounds of all rows.
fn measure(
    plan: &Plan,
    builds: &Builds,
    xen: Option<&Xen>,
    guests: Option<&Guests>,
) -> Result<Report> {
    let mut report = Report::new(plan.wall, plan.rounds);
    let mut bench = Bench {
        plan,
        builds,
        xen,
        guests,
        linux_start: None,
        notes: Vec::new(),
    };
    let mut samples: Vec<[Samples; 2]> = plan.rows.iter().map(|_| Default::default()).collect();
    'rounds: for round in 1..=plan.rounds {
        let phase = Phase::start(format!("round {round} of {}", plan.rounds));
        for (row, samples) in plan.rows.iter().zip(&mut samples) {
            for (kind, samples) in [Kind::Xenlet, Kind::Linux].into_iter().zip(samples) {
                // What was measured until then is worth keeping.
                if interrupt::count() > 0 {
                    report
                        .failures
                        .push(format!("interrupted in round {round}"));
                    break 'rounds;
                }
                if samples.failure.is_some() || round > 1 && row.what.is_constant() {
                    continue;
                }
                phase.detail(format!("{} on {}", row.name, kind.name()));
                match bench.sample(&row.what, kind) {
                    Ok(sample) => samples.taken.extend(sample),
                    Err(error) => samples.failure = Some(format!("{error:#}")),
                }
            }
        }
        phase.done();
    }
    for (row, samples) in plan.rows.iter().zip(samples) {
        for (kind, samples) in [Kind::Xenlet, Kind::Linux].into_iter().zip(&samples) {
            if let Some(failure) = &samples.failure {
                report.failed(row.name, kind.name(), failure);
            }
        }
        let [ours, theirs] = samples.map(|samples| samples.taken);
        report.rows.push(Measured::of(row, &ours, &theirs));
    }
    report.notes = bench.notes;
    Ok(report)
}

/// What came of a row on a guest.
#[derive(Debug, Default)]
struct Samples {
    taken: Vec<Sample>,
    /// Why there are no more.
    failure: Option<String>,
}

/// All there is to measure with.
struct Bench<'b> {
    plan: &'b Plan,
    builds: &'b Builds,
    xen: Option<&'b Xen>,
    guests: Option<&'b Guests>,
    /// Its start takes half a minute: once is enough.
    linux_start: Option<Sample>,
    /// How figures came about, for people.
    notes: Vec<String>,
}

impl Bench<'_> {
    /// Measures once; none where there is nothing to measure.
    fn sample(&mut self, what: &What, kind: Kind) -> Result<Option<Sample>> {
        let sample = match (what, kind) {
            (What::Load(load), _) => {
                let guest = match (kind, what.needs_tls()) {
                    (Kind::Xenlet, true) => self.sealed()?,
                    _ => self.guest(kind)?,
                };
                sample::take(&self.xen()?.dom0(), load, guest, self.plan.wall)
            }
            (What::Boot(memory), Kind::Xenlet) => fresh::boot(self.xen()?, kind, *memory),
            (What::Boot(_), Kind::Linux) => self.linux_start(),
            (What::Unpause, Kind::Xenlet) => fresh::unpause(&self.xen()?.dom0(), self.guest(kind)?),
            (What::Open(count), Kind::Xenlet) => {
                let fresh = Fresh::create(self.xen()?, kind, OPEN_MIB)?;
                let sample = self.open(*count, &fresh.guest);
                fresh.destroy()?;
                sample
            }
            (What::Open(count), Kind::Linux) => self.open(*count, self.guest(kind)?),
            // A guest of Linux takes its time to find out that it can't.
            (What::Memory, Kind::Linux) if !self.plan.named => return Ok(None),
            (What::Memory, _) => fresh::memory(self.xen()?, kind),
            (What::Image, _) => self.image(kind),
            (What::Lookup, Kind::Xenlet) => still::lookup(),
            // Nothing of this is Linux's.
            (What::Unpause | What::Lookup, Kind::Linux) => return Ok(None),
        };
        sample.map(Some)
    }

    fn xen(&self) -> Result<&Xen> {
        self.xen.context("there is no Xen")
    }

    /// One of the pair.
    fn guest(&self, kind: Kind) -> Result<&Guest> {
        let guests = self.guests.context("there are no guests")?;
        Ok(match kind {
            Kind::Xenlet => &guests.xenlet,
            Kind::Linux => &guests.linux,
        })
    }

    /// Ours with TLS.
    fn sealed(&self) -> Result<&Guest> {
        let guests = self.guests.context("there are no guests")?;
        guests.tls.as_ref().context("there is no guest with TLS")
    }

    fn linux_start(&mut self) -> Result<Sample> {
        let start = match self.linux_start {
            Some(start) => start,
            None => fresh::boot(self.xen()?, Kind::Linux, LINUX_MIB)?,
        };
        self.linux_start = Some(start);
        Ok(start)
    }

    /// What a page costs while connections are open, as a multiple of what it costs without.
    fn open(&self, count: u32, guest: &Guest) -> Result<Sample> {
        let dom0 = self.xen()?.dom0();
        let without = sample::take(&dom0, &PAGE_16, guest, self.plan.wall)?;
        let with = sample::take_with_open(&dom0, &PAGE_16, guest, count, self.plan.wall)?;
        let ns = |sample: &Sample| sample.guest_ns.context("no processor time");
        Ok(Sample {
            value: ns(&with)? / ns(&without)?,
            ..with
        })
    }

    fn image(&mut self, kind: Kind) -> Result<Sample> {
        let size = match kind {
            Kind::Xenlet => {
                let image = self.builds.httpd.as_ref().context("no image")?;
                still::xenlet(image, &self.builds.page)?
            }
            Kind::Linux => still::linux(self.builds.linux.as_ref().context("no Linux guest")?)?,
        };
        self.notes.push(size.note.clone());
        Ok(size.sample())
    }
}
