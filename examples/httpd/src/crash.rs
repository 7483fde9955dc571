//! Crashing on purpose, so that a test sees the report of a real crash.

use xenlet_kernel::{time, trap};

/// Crashes a second from now, in the way that the command line names.
pub(crate) async fn soon(how: &'static str) {
    time::sleep(time::Duration::from_secs(1)).await;
    match how {
        "null" => null(),
        "panic" => panic(),
        _ => {
            log::warn!(target: "httpd", "crash={how}: the ways to crash are crash=null and crash=panic")
        }
    }
}

/// A function of its own, for the report's backtrace to name.
#[inline(never)]
fn null() {
    let byte = trap::read_null();
    log::error!(target: "httpd", "address zero was read: {byte}");
}

#[inline(never)]
fn panic() {
    panic!("asked for by crash=panic");
}
