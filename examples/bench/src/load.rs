//! A load on a disk: so many requests in flight, for so long.

use crate::query::Query;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;
use xenlet_kernel::page::{OutOfPages, Pages};
use xenlet_kernel::time::{Instant, now, round};
use xenlet_kernel::{entropy, run};
use xenlet_storage::{BlockDevice, Geometry, IoError, SECTOR};

/// Bytes of all requests in flight, at most.
const IN_FLIGHT: usize = 16 << 20;

/// What to do, as `op=…` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Operation {
    write: bool,
    random: bool,
}

/// A load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    operation: Operation,
    /// Bytes of a request.
    bytes: usize,
    /// Requests in flight.
    depth: usize,
    duration: Duration,
    /// How many requests the disk has room for, one after the other.
    places: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outcome {
    /// Requests done.
    ops: u64,
    bytes: usize,
    took: Duration,
}

impl Load {
    /// What a query asks for, where the disk can do it.
    ///
    /// # Errors
    /// A line for people.
    pub(crate) fn parse(query: Query<'_>, disk: Geometry) -> Result<Load, String> {
        let (write, random) = match query.get("op")? {
            "read" => (false, false),
            "write" => (true, false),
            "randread" => (false, true),
            "randwrite" => (true, true),
            other => {
                return Err(format!(
                    "op={other} is none of read, write, randread, randwrite"
                ));
            }
        };
        if write && disk.read_only {
            return Err("The disk is read-only.".into());
        }
        let bytes = query.number("bs", disk.sector_size..=IN_FLIGHT)?;
        if !bytes.is_multiple_of(disk.sector_size) {
            return Err(format!(
                "bs={bytes} is not a multiple of the disk's sectors of {} bytes",
                disk.sector_size
            ));
        }
        let places = disk.bytes() / bytes as u64;
        if places == 0 {
            return Err(format!("bs={bytes} is more than the disk has"));
        }
        Ok(Load {
            operation: Operation { write, random },
            bytes,
            depth: query.number("qd", 1..=IN_FLIGHT / bytes)?,
            duration: Duration::from_secs(query.number("secs", 1..=600)?),
            places,
        })
    }

    /// Puts the load on the disk.
    ///
    /// # Errors
    /// The first request's that failed: it ends the load.
    pub(crate) async fn run(
        self,
        disk: impl BlockDevice + Clone + 'static,
    ) -> Result<Outcome, IoError> {
        let buffers: Result<Vec<Pages>, OutOfPages> =
            (0..self.depth).map(|_| Pages::new(self.bytes)).collect();
        let buffers = buffers.map_err(|OutOfPages| IoError::OutOfMemory)?;
        let began = now();
        let progress = Rc::new(Progress {
            load: self,
            end: began + self.duration,
            position: Cell::new(entropy::seed()),
            ops: Cell::new(0),
            stop: Cell::new(false),
        });
        let start = |buffer| run::spawn(work(disk.clone(), Rc::clone(&progress), buffer));
        let workers: Vec<_> = buffers.into_iter().map(start).collect();
        let mut result = Ok(());
        for worker in workers {
            result = result.and(worker.await);
        }
        result.map(|()| Outcome {
            ops: progress.ops.get(),
            bytes: self.bytes,
            took: began.elapsed(),
        })
    }
}

/// What the requests in flight have in common.
struct Progress {
    load: Load,
    end: Instant,
    /// Where the next request goes, or what the chance of it is made of.
    position: Cell<u64>,
    ops: Cell<u64>,
    /// One has failed: the others need not go on.
    stop: Cell<bool>,
}

impl Progress {
    /// The next request's sector.
    fn next(&self) -> u64 {
        let Load {
            operation,
            bytes,
            places,
            ..
        } = self.load;
        let place = if operation.random {
            // SplitMix64: few instructions, so that they are not what is measured.
            let seed = self.position.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
            self.position.set(seed);
            let seed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let seed = (seed ^ (seed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (seed ^ (seed >> 31)) % places
        } else {
            let place = self.position.get() % places;
            self.position.set(place + 1);
            place
        };
        place * (bytes / SECTOR) as u64
    }
}

/// Keeps one request in flight.
async fn work(
    disk: impl BlockDevice,
    progress: Rc<Progress>,
    mut buffer: Pages,
) -> Result<(), IoError> {
    while round() < progress.end && !progress.stop.get() {
        let sector = progress.next();
        let (back, result) = if progress.load.operation.write {
            disk.write(sector, buffer).await
        } else {
            disk.read(sector, buffer).await
        };
        buffer = back;
        if result.is_err() {
            progress.stop.set(true);
            return result;
        }
        progress.ops.update(|ops| ops + 1);
    }
    Ok(())
}

impl Outcome {
    /// As JSON.
    pub(crate) fn json(self) -> String {
        #[allow(
            clippy::cast_precision_loss,
            reason = "a rate need not have more digits"
        )]
        let (ops, bytes) = (self.ops as f64, self.bytes as f64);
        let secs = self.took.as_secs_f64();
        let (iops, mib) = (ops / secs, ops * bytes / secs / f64::from(1 << 20));
        format!(
            "{{\"ops\":{},\"secs\":{secs:.6},\"iops\":{iops:.1},\"MiBps\":{mib:.2}}}\n",
            self.ops
        )
    }
}
