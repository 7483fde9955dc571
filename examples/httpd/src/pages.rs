//! What httpd answers.

use crate::site::Site;
use crate::status;
use alloc::boxed::Box;
use embedded_io_async::{Read, Write};
use xenlet_http::{Error, Exchange, Handler, KernelClock, Method, PLAIN_TEXT, Server, Status};

/// The pages of a site, and `/status`.
pub struct Pages<T>(pub T);

impl<T: Site + 'static> Handler for Pages<T> {
    #[allow(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice"
    )]
    fn answer<S: Read + Write>(
        &self,
        exchange: Exchange<'_, '_, S, KernelClock>,
        server: &Server<KernelClock>,
    ) -> impl Future<Output = Result<(), Error<S::Error>>> {
        async move {
            if !matches!(exchange.request().method(), Method::Get | Method::Head) {
                let fields = [("Allow", "GET, HEAD"), PLAIN_TEXT];
                let why = b"Pages here can only be read.\n";
                return Box::pin(exchange.respond(Status::METHOD_NOT_ALLOWED, &fields, why)).await;
            }
            let path = exchange.request().path();
            match path {
                // In boxes, so that a connection that waits need not have room for them.
                "/status" => Box::pin(status::page(exchange, server, self.0.facts())).await,
                "/status.json" => Box::pin(status::json(exchange, server, self.0.facts())).await,
                _ => self.0.answer(exchange).await,
            }
        }
    }
}

#[cfg(test)]
mod tests;
