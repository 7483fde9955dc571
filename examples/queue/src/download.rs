//! `GET /uploads/NAME` and `GET /next`: from the disk to the network.

use crate::name;
use crate::queue::Open;
use crate::uploads::{Found, Problem};
use embedded_io_async::{Read, Write};
use xenlet_http::{Clock, Error, Exchange, Method};
use xenlet_storage::BlockDevice;

/// Sends what was found. Every block is verified before a byte of it goes out; where one is damaged, the connection is
/// cut, so that the client sees that the content is not whole.
pub(crate) async fn send<D: BlockDevice + 'static, S: Read + Write, C: Clock>(
    open: &Open<D>,
    what: &str,
    found: Result<Found<'_, D>, Problem>,
    exchange: Exchange<'_, '_, S, C>,
) -> Result<(), Error<S::Error>> {
    let Found {
        record,
        mut content,
        place: _place,
    } = match found {
        Ok(found) => found,
        Err(problem) => return open.refusal(what, problem).send(exchange).await,
    };
    let request = exchange.request();
    let (tag, length) = (record.tag(), content.len());
    let selected = request.select(&tag, length);
    let is_get = request.method() == Method::Get;
    let bytes = selected.bytes(length).filter(|_| is_get).unwrap_or(0..0);
    content.seek(bytes.start);
    if !bytes.is_empty() {
        // Before the head is sent, so that an error can still be said.
        if let Err(error) = content.fill_buf().await {
            return open
                .refusal(&record.name, error.into())
                .send(exchange)
                .await;
        }
    }
    let fields = [
        ("Content-Type", "application/octet-stream"),
        ("Content-Disposition", &*name::disposition(&record.name)),
        ("Content-Location", &*name::path(&record.name)),
        // A name may be another upload's later.
        ("Cache-Control", "private, no-cache"),
        ("X-Content-Type-Options", "nosniff"),
    ];
    let Some(mut sender) = exchange
        .start_selected(&selected, &tag, length, &fields)
        .await?
    else {
        return Ok(());
    };
    let mut left = bytes.end - bytes.start;
    while left > 0 {
        let piece = match content.fill_buf().await {
            Ok(piece) => piece,
            Err(error) => {
                open.report(&record.name, error.into());
                return Ok(());
            }
        };
        let count = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if count == 0 {
            // Shorter than it says: the sender sees that as well.
            break;
        }
        sender.write(&piece[..count]).await?;
        content.consume(count);
        left -= count as u64;
    }
    sender.finish().await?;
    if is_get {
        open.count(|counts| {
            counts.downloads += 1;
            counts.downloaded_bytes = counts
                .downloaded_bytes
                .saturating_add(bytes.end - bytes.start);
        });
    }
    Ok(())
}
