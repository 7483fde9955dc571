//! Measuring an image beside a Linux guest, in the same boot of the same Xen: rounds interleaved, processor time from
//! Xen's own accounting, the content compared.
//!
//! | file | what |
//! | --- | --- |
//! | `rows` | what is measured |
//! | `linux` | the Linux guest: Debian's kernel, an initramfs with fio and nginx |
//! | `guests` | both guests, and the disk that they share |
//! | `site` | what they serve |
//! | `sample` | one measurement |
//! | `cputime.py` | the processor time of all domains, in dom0 |
//! | `report` | the table, the file, the comparison |

mod guests;
mod linux;
mod report;
mod rows;
mod sample;
pub(crate) mod site;

use anyhow::{Context, Result, ensure};

pub(crate) use self::report::Report;
pub(crate) use self::rows::{Row, rows};

use self::guests::Guests;
use self::report::{Figures, Measured};
use self::sample::Sample;
use crate::image;
use crate::interrupt;
use crate::project::Target;
use crate::rig::Options;
use crate::ui::Phase;
use crate::xen::{On, Xen};

/// The application that is measured.
const APP: &str = "bench";

/// What to measure, and how.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) rows: Vec<&'static Row>,
    pub(crate) rounds: u32,
    /// By the clock.
    pub(crate) wall: bool,
    pub(crate) on: On,
    /// Install missing packages without asking.
    pub(crate) yes: bool,
}

/// Builds both guests, boots them, measures, and removes them.
///
/// # Errors
/// If something doesn't build or boot, can't be measured, or the guests serve different bytes.
pub(crate) fn run(plan: &Plan) -> Result<Report> {
    let image = image::build(APP, Target::Xen, Some(&site::write()?))?;
    let linux = linux::prepare()?;
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
    let result =
        Guests::create(&xen, &image, &linux).and_then(|guests| measure(plan, &xen, &guests));
    let ended = match xen {
        Xen::Rig(rig) if new => rig.down(),
        xen => guests::end(&xen),
    };
    // A failure to measure tells more than one to clean up.
    result.and_then(|report| ended.map(|()| report))
}

/// All rounds of all rows.
fn measure(plan: &Plan, xen: &Xen, guests: &Guests) -> Result<Report> {
    let phase = Phase::start("comparing what the guests serve");
    guests.compare()?;
    phase.done();
    let dom0 = xen.dom0();
    let mut samples: Vec<[Vec<Sample>; 2]> = plan.rows.iter().map(|_| Default::default()).collect();
    for round in 1..=plan.rounds {
        let phase = Phase::start(format!("round {round} of {}", plan.rounds));
        for (row, samples) in plan.rows.iter().zip(&mut samples) {
            for (guest, samples) in guests.both().into_iter().zip(samples) {
                interrupt::check()?;
                phase.detail(format!("{} on {}", row.name, guest.name));
                let sample = sample::take(&dom0, row, guest);
                samples.push(sample.with_context(|| format!("{} on {}", row.name, guest.name))?);
            }
        }
        phase.done();
    }
    let phase = Phase::start("comparing once more");
    guests.compare()?;
    phase.done();
    let measured = plan.rows.iter().zip(samples).map(|(row, [ours, theirs])| {
        let (xenlet, linux) = (Figures::of(&ours), Figures::of(&theirs));
        Measured {
            name: row.name.into(),
            title: row.title.into(),
            unit: row.unit.into(),
            ratio: xenlet.ratio(&linux),
            xenlet,
            linux,
        }
    });
    Ok(Report {
        wall: plan.wall,
        rounds: plan.rounds,
        rows: measured.collect(),
    })
}
