//! What is in a black box when a guest starts: anything at all.

use xenlet_blkfront::hosted::{Config, Medium, attach};
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::hosted;
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, sleep};

/// What a box begins with.
const MAGIC: &[u8] = b"xenlet black box\n";
/// Lines of a box that are logged, and those that the kernel and the disk have to say besides.
const LINES: usize = 128 + 16;

/// Starts a guest whose black box holds `data`: behind what a box begins with, or, if the first byte is odd, as it is.
///
/// # Panics
/// If the guest does, logs what a terminal would act on or more than a box may say, or writes to a disk that is no box.
pub(crate) fn blackbox(data: &[u8]) {
    let (kind, rest) = data.split_first().unwrap_or((&0, &[]));
    let is_box = kind % 2 == 0;
    let mut page = if is_box { MAGIC.to_vec() } else { Vec::new() };
    page.extend(rest);
    page.resize(PAGE_SIZE, 0);
    let is_box = is_box || page.starts_with(MAGIC) || page.iter().all(|byte| *byte == 0);

    let medium = Medium::from_bytes(&page);
    let inside = medium.clone();
    let config = hosted::Config {
        command_line: "blackbox=xvdb".into(),
        ..hosted::Config::default()
    };
    let ended = hosted::run(config, async move || {
        let vbd = Config {
            number: 51728,
            ..Config::default()
        };
        let vbd = attach(vbd, &inside);
        spawn(xenlet_storage::black_box());
        sleep(Duration::from_secs(1)).await;
        // So that what is there for a crash is given back.
        vbd.detach();
        sleep(Duration::from_secs(1)).await;
    });

    let console = ended.console.replace("\r\n", "\n");
    assert!(console.lines().count() <= LINES, "{console}");
    assert!(
        !console.contains(|c: char| c.is_control() && c != '\n'),
        "{console:?}"
    );
    let mut after = medium.bytes();
    after.truncate(PAGE_SIZE);
    if is_box {
        let mut fresh = MAGIC.to_vec();
        fresh.resize(PAGE_SIZE, 0);
        assert!(after == fresh, "a box is wiped once it was read");
    } else {
        assert!(after == page, "what is no box is not written");
    }
}
