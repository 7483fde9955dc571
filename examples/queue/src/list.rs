//! `GET /uploads`: what is there, oldest first.

use crate::queue::{NOT_KEPT, Open};
use alloc::string::String;
use embedded_io_async::{Read, Write};
use serde::Serialize;
use xenlet_http::{Clock, Error, Exchange, Method, Status};
use xenlet_storage::BlockDevice;

/// What is said of an upload.
#[derive(Serialize)]
pub(crate) struct Line<'l> {
    pub(crate) name: &'l str,
    pub(crate) bytes: u64,
    pub(crate) sha256: &'l str,
}

impl Line<'_> {
    /// Strings and numbers under fixed names: there is nothing that JSON can't say.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Sends the list, an upload a line, page by page: it may be longer than memory. What comes or goes meanwhile may be in
/// it or not; all else is.
pub(crate) async fn send<D: BlockDevice + 'static, S: Read + Write, C: Clock>(
    open: &Open<D>,
    exchange: Exchange<'_, '_, S, C>,
) -> Result<(), Error<S::Error>> {
    let mut page = match open.uploads.page(None).await {
        Ok(page) => page,
        Err(problem) => return open.refusal("the list", problem).send(exchange).await,
    };
    let is_get = exchange.request().method() == Method::Get;
    let fields = [("Content-Type", "application/json"), NOT_KEPT];
    let mut sender = exchange.start(Status::OK, &fields, None).await?;
    let mut text = String::from("[");
    while is_get && !page.is_empty() {
        for listed in &page {
            let sha256 = listed.record.sha256_hex();
            let line = Line {
                name: &listed.record.name,
                bytes: listed.bytes,
                sha256: &sha256,
            };
            text += if text == "[" { "\n" } else { ",\n" };
            text += &line.to_json();
        }
        sender.write(text.as_bytes()).await?;
        text.clear();
        page = match open.uploads.page(page.last()).await {
            Ok(page) => page,
            Err(problem) => {
                // Cut off, so that nobody takes it for the whole list.
                open.report("the list", problem);
                return Ok(());
            }
        };
    }
    sender.write((text + "\n]\n").as_bytes()).await?;
    sender.finish().await
}
