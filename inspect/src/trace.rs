//! `/trace`: what each task does and waits for, recorded for some seconds, as a file that Perfetto opens.

use crate::query;
use alloc::format;
use alloc::string::String;
use core::fmt::Write as _;
use embedded_io_async::{Read, Write};
use xenlet_http::{Error, Exchange, KernelClock, Method, PLAIN_TEXT, Status};
use xenlet_kernel::time::{Duration, timeout};
use xenlet_kernel::{shutdown, trace};

/// Seconds that are recorded at most, and if nothing is said.
const MOST: u64 = 60;
const USUAL: u64 = 1;

/// Bytes of the file that are made before they are sent.
const PIECE: usize = 4096;

/// Reads how long to record.
fn seconds(query: Option<&str>) -> Result<u64, String> {
    let mut seconds = USUAL;
    query::read(query, |name, value| {
        if name != "seconds" {
            return Err(format!("{name}={value}: there is seconds={USUAL}."));
        }
        seconds = query::number(name, value)?;
        match seconds {
            1..=MOST => Ok(()),
            _ => Err(format!("seconds={seconds}: it is 1 to {MOST}.")),
        }
    })?;
    Ok(seconds)
}

/// Records, and then answers with the file.
pub(crate) async fn answer<S: Read + Write>(
    exchange: Exchange<'_, '_, S, KernelClock>,
) -> Result<(), Error<S::Error>> {
    let seconds = match seconds(exchange.request().query()) {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(why) => return exchange.refuse(Status::BAD_REQUEST, &why).await,
    };
    let fields = [
        ("Content-Type", "application/json"),
        ("Content-Disposition", "attachment; filename=\"trace.json\""),
        ("Cache-Control", "no-store"),
    ];
    if exchange.request().method() == Method::Head {
        return exchange
            .start(Status::OK, &fields, None)
            .await?
            .finish()
            .await;
    }
    let mut piece = String::new();
    let recording = match piece.try_reserve_exact(2 * PIECE) {
        Ok(()) => trace::start(),
        Err(_) => Err(trace::StartError::OutOfMemory),
    };
    let recording = match recording {
        Ok(recording) => recording,
        Err(why) => {
            let fields = [PLAIN_TEXT, ("Retry-After", "10")];
            let why = format!("{why}.\n");
            let status = Status::SERVICE_UNAVAILABLE;
            return exchange.respond(status, &fields, why.as_bytes()).await;
        }
    };
    // A guest that is asked to end does not wait for this.
    let _ = timeout(seconds, shutdown::requested()).await;
    let trace = recording.stop();
    let mut sender = exchange.start(Status::OK, &fields, None).await?;
    for event in trace.json() {
        // Writing to a string can't fail.
        let _ = write!(piece, "{event}");
        if piece.len() >= PIECE {
            sender.write(piece.as_bytes()).await?;
            piece.clear();
        }
    }
    sender.write(piece.as_bytes()).await?;
    sender.finish().await
}
