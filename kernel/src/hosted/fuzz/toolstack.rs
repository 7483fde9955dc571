//! A toolstack that writes anything under the keys that every guest follows, and saves and restores it at any moment.

use crate::hosted::hostile::Script;
use crate::hosted::{self, Config, checkpoint, restore, set_free_memory, set_scarce, store};
use crate::run::spawn;
use crate::time::{Duration, sleep};
use crate::{balloon, memory, shutdown, suspend};

/// What is written to `control/shutdown`.
const REQUESTS: [&str; 8] = [
    "",
    "suspend",
    "suspend",
    "crash",
    "s3",
    "poweroff\n",
    "POWEROFF",
    "\u{1b}[2J",
];
/// What is written to `memory/target`, in KiB.
const TARGETS: [&str; 10] = [
    "",
    "0",
    "-1",
    "x",
    "1",
    "4096",
    "8192",
    "16384",
    "18014398509481984",
    "99999999999999999999",
];

/// What the guest begins with.
const MEMORY: usize = 8 << 20;

/// Runs a guest that does what its toolstack wants, which is what `data` says; of that, the first 16 bytes are more of the
/// command line.
///
/// # Panics
/// If the guest does, has more memory than it began with, or does not get back what it gave.
pub fn toolstack(data: &[u8]) {
    let (line, steps) = data.split_at(data.len().min(16));
    let config = Config {
        command_line: format!("shutdown_secs={}", String::from_utf8_lossy(line)),
        ..Config::default()
    };
    let steps = steps.to_vec();
    let ended = hosted::run(config, async move || follow(Script::new(steps)).await);
    let said = ended.console.lines().count();
    // Eight lines at once of each kind, and one a second.
    assert!(said < 1000, "{said} lines:\n{}", ended.console);
}

async fn follow(mut script: Script) {
    set_free_memory(Some(MEMORY));
    balloon::start();
    let told = spawn(shutdown::requested());
    while !script.is_done() {
        match script.byte() % 8 {
            0 => sleep(Duration::from_millis(1)).await,
            1 => sleep(Duration::from_secs(6)).await,
            2 => set("control/shutdown", script.one_of(&REQUESTS).as_bytes()),
            3 => set("memory/target", script.one_of(&TARGETS).as_bytes()),
            4 => {
                let key = script.one_of(&["control/shutdown", "memory/target", "control/sysrq"]);
                let text: Vec<u8> = (0..script.byte() % 24).map(|_| script.byte()).collect();
                match text.len() {
                    23 => store::remove(&format!("{}/{key}", store::HOME)),
                    _ => set(key, &text),
                }
            }
            5 => set_scarce(script.byte() & 1 == 1),
            6 => checkpoint(),
            _ => {
                let target = script.word();
                restore(move || set("memory/target", target.to_string().as_bytes()));
            }
        }
        let total = memory::stats().map_or(0, |stats| stats.total);
        assert!(total <= MEMORY, "{total} bytes");
    }
    set_scarce(false);
    sleep(Duration::from_secs(60)).await;
    set("memory/target", (MEMORY / 1024).to_string().as_bytes());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(memory::stats().map(|stats| stats.total), Some(MEMORY));
    assert!(suspend::count() < 1000);
    drop(told);
    // In the end it can still be told to go.
    set("control/shutdown", b"poweroff");
    shutdown::requested().await;
}

fn set(key: &str, value: &[u8]) {
    store::write_bytes(&format!("{}/{key}", store::HOME), value);
}
