//! What of a representation to send: the request's conditions and its range together (RFC 9110 §13.2.2, §14).

use crate::conditional::Precondition;
use crate::error::Error;
use crate::exchange::{Exchange, PLAIN_TEXT};
use crate::range::ByteRange;
use crate::request::Request;
use crate::sender::Sender;
use crate::server::Clock;
use crate::status::Status;
use alloc::format;
use alloc::vec::Vec;
use core::ops::Range;
use embedded_io_async::{Read, Write};

/// What of a representation a `GET` or `HEAD` is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selected {
    /// All of it: 200.
    Whole,
    /// These bytes, and not none: 206.
    Part(Range<u64>),
    /// None, since the client has it: 304.
    NotModified,
    /// None, since it is not what the client relies on: 412.
    Failed,
    /// None, since there are no such bytes: 416.
    Unsatisfiable,
}

impl Selected {
    /// The bytes of a representation of `length` bytes that are to be sent, if any are.
    pub fn bytes(&self, length: u64) -> Option<Range<u64>> {
        match self {
            Self::Whole => Some(0..length),
            Self::Part(part) => Some(part.clone()),
            Self::NotModified | Self::Failed | Self::Unsatisfiable => None,
        }
    }
}

impl Request<'_> {
    /// What to send of a representation of `length` bytes with the entity tag `tag` (with its quotes).
    pub fn select(&self, tag: &str, length: u64) -> Selected {
        match self.precondition(Some(tag)) {
            Precondition::NotModified => Selected::NotModified,
            Precondition::Failed => Selected::Failed,
            Precondition::Passed => match self.range(tag, length) {
                ByteRange::Whole => Selected::Whole,
                ByteRange::Part(part) => Selected::Part(part),
                ByteRange::Unsatisfiable => Selected::Unsatisfiable,
            },
        }
    }
}

impl<'c, 's, S: Read + Write, C: Clock> Exchange<'c, 's, S, C> {
    /// Answers with what was [`select`](Request::select)ed of a representation of `length` bytes with the entity tag
    /// `tag`. Where bytes are to follow, gives the sender for them (to `HEAD` as well, where they are only counted).
    ///
    /// `fields` go with the representation; `ETag`, `Accept-Ranges`, `Content-Range` and `Content-Length` are added.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_selected(
        self,
        selected: &Selected,
        tag: &str,
        length: u64,
        fields: &[(&str, &str)],
    ) -> Result<Option<Sender<'c, 's, S, C>>, Error<S::Error>> {
        let mut all = Vec::with_capacity(fields.len() + 3);
        all.extend_from_slice(&[("ETag", tag), ("Accept-Ranges", "bytes")]);
        all.extend_from_slice(fields);
        let bytes = selected.bytes(length);
        let sent = bytes.map(|bytes| bytes.end - bytes.start);
        match selected {
            Selected::Whole => self.start(Status::OK, &all, sent).await.map(Some),
            Selected::Part(part) => {
                let last = part.end.saturating_sub(1);
                let range = format!("bytes {}-{last}/{length}", part.start);
                all.push(("Content-Range", &range));
                self.start(Status::PARTIAL_CONTENT, &all, sent)
                    .await
                    .map(Some)
            }
            Selected::NotModified => {
                self.respond(Status::NOT_MODIFIED, &all, b"").await?;
                Ok(None)
            }
            Selected::Failed => {
                let why = "It is not what If-Match says.";
                self.refuse(Status::PRECONDITION_FAILED, why).await?;
                Ok(None)
            }
            Selected::Unsatisfiable => {
                let range = format!("bytes */{length}");
                let fields = [("Content-Range", range.as_str()), PLAIN_TEXT];
                let why = b"It has no such bytes.\n";
                self.respond(Status::RANGE_NOT_SATISFIABLE, &fields, why)
                    .await?;
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Method;
    use crate::request::tests::request;
    use Selected::{Failed, NotModified, Part, Unsatisfiable, Whole};

    #[test]
    fn conditions_come_before_the_range() {
        for (lines, selected) in [
            ("", Whole),
            ("Range: bytes=2-3\r\n", Part(2..4)),
            ("Range: bytes=10-\r\n", Unsatisfiable),
            ("If-None-Match: \"a\"\r\nRange: bytes=10-\r\n", NotModified),
            ("If-Match: \"b\"\r\nRange: bytes=2-3\r\n", Failed),
            ("If-Match: \"a\"\r\nRange: bytes=2-3\r\n", Part(2..4)),
            ("If-Range: \"b\"\r\nRange: bytes=2-3\r\n", Whole),
        ] {
            assert_eq!(
                request(Method::Get, lines).select("\"a\"", 10),
                selected,
                "{lines}"
            );
        }
    }

    #[test]
    fn bytes_to_send() {
        assert_eq!(Whole.bytes(10), Some(0..10));
        assert_eq!(Part(2..4).bytes(10), Some(2..4));
        for none in [NotModified, Failed, Unsatisfiable] {
            assert_eq!(none.bytes(10), None);
        }
    }
}
