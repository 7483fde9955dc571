//! `PUT /uploads/NAME`: from the network to the disk, by way of one buffer.

use crate::list::Line;
use crate::name;
use crate::queue::Open;
use crate::record::hex;
use embedded_io_async::{Read, Write};
use sha2::{Digest, Sha256};
use xenlet_http::{Clock, Error, Exchange, Precondition, Status};
use xenlet_storage::BlockDevice;

/// Takes the request's body for a new upload. Whatever can be refused is before the body is read, so that a client that
/// asks first (`Expect: 100-continue`) need not send it.
pub(crate) async fn put<D: BlockDevice + 'static, S: Read + Write, C: Clock>(
    open: &Open<D>,
    name: &str,
    mut exchange: Exchange<'_, '_, S, C>,
) -> Result<(), Error<S::Error>> {
    let request = exchange.request();
    if request.values("Content-Range").next().is_some() {
        // RFC 9110 §14.5: a client that sends a part would take 201 for the whole.
        let why = "An upload is sent whole, not in ranges.";
        return exchange.refuse(Status::BAD_REQUEST, why).await;
    }
    let length = request.content_length();
    let mut upload = match open.uploads.begin(name, length).await {
        Ok(upload) => upload,
        Err(problem) => return open.refusal(name, problem).send(exchange).await,
    };
    if request.precondition(None) != Precondition::Passed {
        let why = "If-Match is about an upload that is there, and this is a new one.";
        return exchange.refuse(Status::PRECONDITION_FAILED, why).await;
    }
    let mut sha256 = Sha256::new();
    // A buffer is asked for only when something is to come: on a full disk there may be none for nothing.
    while length != Some(upload.content.len()) {
        let buffer = match upload.content.spare().await {
            Ok(buffer) => buffer,
            Err(error) => return open.refusal(name, error.into()).send(exchange).await,
        };
        match exchange.read(buffer).await {
            Ok(0) => break,
            Ok(count) => {
                sha256.update(&buffer[..count]);
                upload.content.advance(count);
            }
            Err(Error::BadBody(how)) => return exchange.refuse(Status::BAD_REQUEST, how).await,
            Err(error) => return Err(error),
        }
    }
    let sha256 = sha256.finalize().into();
    let bytes = match upload.finish(&sha256).await {
        Ok(bytes) => bytes,
        Err(problem) => return open.refusal(name, problem).send(exchange).await,
    };
    open.count(|counts| {
        counts.uploads += 1;
        counts.uploaded_bytes = counts.uploaded_bytes.saturating_add(bytes);
    });
    let sha256 = hex(&sha256);
    let line = Line {
        name,
        bytes,
        sha256: &sha256,
    };
    let fields = [
        ("Content-Type", "application/json"),
        ("Location", &*name::path(name)),
        ("ETag", &*alloc::format!("\"{sha256}\"")),
    ];
    exchange
        .respond(Status::CREATED, &fields, (line.to_json() + "\n").as_bytes())
        .await
}
