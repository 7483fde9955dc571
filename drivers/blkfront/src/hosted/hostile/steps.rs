//! What a hostile blkback does for each byte of its script.

use super::{OFFERS, Ring, grants};
use crate::proto::{RSP_EOPNOTSUPP, RSP_ERROR, Request};
use xenlet_kernel::abi::ring::{REQ_EVENT, RSP_EVENT, RSP_PROD};
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::hosted::hostile::Script;
use xenlet_kernel::hosted::{Ends, map_grant};

impl Ring {
    /// Does one thing of the script.
    pub(super) fn step(&mut self, ends: Ends, script: &mut Script) {
        self.take();
        match script.byte() % 16 {
            0 => script.pause(),
            1 | 2 => self.lie(script),
            3 => self.twice(script),
            4 => self.fail(script),
            5 => self.index(script),
            6 => (0..script.byte()).for_each(|_| self.end.notify()),
            7 => script.disturb(ends, &OFFERS),
            8 => self.keep(script),
            9 => script.release(),
            10 => self.poke(script),
            11 => self.scribble(script),
            12 => drop(self.any(script)), // It is never answered.
            13 => self.one(script),
            _ => self.honest(),
        }
        self.publish();
    }

    /// One of the requests that wait.
    fn any(&mut self, script: &mut Script) -> Option<Request> {
        let which = usize::from(script.byte());
        let index = which.checked_rem(self.asked.len())?;
        self.asked.remove(index)
    }

    /// Answers a request with one field changed, or one that there never was.
    fn lie(&mut self, script: &mut Script) {
        let (which, value) = (script.byte(), script.long());
        let Some(request) = self.any(script) else {
            return;
        };
        let [first, second, ..] = value.to_le_bytes();
        self.answer(&request, |response| match which % 6 {
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
    fn twice(&mut self, script: &mut Script) {
        if let Some(request) = self.any(script) {
            self.answer(&request, |_| {});
            self.answer(&request, |_| {});
        }
    }

    /// Fails a request, as it may.
    fn fail(&mut self, script: &mut Script) {
        let which = script.byte();
        if let Some(request) = self.any(script) {
            let failed = [RSP_ERROR, RSP_EOPNOTSUPP][usize::from(which % 2)];
            self.answer(&request, |response| response.status = failed);
        }
    }

    /// Answers one request, with its pages written to.
    fn one(&mut self, script: &mut Script) {
        let value = script.byte();
        if let Some(request) = self.any(script) {
            write(&request, value);
            self.answer(&request, |_| {});
        }
    }

    /// Answers all that was asked.
    fn honest(&mut self) {
        while let Some(request) = self.asked.pop_front() {
            write(&request, 7);
            self.answer(&request, |_| {});
        }
    }

    /// Writes a producer, or where it wants to be notified.
    fn index(&mut self, script: &mut Script) {
        let (which, value) = (script.byte(), script.long());
        let window = self.back.pages()[0].as_ref();
        let at = [RSP_PROD, RSP_PROD, REQ_EVENT, RSP_EVENT][usize::from(which % 4)];
        // Small steps are the lies that are hard to see.
        let value = if which & 4 == 0 {
            value
        } else {
            window.load_acquire(at).wrapping_add(value & 0xff)
        };
        window.store_release(at, value);
    }

    /// Maps the pages of a request, and keeps them mapped when it answers.
    fn keep(&mut self, script: &mut Script) {
        let Some(request) = self.any(script) else {
            return;
        };
        self.answer(&request, |_| {});
        for gref in grants(&request) {
            script.keep(gref);
        }
    }

    /// Writes any byte anywhere in the ring: over requests that it has read already, too.
    fn poke(&mut self, script: &mut Script) {
        let (which, at) = (
            usize::from(script.byte()),
            usize::from(script.word()) % PAGE_SIZE,
        );
        let value = script.byte();
        let pages = self.back.pages();
        pages[which % pages.len()].as_ref().write(at, &[value]);
    }

    /// Writes into the pages of every request that waits, be they its to write or not.
    fn scribble(&mut self, script: &mut Script) {
        let value = script.byte();
        self.asked.iter().for_each(|request| write(request, value));
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
