//! A folder on a disk, answered from as from the embedded one: the file system is the table. Where the image has an index
//! (`xenlet_fs_static::index`), it gives the same bytes for the same folder. Without one, types are told by names, entity tags by
//! what the file system knows of a file's state, and there are no compressed variants.

mod index;

use super::{Body, Cache, Facts, Representation, Site, accepted, missing, send};
use alloc::format;
use alloc::string::{String, ToString};
use core::ops::Range;
use embedded_io_async::{Read, Write};
use index::Index;
use xenlet_fs_static::index::{FOLDER, Line, Stored};
use xenlet_fs_static::{Coding, ContentTypes, Head, Places, redirect};
use xenlet_http::{Clock, Error, Exchange, Method, Request, Status};
use xenlet_kernel::limit::RateLimit;
use xenlet_storage::files::{self, Chunk, Entry, File, Files};
use xenlet_storage::{BlockDevice, IoError};

static TYPES: ContentTypes = xenlet_fs_static::content_types!();

/// Lines of the log that a disk that fails may fill at once; then one a second.
const LINES: u32 = 5;

/// A site on a disk.
pub struct DiskSite<D> {
    files: Files<D>,
    index: Option<Index<D>>,
    failures: RateLimit,
}

/// What a path leads to.
enum Found<D> {
    /// A file, at its own path.
    Page(File<D>, String),
    /// A folder with an index.html, asked for without its `/`.
    Redirect,
    Missing,
}

/// How a file is to be sent.
struct Page<D> {
    file: File<D>,
    head: String,
    places: Places,
    etag: String,
}

impl<D: BlockDevice> DiskSite<D> {
    /// The site on `device`, with a cache of `cache_bytes`.
    ///
    /// # Errors
    ///
    /// If the disk fails or holds no file system that can be read.
    pub async fn mount(device: D, cache_bytes: usize) -> Result<Self, files::Error> {
        let files = Files::mount(device, cache_bytes).await?;
        let index = Index::open(&files).await?;
        Ok(Self {
            files,
            index,
            failures: RateLimit::new(LINES),
        })
    }

    /// What the index says of the site, if there is one.
    pub(crate) fn summary(&self) -> Option<xenlet_fs_static::index::Summary> {
        self.index.as_ref().map(Index::summary)
    }

    async fn find(&self, path: &str) -> Result<Found<D>, files::Error> {
        if !is_served(path) {
            return Ok(Found::Missing);
        }
        if path.ends_with('/') {
            let index = format!("{path}index.html");
            return Ok(match self.open(&index).await? {
                Some(Entry::File(file)) => Found::Page(file, index),
                _ => Found::Missing,
            });
        }
        Ok(match self.open(path).await? {
            Some(Entry::File(file)) => Found::Page(file, path.to_string()),
            Some(Entry::Folder) => match self.open(&format!("{path}/index.html")).await? {
                Some(Entry::File(_)) => Found::Redirect,
                _ => Found::Missing,
            },
            None => Found::Missing,
        })
    }

    async fn open(&self, path: &str) -> Result<Option<Entry<D>>, files::Error> {
        match self.files.open(path).await {
            Ok(entry) => Ok(Some(entry)),
            // A link that leads nowhere, or in a circle, leads to no page.
            Err(files::Error::NotFound | files::Error::Links) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Works out how to send the file at `path`: what the index says of it, as long as the file is the one that it
    /// speaks of.
    async fn page(
        &self,
        request: &Request<'_>,
        file: File<D>,
        path: &str,
        is_the_page: bool,
    ) -> Result<Page<D>, files::Error> {
        if let Some(index) = &self.index
            && let Some(line) = index.find(path).await?
            && let Some(line) = Line::parse(&line)
            && index.is_of(&file, line.identity().bytes)
        {
            let mut stored = line.negotiate(accepted(request));
            let mut variant = None;
            if stored.coding != Coding::Identity {
                let place = format!("{FOLDER}/{}{path}", stored.coding.token());
                if let Some(Entry::File(found)) = self.open(&place).await?
                    && index.is_of(&found, stored.bytes)
                {
                    variant = Some(found);
                } else {
                    stored = line.identity();
                }
            }
            let file = variant.unwrap_or(file);
            let (kind, varies) = (line.content_type, line.varies());
            return Ok(Page::new(file, kind, stored, varies, is_the_page));
        }
        let etag = format!("\"{}\"", file.version());
        let stored = Stored {
            coding: Coding::Identity,
            etag: &etag,
            bytes: file.len(),
        };
        Ok(Page::new(file, TYPES.get(path), stored, false, is_the_page))
    }

    async fn look_up(&self, request: &Request<'_>) -> Result<Answer<D>, files::Error> {
        Ok(match self.find(request.path()).await? {
            Found::Page(file, path) => Answer::Page(self.page(request, file, &path, true).await?),
            Found::Redirect => Answer::Redirect,
            Found::Missing => {
                let path = "/404.html";
                match self.open(path).await? {
                    Some(Entry::File(file)) => {
                        Answer::NotFound(self.page(request, file, path, false).await?)
                    }
                    _ => Answer::Missing,
                }
            }
        })
    }

    /// Says to those who run the guest that something can't be read.
    fn complain(&self, path: &str, error: &files::Error) {
        self.failures
            .warn(format_args!("httpd: cannot read {path:?}: {error}"));
    }

    fn body<'b>(&'b self, file: &'b File<D>, path: &'b str) -> DiskBody<'b, D> {
        DiskBody {
            site: self,
            file,
            path,
        }
    }
}

/// What a request gets.
enum Answer<D> {
    Page(Page<D>),
    Redirect,
    /// The site's own page that says so.
    NotFound(Page<D>),
    Missing,
}

