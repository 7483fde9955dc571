//! The handshake in xenstore, from `Initialising` to `Connected`, and what the backend says of the disk.
//!
//! As Linux's blkback has it: how many pages the ring may have is known at `InitWait`; our keys are written with
//! `Initialised`; all else is said once the backend is `Connected`.

use crate::block::SECTOR;
use crate::disk::{Disk, Shared};
use crate::features::{Granules, ring_pages, segments};
use crate::io::Io;
use crate::proto::VDISK_READONLY;
use crate::{Error, Features, Geometry, Lie, name};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::str::FromStr;
use xenlet_kernel::xenbus::{Class, Device, DeviceError, Failure, Opening, State};

/// Disks, as xenbus sees them.
#[derive(Debug)]
pub(crate) struct Vbd;

impl Class for Vbd {
    const NAME: &'static str = "vbd";
    const CONFIG: &'static str = "disk";
    const BACKEND: &'static str = "xen-blkback";
    const PUBLISH_AT: State = State::Initialised;
    type Shared = Io;
    type Lie = Lie;

    fn is_held(io: &Io) -> bool {
        io.is_held()
    }
}

pub(crate) async fn connect(number: u32) -> Result<Disk, Error> {
    let (device, geometry, features) = open(number).await?;
    Ok(Disk::new(number, device, geometry, features))
}

/// The handshake, and what the backend says of the disk.
pub(crate) async fn open(number: u32) -> Result<(Device<Vbd>, Geometry, Features), Error> {
    let failed = |why| DeviceError {
        device: name::describe(number),
        why,
    };
    let opening = Opening::<Vbd>::new(number).await?;
    let frontend = opening.frontend();
    let pages = ring_pages(frontend.offer("max-ring-page-order").await);
    let io = Io::new(number, frontend.backend_id(), pages).map_err(failed)?;
    let keys = keys(&io);
    let mut device = opening.connect(keys, io).await?;
    match agree(number, pages, &mut device).await {
        Ok((geometry, features)) => Ok((device, geometry, features)),
        Err(e) => {
            device.close().await;
            Err(e)
        }
    }
}

/// The keys that blkback reads, as Linux's blkfront writes them.
fn keys(io: &Io) -> Vec<(&'static str, String)> {
    /// `ring-ref0` and so on.
    const RING_REFS: [&str; 4] = ["ring-ref0", "ring-ref1", "ring-ref2", "ring-ref3"];
    let mut keys = vec![
        ("event-channel", io.channel.port().to_string()),
        ("protocol", String::from("x86_64-abi")),
        ("feature-persistent", String::from("1")),
    ];
    let refs = io.ring.pages().iter().map(|page| page.gref().to_string());
    if io.ring.pages().len() == 1 {
        keys.extend(refs.map(|gref| ("ring-ref", gref)));
    } else {
        let order = io.ring.pages().len().ilog2();
        keys.push(("ring-page-order", order.to_string()));
        keys.extend(RING_REFS.into_iter().zip(refs));
    }
    keys
}

/// Reads what the backend says of the disk and of itself, and makes the pages ready for it.
async fn agree(
    number: u32,
    ring_pages: usize,
    device: &mut Device<Vbd>,
) -> Result<(Geometry, Features), Error> {
    // All asked at once.
    let text = |key| device.offer::<String>(key);
    let (sectors, size) = (text("sectors"), text("sector-size"));
    let (info, mode) = (device.offer::<u32>("info"), text("mode"));
    let indirect = device.offer("feature-max-indirect-segments");
    let (granularity, alignment) = (
        device.offer("discard-granularity"),
        device.offer("discard-alignment"),
    );
    let features = [
        "feature-persistent",
        "feature-flush-cache",
        "feature-barrier",
        "feature-discard",
    ]
    .map(|key| device.offer::<u32>(key));

    let sector_size = parse(
        number,
        "sector-size",
        size.await,
        Some(SECTOR),
        SIZES,
        |size| size.is_power_of_two() && (SECTOR..=4096).contains(size),
    )?;
    let most = u64::MAX / SECTOR as u64;
    let sectors = parse(
        number,
        "sectors",
        sectors.await,
        None,
        SECTORS,
        |n: &u64| *n <= most,
    )?;
    let read_only =
        info.await.unwrap_or(0) & VDISK_READONLY != 0 || mode.await.as_deref() == Some("r");
    let mut said = [false; 4];
    for (said, answer) in said.iter_mut().zip(features) {
        *said = answer.await == Some(1);
    }
    let [persistent, flush_cache, barrier, discard] = said;
    let granules = Granules::parse(granularity.await, alignment.await, sector_size);
    let features = Features {
        ring_pages,
        segments: segments(indirect.await),
        persistent,
        flush_cache,
        barrier,
        discard: granules.filter(|_| discard && !read_only),
    };
    if persistent && let Some(io) = device.shared_mut() {
        io.persist().map_err(|_| DeviceError {
            device: name::describe(number),
            why: Failure::OutOfPages,
        })?;
    }
    let geometry = Geometry {
        // What is less than a sector of the disk's own can't be reached.
        sectors: sectors - sectors % (sector_size / SECTOR) as u64,
        sector_size,
        read_only,
        discard: features.discard.is_some(),
    };
    Ok((geometry, features))
}

const SIZES: &str = "a power of two from 512 to 4096";
const SECTORS: &str = "a number of sectors of 512 bytes";

/// What the backend says under `key`, or `default` when it says nothing.
fn parse<T: FromStr>(
    number: u32,
    key: &'static str,
    said: Option<String>,
    default: Option<T>,
    wanted: &'static str,
    sensible: impl FnOnce(&T) -> bool,
) -> Result<T, Error> {
    let value = match &said {
        Some(said) => said.parse().ok().filter(sensible),
        None => default,
    };
    value.ok_or_else(|| Error::BadOffer {
        disk: name::describe(number),
        key,
        said,
        wanted,
    })
}

impl Shared {
    /// One line about a disk that was connected.
    pub(crate) fn announce(&self) {
        let Geometry {
            sectors,
            sector_size,
            read_only,
            ..
        } = self.geometry();
        let features = self.features();
        let access = if read_only { ", read-only" } else { "" };
        let segments = features.segments;
        let persistent = if features.persistent {
            ", persistent grants"
        } else {
            ""
        };
        let flush = match (read_only, features.flush()) {
            (false, None) => "; its backend has nothing to flush: writes last as its domain has it",
            _ => "",
        };
        log::info!(
            "{}: {} MiB in sectors of {sector_size} bytes{access}; {segments} pages a request{persistent}{flush}",
            self.name(),
            sectors >> 11,
        );
    }
}

/// Lists the disks that the toolstack gave this domain, by their numbers, in order: [`Disk::connect`] takes one.
///
/// # Errors
/// As xenstore gives them; no disks is no error.
pub async fn disks() -> Result<Vec<u32>, xenlet_kernel::xenstore::Error> {
    xenlet_kernel::xenbus::list(Vbd::NAME).await
}

/// What `disk = [ … ]` calls disk `number`, such as `xvda`; `vbd` and the number for one that has no name.
pub fn disk_name(number: u32) -> String {
    name::name(number).unwrap_or_else(|| format!("vbd{number}"))
}
