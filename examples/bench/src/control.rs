//! What is answered on the control port.

use crate::load::Load;
use crate::query::Query;
use alloc::string::ToString;
use embedded_io_async::{Read, Write};
use xenlet_http::{Error, Exchange, Handler, KernelClock, Method, Server, Status};
use xenlet_kernel::page::Pages;
use xenlet_storage::{BlockDevice, Disk, SECTOR};

/// Bytes of the disk that are read at once.
const CHUNK: u64 = 1 << 20;

/// The control port, and the disk that it is about.
pub(crate) struct Control(pub(crate) Option<Disk>);

impl Handler for Control {
    async fn answer<S: Read + Write>(
        &self,
        exchange: Exchange<'_, '_, S, KernelClock>,
        _: &Server<KernelClock>,
    ) -> Result<(), Error<S::Error>> {
        let request = exchange.request();
        if request.method() != Method::Get {
            let why = "Here is only GET.";
            return exchange.refuse(Status::METHOD_NOT_ALLOWED, why).await;
        }
        let Some(disk) = &self.0 else {
            let why = "This guest has no disk.";
            return exchange.refuse(Status::SERVICE_UNAVAILABLE, why).await;
        };
        match request.path() {
            "/blk" => load(exchange, disk).await,
            "/disk" => content(exchange, disk).await,
            _ => {
                exchange
                    .refuse(Status::NOT_FOUND, "Here are /blk and /disk.")
                    .await
            }
        }
    }
}

/// Puts a load on the disk, and answers when it is done.
async fn load<S: Read + Write>(
    exchange: Exchange<'_, '_, S, KernelClock>,
    disk: &Disk,
) -> Result<(), Error<S::Error>> {
    let query = Query(exchange.request().query());
    let load = match Load::parse(query, disk.geometry()) {
        Ok(load) => load,
        Err(why) => return exchange.refuse(Status::BAD_REQUEST, &why).await,
    };
    match load.run(disk.clone()).await {
        Ok(outcome) => {
            let fields = [("Content-Type", "application/json")];
            exchange
                .respond(Status::OK, &fields, outcome.json().as_bytes())
                .await
        }
        Err(error) => {
            exchange
                .refuse(Status::INTERNAL_SERVER_ERROR, &error.to_string())
                .await
        }
    }
}

/// Sends what the disk begins with: for a check that it is the disk that it should be.
async fn content<S: Read + Write>(
    exchange: Exchange<'_, '_, S, KernelClock>,
    disk: &Disk,
) -> Result<(), Error<S::Error>> {
    let geometry = disk.geometry();
    let length = match Query(exchange.request().query()).number("bytes", 1..=geometry.bytes()) {
        Ok(length) => length,
        Err(why) => return exchange.refuse(Status::BAD_REQUEST, &why).await,
    };
    let fields = [("Content-Type", "application/octet-stream")];
    let mut sender = exchange.start(Status::OK, &fields, Some(length)).await?;
    let mut at = 0;
    while at < length {
        let wanted = usize::try_from(CHUNK.min(length - at)).unwrap_or_default();
        let whole = wanted.next_multiple_of(geometry.sector_size);
        let read = match Pages::new(whole) {
            Ok(pages) => disk.read(at / SECTOR as u64, pages).await,
            Err(error) => {
                log::warn!(target: "bench", "{error}");
                break;
            }
        };
        let (pages, Ok(())) = read else { break };
        let mut left = wanted;
        for page in pages.chunks() {
            let now = left.min(page.len());
            sender.write(&page[..now]).await?;
            left -= now;
        }
        at += wanted as u64;
    }
    // Where something is missing, this cuts the connection: a short answer does not look whole.
    sender.finish().await
}
