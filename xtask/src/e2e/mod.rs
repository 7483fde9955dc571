//! End-to-end tests: httpd and the queue as guests of a real Xen, looked at from outside.

mod boot;
mod browser;
mod content;
mod context;
mod crash;
mod destroyed;
mod devtools;
mod disk;
mod flood;
mod http;
mod https;
mod inspect;
mod lifecycle;
mod load;
mod queue;
mod serve;
mod suspend;
mod trace;
mod uploads;

use std::time::Instant;

use anyhow::{Result, bail};

use self::context::{Context, Others};
use crate::image::With;
use crate::project::Target;
use crate::rig::Options;
use crate::ui::{Phase, Seconds};
use crate::xen::{On, Xen};
use crate::{image, interrupt};

/// A test's name and what it does.
type Test = (&'static str, fn(&mut Context<'_>) -> Result<()>);

const TESTS: &[Test] = &[
    ("boot-and-console", boot::console),
    ("image-size", boot::image_size),
    ("idle-guest-uses-no-processor", boot::idle),
    ("dhcp-address", boot::dhcp),
    ("static-address", boot::fixed),
    ("every-file-byte-for-byte", serve::every_file),
    ("conditional-requests", serve::conditional),
    ("range-requests", serve::ranges),
    ("compressed-variants", serve::variants),
    ("unknown-path-is-404", serve::not_found),
    ("dribbled-request", serve::dribble),
    ("two-hundred-connections", serve::many_connections),
    ("browser-home-page", browser::home_page),
    ("browser-status-page", browser::status_page),
    ("two-guests", lifecycle::two_guests),
    ("xl-shutdown", lifecycle::shutdown),
    ("xl-reboot", lifecycle::reboot),
    ("save-restore", suspend::save_restore),
    ("checkpoint", suspend::checkpoint),
    ("pause-unpause", suspend::pause),
    ("no-vif", boot::no_vif),
    ("memory-3", boot::little_memory),
    ("boot-time-is-free-of-memory", boot::boot_time),
    ("crash-null", crash::null),
    ("crash-panic", crash::panic),
    ("crash-writing-code", crash::code),
    ("crash-executing-data", crash::data),
    ("watchdog", crash::watchdog),
    ("disk-site-as-embedded", disk::as_embedded),
    ("disk-two-disks", disk::two_disks),
    ("disk-mounted-by-linux", disk::mounted_by_linux),
    ("syn-flood", flood::syns),
    ("other-floods", flood::others),
    ("https-pages", https::pages),
    ("https-other-clients", https::other_clients),
    ("https-both-versions", https::both_versions),
    ("https-bad-keys", https::bad_keys),
    ("https-browser", https::browser),
    ("https-bad-handshakes", https::handshakes::bad),
    ("https-new-keys-under-load", https::handshakes::new_keys),
    ("https-500-handshakes-in-32", https::handshakes::at_once),
    ("https-crowd-in-32", https::handshakes::crowd),
    ("https-memory-8", https::little_memory),
    ("https-dump-core", https::secrets::dump_core),
    ("queue-other-disks-are-refused", queue::refused),
    ("queue-round-trip", queue::round_trip),
    ("queue-4096-byte-sectors", queue::large_sectors),
    ("queue-read-only-disk", queue::read_only),
    ("queue-full-disk", queue::full),
    ("queue-512-mib-in-32", queue::much_larger_than_memory),
    ("queue-by-certificates", https::roles::certificates),
    ("queue-save-restore", suspend::queue),
    ("queue-devices-come-and-go", suspend::devices),
    ("queue-backend-rebind", suspend::backends),
    ("queue-crash-restart", crash::restart),
    ("queue-memory-set", suspend::memory),
    ("inspect-metrics", inspect::metrics),
    ("inspect-console-key", inspect::console_key),
    ("inspect-capture", inspect::capture),
    ("inspect-trace", trace::recorded),
    ("queue-destroyed-twenty-times", destroyed::twenty_times),
];

/// Those that a soak is made of.
const SOAK: &[&str] = &[
    "save-restore",
    "checkpoint",
    "queue-save-restore",
    "queue-devices-come-and-go",
    "queue-backend-rebind",
];

/// The application of most tests.
const APP: &str = "httpd";
/// The application with a disk.
const QUEUE: &str = "queue";

/// How many tests ended how.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
}

/// The tests' names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TESTS.iter().map(|(name, _)| *name)
}

/// Builds the image, finds or boots a Xen, and runs the tests whose names contain one of the words of `filter`; with `soak` those of
/// a soak, at length.
///
/// # Errors
/// If no test can be run at all.
pub(crate) fn run(on: On, options: Options, filter: &[String], soak: bool) -> Result<Outcome> {
    let chosen =
        |name: &str| filter.is_empty() || filter.iter().any(|word| name.contains(word.as_str()));
    let tests: Vec<&Test> = TESTS
        .iter()
        .filter(|(name, _)| chosen(name) && (!soak || SOAK.contains(name)))
        .collect();
    if tests.is_empty() {
        bail!(
            "no test on Xen has `{}` in its name; {}",
            filter.join("` or `"),
            if soak {
                "--help names those of the soak"
            } else {
                "--list lists them"
            }
        );
    }
    let phase = Phase::start("building httpd and the queue for Xen");
    let others = Others {
        disk: disk::build()?,
        tls: https::build()?,
        queue_tls: https::roles::build()?,
        queue_inspect: inspect::build()?,
        queue: image::build(QUEUE, Target::Xen, With::default())?,
    };
    let image = image::build(APP, Target::Xen, With::default())?;
    phase.done();
    interrupt::watch()?;
    let (xen, new) = Xen::get(on, options)?;
    let mut context = Context::new(&xen, image, others, soak);
    let mut outcome = Outcome::default();
    for (name, test) in tests {
        if interrupt::count() > 0 {
            break;
        }
        let started = Instant::now();
        let phase = Phase::start(format!("test {name}"));
        let result = test(&mut context);
        drop(phase);
        let took = Seconds(started.elapsed());
        match &result {
            Ok(()) => {
                println!("test {name} ... ok ({took})");
                outcome.passed += 1;
            }
            Err(error) => {
                println!("test {name} ... FAILED ({took})");
                eprintln!("{error:#}\n{}", context.consoles());
                outcome.failed += 1;
            }
        }
        context.clean(result.is_err());
    }
    let log = if outcome.failed > 0 {
        xen.log()
    } else {
        String::new()
    };
    context.end();
    if new && let Xen::Rig(rig) = xen {
        rig.down()?;
    }
    if outcome.failed > 0 {
        eprintln!("--- the end of Xen's log\n{log}");
    }
    interrupt::check()?;
    Ok(outcome)
}
