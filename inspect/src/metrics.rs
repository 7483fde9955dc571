//! `/metrics`, and the same numbers on the console when `m` is typed there.

use alloc::string::String;
use core::fmt;
use embedded_io_async::{Read, Write};
use xenlet_http::{Error, Exchange, KernelClock, Status};
use xenlet_kernel::memory;
use xenlet_kernel::metrics::{self, Form};

/// Prometheus's text format.
const FORMAT: (&str, &str) = ("Content-Type", "text/plain; version=0.0.4; charset=utf-8");

/// Memory that has to be free: for what is made while numbers are written, besides the text.
const RESERVE: usize = 64 * 1024;

/// Answers with every number.
pub(crate) async fn answer<S: Read + Write>(
    exchange: Exchange<'_, '_, S, KernelClock>,
) -> Result<(), Error<S::Error>> {
    match text(Form::Prometheus) {
        Some(text) => {
            exchange
                .respond(Status::OK, &[FORMAT], text.as_bytes())
                .await
        }
        None => {
            let why = "There is no memory for the text.";
            exchange.refuse(Status::SERVICE_UNAVAILABLE, why).await
        }
    }
}

/// Every number; `None` when there is no memory for the text.
pub(crate) fn text(form: Form) -> Option<String> {
    if !memory::has_room(RESERVE) {
        return None;
    }
    let mut text = Text(String::new());
    metrics::write(&mut text, form).ok()?;
    Some(text.0)
}

/// Grows as long as there is memory.
struct Text(String);

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.try_reserve(text.len()).map_err(|_| fmt::Error)?;
        self.0.push_str(text);
        Ok(())
    }
}
