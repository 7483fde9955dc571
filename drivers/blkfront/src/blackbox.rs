//! The black box: a small disk that keeps what a crash says of itself for the next start, which logs it.
//!
//! A guest that crashes can't rely on its heap, its tasks or the queue of any disk. So the box has a ring, a page and a request to itself,
//! ready since all was well: the lines of the report are written into the page as the console gets them, and at the end the request goes on
//! the ring, the backend is told, and its answer is waited for, for a second. The next start reads the page, logs it, and wipes it.

use crate::connect::{self, Vbd};
use crate::proto::{Direct, MAX_SEGMENTS, OP_WRITE, Request, Segment};
use crate::{BlockDevice, Disk, Features, Link, SECTOR, name};
use alloc::string::String;
use core::cell::RefCell;
use core::fmt::{self, Write as _};
use core::future::poll_fn;
use core::task::Poll;
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::grant::Access;
use xenlet_kernel::page::{Page, Pages, SharedPage};
use xenlet_kernel::time::{Duration, now, sleep};
use xenlet_kernel::xenbus::Device;
use xenlet_kernel::{cmdline, crash};

/// What a box begins with. One that is all zeros is a new one.
const MAGIC: &str = "xenlet black box\n";
/// Most lines that are logged of a box.
const LINES: usize = 128;
/// How long a crashed guest waits for each answer.
const LAST_ANSWER: Duration = Duration::from_secs(1);
/// How long a box that could not be connected is left alone.
const PAUSE: Duration = Duration::from_secs(5);

const PAGE_SECTORS: u8 = 8;
const _: () = assert!(PAGE_SECTORS as usize * SECTOR == PAGE_SIZE);

/// Logs what is in the box that `blackbox=` on the command line names, such as `xvdb`, and keeps what a crash will say there. Without the
/// word there is nothing to do. Never ends while there is a box.
pub async fn serve() {
    let Some(name) = cmdline::get("blackbox") else {
        return;
    };
    match opened(name).await {
        Ok(number) => keep_ready(number).await,
        Err(why) => {
            log::error!(target: "blackbox", "blackbox={name}: {why}; a crash will be on the console only")
        }
    }
}

/// Logs and wipes what is there. Returns the disk's number.
async fn opened(name: &str) -> Result<u32, String> {
    let text = |why: &dyn fmt::Display| alloc::format!("{why}");
    let number = name::number(name).ok_or("no disk has such a name; try xvdb")?;
    let disk = Disk::connect(number).await.map_err(|e| text(&e))?;
    let pages = Pages::new(PAGE_SIZE).map_err(|e| text(&e))?;
    let (mut pages, read) = disk.read(0, pages).await;
    read.map_err(|e| text(&e))?;
    let Some(page) = pages.chunks_mut().next() else {
        return Err(String::from("it can't be read"));
    };
    match page.strip_prefix(MAGIC.as_bytes()) {
        Some(report) => log_report(report),
        None if page.iter().all(|byte| *byte == 0) => {}
        None => {
            return Err(String::from(
                "it holds something else; a box is a disk for this alone, whose first 4096 bytes are zeros at first",
            ));
        }
    }
    page.fill(0);
    page[..MAGIC.len()].copy_from_slice(MAGIC.as_bytes());
    let (_, written) = disk.write(0, pages).await;
    written.map_err(|e| text(&e))?;
    disk.flush().await.map_err(|e| text(&e))?;
    disk.close().await;
    Ok(number)
}

/// Logs a report, in words by which it is not taken for one of this start.
fn log_report(report: &[u8]) {
    let end = report.iter().position(|byte| *byte == 0);
    let report = String::from_utf8_lossy(&report[..end.unwrap_or(report.len())]);
    for line in report.lines().take(LINES) {
        match line.strip_prefix("*** xenlet crash:") {
            Some(what) => log::error!(target: "blackbox", "*** the start before crashed:{what}"),
            None => log::error!(target: "blackbox", "{line}"),
        }
    }
}

/// Has the box ready, with whatever backend it has.
async fn keep_ready(number: u32) {
    let mut said = false;
    loop {
        match Recorder::connect(number).await {
            Ok(recorder) => {
                said = false;
                recorder.stand_by().await;
            }
            Err(why) if !said => {
                log::warn!(target: "blackbox", "{why}; trying again until it works");
                said = true;
            }
            Err(_) => {}
        }
        sleep(PAUSE).await;
    }
}

