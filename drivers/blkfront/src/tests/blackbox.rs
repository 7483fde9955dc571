//! What a crash says is on the disk, and the next start logs it.

use super::*;
use xenlet_kernel::crash;
use xenlet_kernel::run::spawn;

const XVDB: u32 = 51728;

fn xvdb() -> Config {
    Config {
        number: XVDB,
        ..Config::default()
    }
}

/// A domain with a black box on `medium`; after `body` it is as if it had crashed, saying `report`. Returns its console.
fn start(config: Config, medium: &Medium, report: &'static [&'static str]) -> String {
    start_and(config, medium, report, async |_| ())
}

fn start_and(
    config: Config,
    medium: &Medium,
    report: &'static [&'static str],
    body: impl AsyncFnOnce(Vbd) + Send + 'static,
) -> String {
    let medium = medium.clone();
    let domain = hosted::Config {
        command_line: "blackbox=xvdb".into(),
        ..hosted::Config::default()
    };
    let ended = hosted::run(domain, async move || {
        let vbd = attach(config, &medium);
        spawn(crate::black_box());
        sleep(Duration::from_secs(1)).await;
        body(vbd).await;
        for line in report {
            crash::record(Some(format_args!("{line}")));
        }
        if !report.is_empty() {
            crash::record(None);
        }
    });
    assert!(ended.value.is_some(), "{}", ended.console);
    ended.console
}

const REPORT: &[&str] = &[
    "*** xenlet crash: panicked at src/main.rs:3:4: no",
    "*** at rip 0x0000000000412345, build 5f2e0a",
    "***   #0 0x0000000000412345",
    "*** end of report; ending the domain as crashed",
];

#[test]
fn a_report_is_logged_once_by_the_next_start() {
    for (persistent, flush, barrier) in [
        (true, true, true),
        (false, false, true),
        (false, false, false),
    ] {
        let config = Config {
            persistent,
            flush,
            barrier,
            ..xvdb()
        };
        let medium = Medium::new(4096);
        assert!(!start(config.clone(), &medium, REPORT).contains("***"));
        // As after a power cut, where it could be made to last.
        if flush || barrier {
            medium.cut(1);
        }
        let console = start(config.clone(), &medium, &[]);
        assert!(
            console.contains(
                "ERROR blackbox: *** the start before crashed: panicked at src/main.rs:3:4: no\r\n"
            ),
            "{console}"
        );
        assert!(
            !console.contains("*** xenlet crash"),
            "it is not of this start"
        );
        for line in &REPORT[1..] {
            assert!(console.contains(line), "{line}: {console}");
        }
        assert!(
            !start(config, &medium, &[]).contains("***"),
            "logged before"
        );
    }
}

/// What does not fit is left out, and what was there before is not mixed with it.
#[test]
fn a_long_report() {
    let medium = Medium::new(MIB);
    start(
        xvdb(),
        &medium,
        &["a line that is followed by a great many"; 1000],
    );
    let console = start(xvdb(), &medium, REPORT);
    assert_eq!(
        console.matches("a line that is followed").count(),
        (4096 - 17) / 40 + 1
    );
    let console = start(xvdb(), &medium, &[]);
    assert!(
        !console.contains("a line") && console.contains("#0 0x0000000000412345"),
        "{console}"
    );
}

/// The next backend serves as well.
#[test]
fn a_backend_that_comes_and_goes() {
    let medium = Medium::new(MIB);
    let again = medium.clone();
    start_and(xvdb(), &medium, REPORT, async move |vbd| {
        vbd.detach();
        sleep(Duration::from_secs(10)).await;
        attach(xvdb(), &again);
        sleep(Duration::from_secs(20)).await;
    });
    assert!(start(xvdb(), &medium, &[]).contains("#0 0x0000000000412345"));
}

/// Without a backend nobody waits for long, and nothing else goes wrong.
#[test]
fn a_backend_that_is_gone() {
    let medium = Medium::new(MIB);
    start_and(xvdb(), &medium, REPORT, async move |vbd| vbd.vanish());
    let other = Medium::new(MIB);
    start_and(xvdb(), &other, REPORT, async move |vbd| {
        vbd.detach();
        sleep(Duration::from_secs(1)).await;
    });
}

/// A disk that is of something else is left as it is.
#[test]
fn another_disk_is_not_written() {
    let content = junk(1, MIB as usize);
    let medium = Medium::from_bytes(&content);
    let console = start(xvdb(), &medium, REPORT);
    assert!(
        console.contains("blackbox=xvdb: it holds something else"),
        "{console}"
    );
    assert!(medium.bytes() == content);
}

/// Whatever is in a box, it is logged as text.
#[test]
fn a_box_that_somebody_wrote() {
    for seed in 0..50 {
        let mut content = junk(seed, 4096);
        content[..17].copy_from_slice(b"xenlet black box\n");
        let medium = Medium::from_bytes(&content);
        let console = start(xvdb(), &medium, REPORT);
        assert!(!console.contains('\x1b'));
        assert!(start(xvdb(), &medium, &[]).contains("#0 0x0000000000412345"));
    }
}
