//! Crashing on purpose, so that a test sees the report of a real crash.

use xenlet_kernel::{time, trap};

/// Crashes a second from now, in the way that the command line names.
pub(crate) async fn soon(how: &'static str) {
    time::sleep(time::Duration::from_secs(1)).await;
    provoke(how);
}

/// A function of its own, for the report's backtrace to name.
#[inline(never)]
fn provoke(how: &str) {
    trap::provoke(how);
    // What comes after the call keeps it a call: the backtrace would not name a function that jumped out of itself.
    log::debug!(target: "httpd", "crash={how} did not");
}
