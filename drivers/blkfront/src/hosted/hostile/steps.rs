//! What a hostile blkback does for each byte of its script.

use super::{Liar, NONSENSE, OFFERS, PAUSE, Ring, grants};
use crate::proto::{RSP_EOPNOTSUPP, RSP_ERROR, Request};
use xenlet_kernel::abi::ring::{REQ_EVENT, RSP_EVENT, RSP_PROD};
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::hosted::{map_grant, store};
use xenlet_kernel::time::now;

impl Liar {
    /// Does one thing of the script.
    pub(super) fn step(&mut self) {
        if let Some(ring) = self.ring.as_mut() {
            ring.take();
        }
        match self.byte() % 16 {
            0 => self.pause = Some(now() + PAUSE),
            1 | 2 => self.lie(),
            3 => self.twice(),
            4 => self.fail(),
            5 => self.index(),
            6 => self.storm(),
            7 => self.keys(),
            8 => self.keep(),
            9 => self.kept.clear(),
            10 => self.poke(),
            11 => self.scribble(),
            12 => self.forget(),
            13 => self.one(),
            _ => self.honest(),
        }
        if let Some(ring) = self.ring.as_mut() {
            ring.publish();
        }
    }

    /// The ring, and one of the requests that wait.
    fn any(&mut self) -> Option<(&mut Ring, Request)> {
        let which = usize::from(self.byte());
        let ring = self.ring.as_mut()?;
        let index = which.checked_rem(ring.asked.len())?;
        let request = ring.asked.remove(index)?;
        Some((ring, request))
    }

    /// Answers a request with one field changed, or one that there never was.
    fn lie(&mut self) {
        let (which, value) = (self.byte(), self.long());
        let Some((ring, request)) = self.any() else {
            return;
        };
        let [first, second, ..] = value.to_le_bytes();
        ring.answer(&request, |response| match which % 6 {
            0 => response.id = u64::from(value),
            // Near the right one.
            1 => {
                response.id = response
                    .id
                    .wrapping_add_signed(i64::from(first.cast_signed()))
            }
            2 => response.id ^= 1 << (first % 64),
            3 => response.operation = first,
            4 => response.status = i16::from_le_bytes([first, second]),
            _ => response.status = -i16::from(first % 5),
        });
    }

    /// Answers a request twice.
    fn twice(&mut self) {
        if let Some((ring, request)) = self.any() {
            ring.answer(&request, |_| {});
            ring.answer(&request, |_| {});
        }
    }

    /// Fails a request, as it may.
    fn fail(&mut self) {
        let which = self.byte();
        if let Some((ring, request)) = self.any() {
            let failed = [RSP_ERROR, RSP_EOPNOTSUPP][usize::from(which % 2)];
            ring.answer(&request, |response| response.status = failed);
        }
    }

    /// Answers one request, with its pages written to.
    fn one(&mut self) {
        let value = self.byte();
        if let Some((ring, request)) = self.any() {
            write(&request, value);
            ring.answer(&request, |_| {});
        }
    }

    /// Answers all that was asked.
    fn honest(&mut self) {
        if let Some(ring) = self.ring.as_mut() {
            while let Some(request) = ring.asked.pop_front() {
                write(&request, 7);
                ring.answer(&request, |_| {});
            }
        }
    }

    /// Never answers a request.
    fn forget(&mut self) {
        let _ = self.any();
    }

    /// Writes a producer, or where it wants to be notified.
    fn index(&mut self) {
        let (which, value) = (self.byte(), self.long());
        let Some(ring) = self.ring.as_ref() else {
            return;
        };
        let window = ring.back.pages()[0].as_ref();
        let at = [RSP_PROD, RSP_PROD, REQ_EVENT, RSP_EVENT][usize::from(which % 4)];
        // Small steps are the lies that are hard to see.
        let value = if which & 4 == 0 {
            value
        } else {
            window.load_acquire(at).wrapping_add(value & 0xff)
        };
        window.store_release(at, value);
    }

    fn storm(&mut self) {
        let count = self.byte();
        if let Some(ring) = self.ring.as_ref() {
            (0..count).for_each(|_| ring.end.notify());
        }
    }

    /// Writes nonsense into a key that the guest may read.
    fn keys(&mut self) {
        let (which, value) = (self.byte(), self.byte());
        let (front, back) = (self.config.front(), self.config.back());
        let path = match which % 8 {
            0..=4 => format!("{back}/state"),
            5 => format!("{front}/backend-id"),
            _ => format!("{back}/{}", OFFERS[usize::from(which / 8) % OFFERS.len()]),
        };
        match value {
            0xff => store::remove(if which & 1 == 0 { &front } else { &back }),
            // Toolstacks have removed one key alone.
            0xfe => store::remove(&path),
            0xe0..=0xfd => store::write_bytes(&path, &[value; 3]),
            0x80..=0xdf => store::write(&path, NONSENSE[usize::from(value % 16)]),
            _ => store::write(&path, &(value % 16).to_string()),
        }
    }

    /// Maps the pages of a request, and keeps them mapped when it answers.
    fn keep(&mut self) {
        let Some((ring, request)) = self.any() else {
            return;
        };
        ring.answer(&request, |_| {});
        for gref in grants(&request) {
            if let Ok(page) = map_grant(gref, false) {
                self.kept.push(page);
                self.ever.insert(gref);
            }
        }
    }

    /// Writes any byte anywhere in the ring: over requests that it has read already, too.
    fn poke(&mut self) {
        let (which, at) = (
            usize::from(self.byte()),
            usize::from(self.word()) % PAGE_SIZE,
        );
        let value = self.byte();
        if let Some(ring) = self.ring.as_ref() {
            let pages = ring.back.pages();
            pages[which % pages.len()].as_ref().write(at, &[value]);
        }
    }

    /// Writes into the pages of every request that waits, be they its to write or not.
    fn scribble(&mut self) {
        let value = self.byte();
        if let Some(ring) = self.ring.as_ref() {
            ring.asked.iter().for_each(|request| write(request, value));
        }
    }
}

/// Writes into the pages of a request, as far as it can map them so.
fn write(request: &Request, value: u8) {
    for gref in grants(request) {
        if let Ok(page) = map_grant(gref, true) {
            page.as_ref().write(0, &[value; 1024]);
        }
    }
}