impl<D> Page<D> {
    fn new(
        file: File<D>,
        content_type: &str,
        stored: Stored<'_>,
        varies: bool,
        is_the_page: bool,
    ) -> Self {
        let head = Head {
            content_type,
            coding: stored.coding,
            body_bytes: stored.bytes,
            etag: stored.etag,
            varies,
        };
        let mut text = String::new();
        let written = if is_the_page {
            head.ok(&mut text)
        } else {
            head.not_found(&mut text)
        };
        Self {
            file,
            head: text,
            // Writing to a string does not fail.
            places: written.unwrap_or_default(),
            etag: stored.etag.to_string(),
        }
    }

    fn representation(&self) -> Representation<'_> {
        let head = self.head.as_bytes();
        Representation {
            head,
            fields: head.get(self.places.fields..).unwrap_or_default(),
            validators: head.get(self.places.validators..).unwrap_or_default(),
            etag: &self.etag,
            len: self.file.len(),
        }
    }
}

impl<D: BlockDevice> Site for DiskSite<D> {
    async fn answer<S: Read + Write, C: Clock>(
        &self,
        exchange: Exchange<'_, '_, S, C>,
    ) -> Result<(), Error<S::Error>> {
        let request = exchange.request();
        let path = request.path();
        match self.look_up(&request).await {
            Ok(Answer::Page(page)) => {
                let body = self.body(&page.file, path);
                send(exchange, page.representation(), body).await
            }
            Ok(Answer::NotFound(page)) => {
                let body = self.body(&page.file, path);
                let head = [page.head.as_bytes()];
                body.reply(exchange, &head, 0..page.file.len()).await
            }
            Ok(Answer::Redirect) => {
                let mut head = String::new();
                let _ = redirect(path, &mut head);
                exchange.reply(&[head.as_bytes()], b"").await
            }
            Ok(Answer::Missing) => missing(exchange).await,
            Err(error) => {
                self.complain(path, &error);
                refuse(exchange, &error).await
            }
        }
    }

    fn facts(&self) -> Facts {
        let summary = self.summary();
        let (used_bytes, limit_bytes) = self.files.cache_usage();
        Facts {
            files: summary.map(|summary| summary.files),
            content_bytes: summary.map(|summary| summary.content_bytes),
            stored_bytes: summary.map(|summary| summary.stored_bytes),
            cache: Some(Cache {
                used_bytes,
                limit_bytes,
            }),
        }
    }
}

/// Says to the client that the disk can't be read, which is none of its business in detail.
async fn refuse<S: Read + Write, C: Clock>(
    exchange: Exchange<'_, '_, S, C>,
    error: &files::Error,
) -> Result<(), Error<S::Error>> {
    let (status, why) = match error {
        files::Error::Io(IoError::OutOfMemory) => (
            Status::SERVICE_UNAVAILABLE,
            "This guest is short of memory.",
        ),
        _ => (
            Status::INTERNAL_SERVER_ERROR,
            "The page could not be read from its disk.",
        ),
    };
    exchange.refuse(status, why).await
}

/// The bytes of a file, a page of memory at a time.
struct DiskBody<'b, D> {
    site: &'b DiskSite<D>,
    file: &'b File<D>,
    /// What was asked for.
    path: &'b str,
}

impl<D: BlockDevice> DiskBody<'_, D> {
    /// The bytes from `bytes.start` on: some of them, and not none.
    async fn chunk(&self, bytes: &Range<u64>) -> Result<Chunk, files::Error> {
        let wanted = bytes.end.saturating_sub(bytes.start);
        let chunk = self.file.chunk(bytes.start, wanted).await;
        chunk.inspect_err(|error| self.site.complain(self.path, error))
    }
}

impl<D: BlockDevice> Body for DiskBody<'_, D> {
    async fn reply<S: Read + Write, C: Clock>(
        self,
        exchange: Exchange<'_, '_, S, C>,
        head: &[&[u8]],
        mut bytes: Range<u64>,
    ) -> Result<(), Error<S::Error>> {
        if bytes.is_empty() || exchange.request().method() == Method::Head {
            return exchange.reply(head, b"").await;
        }
        // Before the head: what fails now can still be said.
        let mut chunk = match self.chunk(&bytes).await {
            Ok(chunk) => chunk,
            Err(error) => return refuse(exchange, &error).await,
        };
        let len = bytes.end.saturating_sub(bytes.start);
        let mut sender = exchange.stream(head, len).await?;
        loop {
            let left = usize::try_from(bytes.end.saturating_sub(bytes.start));
            let count = chunk.len().min(left.unwrap_or(usize::MAX));
            sender.write(chunk.get(..count).unwrap_or_default()).await?;
            bytes.start = bytes.start.saturating_add(count as u64);
            if bytes.is_empty() {
                return sender.finish().await;
            }
            drop(chunk);
            chunk = match self.chunk(&bytes).await {
                Ok(chunk) if !chunk.is_empty() => chunk,
                // The connection ends here, short of what the head has promised, which tells the client.
                _ => return Ok(()),
            };
        }
    }
}

/// Whether a path can lead to a file of the site, as those of an embedded folder do: names compared byte for byte, and
/// none that is hidden or a backup.
fn is_served(path: &str) -> bool {
    let Some(names) = path.strip_prefix('/') else {
        return false;
    };
    names.is_empty()
        || names
            .strip_suffix('/')
            .unwrap_or(names)
            .split('/')
            .all(|name| {
                let is_hidden = name.starts_with('.') && name != ".well-known";
                !name.is_empty() && !is_hidden && !name.ends_with('~') && !name.contains('\0')
            })
}

#[cfg(test)]
mod tests;
