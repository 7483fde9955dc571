//! Why a request is refused.

use crate::uploads::Problem;
use embedded_io_async::{Read, Write};
use xenlet_http::{Clock, Error, Exchange, PLAIN_TEXT, Status};
use xenlet_storage::store::{self, Why};

/// An answer that is not what was asked for: a status, and a line for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: Status,
    why: &'static str,
    field: Option<(&'static str, &'static str)>,
}

impl Refusal {
    pub(crate) const fn new(status: Status, why: &'static str) -> Self {
        let field = None;
        Self { status, why, field }
    }

    /// The same with a header field.
    pub(crate) const fn with(self, name: &'static str, value: &'static str) -> Self {
        let field = Some((name, value));
        Self { field, ..self }
    }

    /// The same, and the client may try again soon.
    const fn for_now(self) -> Self {
        self.with("Retry-After", "5")
    }

    /// Whether nobody is known by the token of the request, if it has one.
    pub(crate) fn is_of_a_stranger(&self) -> bool {
        self.status == Status::UNAUTHORIZED
    }

    /// Answers the request.
    ///
    /// # Errors
    /// The exchange's.
    pub(crate) async fn send<S: Read + Write, C: Clock>(
        self,
        exchange: Exchange<'_, '_, S, C>,
    ) -> Result<(), Error<S::Error>> {
        match self.field {
            None => exchange.refuse(self.status, self.why).await,
            Some(field) => {
                let body = [self.why, "\n"].concat();
                let fields = [PLAIN_TEXT, field];
                exchange
                    .respond(self.status, &fields, body.as_bytes())
                    .await
            }
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        let unavailable = |why| Self::new(Status::SERVICE_UNAVAILABLE, why);
        match problem {
            Problem::Name(why) => Self::new(Status::BAD_REQUEST, why),
            Problem::Taken | Problem::Store(store::Error::Exists) => Self::new(
                Status::CONFLICT,
                "There is an upload of this name, or one on its way. A name is free again when its upload is deleted.",
            ),
            Problem::Missing | Problem::Store(store::Error::Missing) => {
                Self::new(Status::NOT_FOUND, "There is no such upload.")
            }
            Problem::Busy => {
                unavailable("As many transfers are under way as memory allows.").for_now()
            }
            Problem::Store(error) => match error {
                store::Error::Full => Self::new(
                    Status::INSUFFICIENT_STORAGE,
                    "The disk has no room for this. Uploads that are deleted make room.",
                ),
                store::Error::ReadOnly(Why::Disk | Why::Options) => {
                    Self::new(Status::FORBIDDEN, "The disk is read-only.")
                }
                store::Error::ReadOnly(Why::Unsure) => unavailable(
                    "The disk failed: nothing can be changed before the guest is started again.",
                ),
                store::Error::Unsure => unavailable(
                    "The disk failed: whether this was done shows when the guest is started again.",
                ),
                store::Error::Lost => {
                    unavailable("The disk failed to keep the upload. Send it again.").for_now()
                }
                store::Error::OutOfMemory => {
                    unavailable("This guest is short of memory.").for_now()
                }
                _ => Self::new(
                    Status::INTERNAL_SERVER_ERROR,
                    "The disk failed; the guest's console says how.",
                ),
            },
            Problem::Foreign => Self::new(
                Status::INTERNAL_SERVER_ERROR,
                "The disk holds what is not an upload.",
            ),
        }
    }
}
