//! What the service answers.

use crate::capture::Captures;
use crate::{metrics, trace};
use alloc::boxed::Box;
use embedded_io_async::{Read, Write};
use xenlet_http::{Error, Exchange, Handler, KernelClock, Method, PLAIN_TEXT, Server, Status};

/// What `GET /` says.
const INDEX: &str = "\
/             this list
/metrics      numbers, for Prometheus
/capture      the frames of a vif as pcapng, headers only: ?vif=0&seconds=10&packets=100&payload=yes
/trace        what each task does and waits for, for ui.perfetto.dev; ?seconds=1
";

/// Answers requests.
pub(crate) struct Inspect {
    captures: Captures,
}

impl Inspect {
    /// What there is on `port`.
    pub(crate) fn new(port: u16) -> Self {
        Self {
            captures: Captures::new(port),
        }
    }
}

impl Handler for Inspect {
    async fn answer<S: Read + Write>(
        &self,
        exchange: Exchange<'_, '_, S, KernelClock>,
        _: &Server<KernelClock>,
    ) -> Result<(), Error<S::Error>> {
        if !matches!(exchange.request().method(), Method::Get | Method::Head) {
            let fields = [("Allow", "GET, HEAD"), PLAIN_TEXT];
            let why = b"What is here can only be read.\n";
            return exchange
                .respond(Status::METHOD_NOT_ALLOWED, &fields, why)
                .await;
        }
        match exchange.request().path() {
            "/" => {
                exchange
                    .respond(Status::OK, &[PLAIN_TEXT], INDEX.as_bytes())
                    .await
            }
            // In boxes, so that a connection that waits need not have room for them.
            "/metrics" => Box::pin(metrics::answer(exchange)).await,
            // The host's own sockets have no frames.
            "/capture" if !cfg!(xenlet = "unix") => Box::pin(self.captures.answer(exchange)).await,
            "/trace" => Box::pin(trace::answer(exchange)).await,
            _ => {
                exchange
                    .refuse(Status::NOT_FOUND, "GET / lists what there is.")
                    .await
            }
        }
    }
}
