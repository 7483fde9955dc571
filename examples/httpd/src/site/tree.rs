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
        let entry = self.get(request.path());
        async move {
            match entry {
                Some(Entry::File(file)) => {
                    let variant = negotiate(&request, file);
                    let page = Representation {
                        head: variant.head(),
                        fields: variant.fields(),
                        validators: variant.validators(),
                        etag: variant.etag(),
                        len: variant.body().len() as u64,
                    };
                    send(exchange, page, variant.body()).await
                }
                Some(Entry::Redirect(redirect)) => exchange.reply(&[redirect.head()], b"").await,
                None => match self.not_found() {
                    Some(page) => {
                        let variant = negotiate(&request, page);
                        exchange.reply(&[variant.head()], variant.body()).await
                    }
                    None => missing(exchange).await,
                },
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