xenlet_kernel::local! {
    static RECORDER: RefCell<Option<Recorder>> = RefCell::new(None);
}

/// All that it takes to write a report.
#[derive(Debug)]
struct Recorder {
    device: Device<Vbd>,
    features: Features,
    /// What the backend reads at the end.
    page: SharedPage,
    len: usize,
}

impl Recorder {
    async fn connect(number: u32) -> Result<Self, String> {
        let (device, geometry, features) = connect::open(number)
            .await
            .map_err(|e| alloc::format!("{e}"))?;
        if geometry.read_only || geometry.sectors < PAGE_SECTORS.into() {
            device.close().await;
            return Err(String::from(
                "a box is a disk of 4096 bytes or more that can be written",
            ));
        }
        // Where grants are persistent, a backend maps each page to read and write it.
        let access = match features.persistent {
            true => Access::ReadWrite,
            false => Access::ReadOnly,
        };
        let page = Page::new().map_err(|e| alloc::format!("{e}"))?;
        let page = device
            .shared()
            .and_then(|io| page.share(io.peer, access).ok());
        let Some(page) = page else {
            return Err(String::from("no grant is left"));
        };
        let mut recorder = Self {
            device,
            features,
            page,
            len: 0,
        };
        // There is room.
        let _ = recorder.write_str(MAGIC);
        Ok(recorder)
    }

    /// Is there for a crash, until the backend goes.
    async fn stand_by(self) {
        RECORDER.with(|r| *r.borrow_mut() = Some(self));
        crash::record_with(record);
        poll_fn(|cx| {
            RECORDER.with(|r| match r.borrow_mut().as_mut() {
                Some(recorder) => loop {
                    if let Link::Down(_) = recorder.device.link() {
                        return Poll::Ready(());
                    }
                    if recorder.device.poll_changed(cx).is_pending() {
                        return Poll::Pending;
                    }
                },
                None => Poll::Ready(()),
            })
        })
        .await;
        let recorder = RECORDER.with(RefCell::take);
        if let Some(recorder) = recorder {
            recorder.device.close().await;
        }
    }

    /// Has the backend write the page, and, where it can, make it last.
    fn keep(&mut self) {
        let mut segments = [Segment::NONE; MAX_SEGMENTS];
        segments[0] = Segment {
            gref: self.page.gref(),
            first: 0,
            last: PAGE_SECTORS - 1,
        };
        self.ask(OP_WRITE, 1, segments);
        if let Some(flush) = self.features.flush() {
            self.ask(flush, 0, [Segment::NONE; MAX_SEGMENTS]);
        }
    }

    fn ask(&mut self, operation: u8, nr_segments: u8, segments: [Segment; MAX_SEGMENTS]) {
        let Some(io) = self.device.shared_mut() else {
            return;
        };
        io.ring.push(&Request::Direct(Direct {
            operation,
            nr_segments,
            handle: io.handle,
            id: operation.into(),
            sector: 0,
            segments,
        }));
        let _ = io.ring.publish();
        io.channel.notify();
        let deadline = now() + LAST_ANSWER;
        // Whatever it says, there is nothing to be done about it.
        while matches!(io.ring.pop(), Ok(None)) && now() < deadline {
            crash::pause();
        }
    }
}

impl fmt::Write for Recorder {
    /// What the page has no room for is left out.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = PAGE_SIZE - self.len;
        let bytes = &text.as_bytes()[..text.len().min(room)];
        self.page.as_ref().write(self.len, bytes);
        self.len += bytes.len();
        Ok(())
    }
}

/// Takes a line of a crash report, or its end.
fn record(line: Option<fmt::Arguments<'_>>) {
    RECORDER.with(|r| {
        // The crash may be of who was just at it.
        let Ok(mut recorder) = r.try_borrow_mut() else {
            return;
        };
        match (recorder.as_mut(), line) {
            (Some(recorder), Some(line)) => {
                let _ = recorder.write_fmt(line);
                let _ = recorder.write_str("\n");
            }
            (Some(recorder), None) => recorder.keep(),
            (None, _) => {}
        }
    });
}
