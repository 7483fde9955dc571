//! Answers from a site: what does not depend on where it lies. That is the conditions and ranges of RFC 9110 §13 and §14.

#[cfg(feature = "disk")]
pub(crate) mod disk;
mod tree;

use alloc::boxed::Box;
use alloc::format;
use core::future::Future;
use core::ops::Range;
use embedded_io_async::{Read, Write};
use serde::Serialize;
use xenlet_fs_static::Accept;
use xenlet_http::{ByteRange, Clock, Error, Exchange, PLAIN_TEXT, Precondition, Request, Status};

/// Files that can be asked for.
pub trait Site {
    /// Answers a `GET` or `HEAD`, or says that there is no such page.
    ///
    /// # Errors
    ///
    /// Those of the exchange.
    fn answer<S: Read + Write, C: Clock>(
        &self,
        exchange: Exchange<'_, '_, S, C>,
    ) -> impl Future<Output = Result<(), Error<S::Error>>>;

    /// What `/status` says of it.
    fn facts(&self) -> Facts;
}

/// How large a site is; `null` is what nobody knows.
#[derive(Debug, Serialize)]
pub struct Facts {
    /// Number of files.
    pub files: Option<u64>,
    /// Their size.
    pub content_bytes: Option<u64>,
    /// Bytes of their bodies with the compressed variants.
    pub stored_bytes: Option<u64>,
    /// Memory for what was read from a disk lately.
    #[cfg(feature = "disk")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
}

/// Memory for what was read from a disk lately.
#[cfg(feature = "disk")]
#[derive(Debug, Serialize)]
pub struct Cache {
    /// In use now.
    pub used_bytes: usize,
    /// In use at most.
    pub limit_bytes: usize,
}

/// A representation that a client may get, whole, in part or not at all.
struct Representation<'r> {
    /// The parts of a head, as `xenlet_fs_static::Variant` draws them.
    head: &'r [u8],
    fields: &'r [u8],
    validators: &'r [u8],
    etag: &'r str,
    len: u64,
}

/// Where the bytes of a body come from.
trait Body {
    /// Replies with `head` and those bytes of the body.
    fn reply<S: Read + Write, C: Clock>(
        self,
        exchange: Exchange<'_, '_, S, C>,
        head: &[&[u8]],
        bytes: Range<u64>,
    ) -> impl Future<Output = Result<(), Error<S::Error>>>;
}

/// What a client says about content codings, where they are wanted.
fn accepted(request: &Request<'_>) -> Accept {
    #[cfg(feature = "tls")]
    if crate::secure::is_incompressible() {
        return Accept::UNSAID;
    }
    request
        .values("Accept-Encoding")
        .fold(Accept::UNSAID, Accept::and)
}

/// Answers with what was asked for of a page.
#[allow(
    clippy::manual_async_fn,
    reason = "an async fn keeps its arguments twice"
)]
fn send<S: Read + Write, C: Clock>(
    exchange: Exchange<'_, '_, S, C>,
    page: Representation<'_>,
    body: impl Body,
) -> impl Future<Output = Result<(), Error<S::Error>>> {
    let request = exchange.request();
    let precondition = request.precondition(Some(page.etag));
    let range = request.range(page.etag, page.len);
    async move {
        match precondition {
            Precondition::Passed => {}
            Precondition::NotModified => {
                let line = Status::NOT_MODIFIED.line().as_bytes();
                return exchange.reply(&[line, page.validators], b"").await;
            }
            Precondition::Failed => {
                let why = "The page is not what If-Match says.";
                return Box::pin(exchange.refuse(Status::PRECONDITION_FAILED, why)).await;
            }
        }
        match range {
            ByteRange::Whole => body.reply(exchange, &[page.head], 0..page.len).await,
            ByteRange::Part(part) => {
                let lines = format!(
                    "Content-Range: bytes {}-{}/{}\r\nContent-Length: {}\r\n",
                    part.start,
                    part.end - 1,
                    page.len,
                    part.end - part.start
                );
                let line = Status::PARTIAL_CONTENT.line().as_bytes();
                let head = [line, lines.as_bytes(), page.fields];
                Box::pin(body.reply(exchange, &head, part)).await
            }
            ByteRange::Unsatisfiable => {
                let content_range = format!("bytes */{}", page.len);
                let fields = [("Content-Range", content_range.as_str()), PLAIN_TEXT];
                let why = b"The page has no such bytes.\n";
                Box::pin(exchange.respond(Status::RANGE_NOT_SATISFIABLE, &fields, why)).await
            }
        }
    }
}

/// Says that there is no such page, where the site has none of its own to say so.
async fn missing<S: Read + Write, C: Clock>(
    exchange: Exchange<'_, '_, S, C>,
) -> Result<(), Error<S::Error>> {
    let why = "There is no such page here.";
    Box::pin(exchange.refuse(Status::NOT_FOUND, why)).await
}

#[cfg(test)]
mod tests;
