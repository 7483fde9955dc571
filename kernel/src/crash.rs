//! What a crash says of itself, to others than the console.

use crate::xenstore;
use core::cell::Cell;
use core::fmt;

/// Takes each line of a report as it is made, then `None`: the domain is about to end. It runs in a crashed domain: it may rely on nothing but
/// what it has set aside, may not allocate, and may not take long.
pub type Recorder = fn(Option<fmt::Arguments<'_>>);

local! {
    static RECORDER: Cell<Option<Recorder>> = Cell::new(None);
}

/// Has `recorder` hear of a crash, instead of the one before.
pub fn record_with(recorder: Recorder) {
    RECORDER.with(|r| r.set(Some(recorder)));
}

/// Tells it a line of a report, or the end. The kernel does where it reports a crash; on the host's targets a test can.
pub fn record(line: Option<fmt::Arguments<'_>>) {
    if let Some(recorder) = RECORDER.with(Cell::get) {
        recorder(line);
    }
}

/// Gives other domains the processor for a moment, while a recorder waits for one of them.
pub fn pause() {
    crate::platform::pause();
}

/// Panics when the toolstack asks for it, by `xl sysrq DOMAIN c`, which is how it crashes a Linux guest. For who tries what a crash of a
/// running guest comes to. Ends only when xenstore does.
pub async fn on_request() {
    // Again from the start in each new place in xenstore.
    while let Err(xenstore::Error::Restored) = wait_for_request().await {}
}

async fn wait_for_request() -> Result<core::convert::Infallible, xenstore::Error> {
    const KEY: &str = "control/sysrq";
    let mut watch = xenstore::watch(KEY).await?;
    loop {
        watch.changed().await?;
        let asked = xenstore::read(KEY).await.is_ok_and(|text| text == "c");
        assert!(!asked, "asked for by the toolstack");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hosted::{self, store};
    use crate::run::spawn;
    use crate::time::{Duration, sleep};

    fn ask(letter: &str) {
        store::write(&format!("{}/control/sysrq", store::HOME), letter);
    }

    #[test]
    #[should_panic(expected = "asked for by the toolstack")]
    fn a_guest_crashes_when_it_is_asked_to() {
        hosted::test(async || {
            spawn(on_request());
            for letter in ["", "h", "cc", "C"] {
                ask(letter);
                sleep(Duration::from_secs(1)).await;
            }
            hosted::restore(|| ());
            crate::suspend::about_to().await.resumed().await;
            sleep(Duration::from_secs(1)).await;
            assert!(
                hosted::console_text().contains("suspend: Restored"),
                "it goes on until then"
            );
            ask("c");
            sleep(Duration::from_secs(1)).await;
        });
    }
}
