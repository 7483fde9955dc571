//! Answers from the embedded folder. All that depends on the request alone was worked out when the folder was embedded;
//! what is left is a lookup, a choice of variant, and the conditions and ranges of RFC 9110 §13 and §14.

use alloc::format;
use core::ops::Range;
use embedded_io_async::{Read, Write};
use xenlet_fs_static::{Accept, Entry, File, Tree, Variant};
use xenlet_http::{ByteRange, Clock, Error, Exchange, PLAIN_TEXT, Precondition, Request, Status};

/// Answers a `GET` or `HEAD` for a path of the tree, or says that there is no such page.
pub(crate) async fn answer<S: Read + Write, C: Clock>(
    tree: &'static Tree,
    exchange: Exchange<'_, '_, S, C>,
) -> Result<(), Error<S::Error>> {
    let request = exchange.request();
    match tree.get(request.path()) {
        Some(Entry::File(file)) => send(exchange, negotiate(&request, file)).await,
        Some(Entry::Redirect(redirect)) => exchange.reply(&[redirect.head()], b"").await,
        None => match tree.not_found() {
            Some(page) => {
                let variant = negotiate(&request, page);
                exchange.reply(&[variant.head()], variant.body()).await
            }
            None => {
                exchange
                    .refuse(Status::NOT_FOUND, "There is no such page here.")
                    .await
            }
        },
    }
}

/// The variant that the client likes best. One that refuses all of them gets the file as it is, rather than a 406
/// that nobody can read either.
fn negotiate(request: &Request<'_>, file: &'static File) -> &'static Variant {
    let accept = request
        .values("Accept-Encoding")
        .fold(Accept::UNSAID, Accept::and);
    file.negotiate(accept).unwrap_or(file.identity())
}

async fn send<S: Read + Write, C: Clock>(
    exchange: Exchange<'_, '_, S, C>,
    variant: &'static Variant,
) -> Result<(), Error<S::Error>> {
    let (request, body) = (exchange.request(), variant.body());
    match request.precondition(Some(variant.etag())) {
        Precondition::Passed => {}
        Precondition::NotModified => {
            return exchange
                .reply(
                    &[Status::NOT_MODIFIED.line().as_bytes(), variant.validators()],
                    b"",
                )
                .await;
        }
        Precondition::Failed => {
            return exchange
                .refuse(
                    Status::PRECONDITION_FAILED,
                    "The page is not what If-Match says.",
                )
                .await;
        }
    }
    match request.range(variant.etag(), body.len() as u64) {
        ByteRange::Whole => exchange.reply(&[variant.head()], body).await,
        ByteRange::Part(part) => {
            let bytes = cut(body, &part);
            let lines = format!(
                "Content-Range: bytes {}-{}/{}\r\nContent-Length: {}\r\n",
                part.start,
                part.end - 1,
                body.len(),
                bytes.len()
            );
            let head = [
                Status::PARTIAL_CONTENT.line().as_bytes(),
                lines.as_bytes(),
                variant.fields(),
            ];
            exchange.reply(&head, bytes).await
        }
        ByteRange::Unsatisfiable => {
            let content_range = format!("bytes */{}", body.len());
            let fields = [("Content-Range", content_range.as_str()), PLAIN_TEXT];
            exchange
                .respond(
                    Status::RANGE_NOT_SATISFIABLE,
                    &fields,
                    b"The page has no such bytes.\n",
                )
                .await
        }
    }
}

/// A part of a body that lies within it.
fn cut<'b>(body: &'b [u8], part: &Range<u64>) -> &'b [u8] {
    let place = usize::try_from(part.start)
        .ok()
        .zip(usize::try_from(part.end).ok());
    place
        .and_then(|(start, end)| body.get(start..end))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
