//! Keys typed in `xl console`.
//!
//! Who types there is a peer that may send anything, as fast as it can: one answer is written at a time, at the pace of whoever reads,
//! and then nothing is heard for a second.

use crate::metrics;
use xenlet_kernel::console;
use xenlet_kernel::metrics::Form;
use xenlet_kernel::time::{Duration, sleep};

/// How long what is typed after an answer is not heard.
const PAUSE: Duration = Duration::from_secs(1);

const HELP: &str = "keys: m metrics, ? this list";

/// Answers keys for as long as the guest lives.
pub(crate) async fn serve() {
    loop {
        match console::key().await {
            b'm' => print_metrics().await,
            b'?' | b'\r' | b'\n' => console::print(HELP).await,
            _ => continue,
        }
        sleep(PAUSE).await;
    }
}

async fn print_metrics() {
    match metrics::text(Form::Console) {
        Some(text) => {
            console::print("metrics; what is zero is left out").await;
            console::print(&text).await;
        }
        None => console::print("no memory for the metrics").await,
    }
}
