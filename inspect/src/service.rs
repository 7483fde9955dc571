//! What the service answers.

use crate::metrics;
use embedded_io_async::{Read, Write};
use xenlet_http::{Error, Exchange, Handler, KernelClock, Method, PLAIN_TEXT, Server, Status};

/// What `GET /` says.
const INDEX: &str = "\
/             this list
/metrics      numbers, for Prometheus
";

/// Answers requests.
pub(crate) struct Inspect;

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
            "/metrics" => metrics::answer(exchange).await,
            _ => {
                exchange
                    .refuse(Status::NOT_FOUND, "GET / lists what there is.")
                    .await
            }
        }
    }
}
