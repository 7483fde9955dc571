//! The embedded folder. All that depends on the files alone was worked out when it was embedded; what is left is a lookup
//! and a choice of variant.

use super::{Body, Facts, Representation, Site, accepted, missing, send};
use core::ops::Range;
use embedded_io_async::{Read, Write};
use xenlet_fs_static::{Entry, File, Tree, Variant};
use xenlet_http::{Clock, Error, Exchange, Request};

impl Site for &'static Tree {
    #[allow(
        clippy::manual_async_fn,
        reason = "an async fn keeps its arguments twice"
    )]
    fn answer<S: Read + Write, C: Clock>(
        &self,
        exchange: Exchange<'_, '_, S, C>,
    ) -> impl Future<Output = Result<(), Error<S::Error>>> {
        let request = exchange.request();
        let found = match self.get(request.path()) {
            Some(Entry::File(file)) => Found::Page(negotiate(&request, file)),
            Some(Entry::Redirect(redirect)) => Found::Ready(redirect.head(), b""),
            None => match self.not_found() {
                Some(page) => {
                    let variant = negotiate(&request, page);
                    Found::Ready(variant.head(), variant.body())
                }
                None => Found::Nothing,
            },
        };
        async move {
            match found {
                Found::Page(variant) => send(exchange, page(variant), variant.body()).await,
                Found::Ready(head, body) => exchange.reply(&[head], body).await,
                Found::Nothing => missing(exchange).await,
            }
        }
    }

    fn facts(&self) -> Facts {
        Facts {
            files: Some(self.files().len() as u64),
            content_bytes: Some(self.content_bytes() as u64),
            stored_bytes: Some(self.stored_bytes() as u64),
            #[cfg(feature = "disk")]
            cache: None,
        }
    }
}

/// What there is at a path.
enum Found {
    Page(&'static Variant),
    /// A head and a body, whatever the client says of conditions and ranges.
    Ready(&'static [u8], &'static [u8]),
    Nothing,
}

fn page(variant: &'static Variant) -> Representation<'static> {
    Representation {
        head: variant.head(),
        fields: variant.fields(),
        validators: variant.validators(),
        etag: variant.etag(),
        len: variant.body().len() as u64,
    }
}

/// The variant that the client likes best. One that refuses all of them gets the file as it is, rather than a 406
/// that nobody can read either.
fn negotiate(request: &Request<'_>, file: &'static File) -> &'static Variant {
    file.negotiate(accepted(request)).unwrap_or(file.identity())
}

impl Body for &'static [u8] {
    fn reply<S: Read + Write, C: Clock>(
        self,
        exchange: Exchange<'_, '_, S, C>,
        head: &[&[u8]],
        bytes: Range<u64>,
    ) -> impl Future<Output = Result<(), Error<S::Error>>> {
        exchange.reply(head, cut(self, &bytes))
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
