//! A command line of any words, with the web server that reads most of them.

use xenlet_kernel::hosted::{self, Config};
use xenlet_kernel::run::spawn;
use xenlet_kernel::shutdown::{self, Reason};
use xenlet_kernel::time::{Duration, sleep};
use xenlet_net::hosted::Peer;

/// Xen's limit.
const LONGEST: usize = 1024;

/// Runs a web server with the command line that `data` is.
///
/// # Panics
/// If the guest does, or does not end when it is told to.
pub(crate) fn words(data: &[u8]) {
    let line = String::from_utf8_lossy(&data[..data.len().min(LONGEST)]).into_owned();
    // This one is there to make it crash.
    if line.contains("crash") {
        return;
    }
    let config = Config {
        command_line: line,
        wall: Some(Duration::from_secs(1_792_000_000)),
        boot_module: Some(Vec::new()),
        ..Config::default()
    };
    hosted::run(config, async || {
        Peer::attach_default();
        spawn(xenlet_storage::black_box());
        spawn(async {
            sleep(Duration::from_secs(30)).await;
            shutdown::request(Reason::Poweroff);
        });
        if let Err(error) = xenlet_httpd::run().await {
            assert!(!error.to_string().is_empty());
        }
    });
}
