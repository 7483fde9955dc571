//! What a hostile netback does for each byte of its script.

use super::{OFFERS, Rings, Sent};
use crate::proto::{self, Extra, RSP_NULL, RSP_OKAY, RxResponse, TxResponse};
use xenlet_kernel::abi::ring::{REQ_EVENT, RSP_PROD};
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::hosted::hostile::Script;
use xenlet_kernel::hosted::{Ends, map_grant};
use xenlet_kernel::page::Window;

impl Rings {
    /// Does one thing of the script.
    pub(super) fn step(&mut self, ends: Ends, script: &mut Script) {
        match script.byte() % 16 {
            0 => script.pause(),
            1..=3 => self.rx_lie(script),
            4 => self.tx_lie(script),
            5 => self.honest(),
            6 => self.index(script),
            7 => (0..script.byte()).for_each(|_| self.notify()),
            8 => script.disturb(ends, &OFFERS),
            9 => self.keep(script),
            10 => script.release(),
            11 => self.poke(script),
            12 => self.chain(script),
            13 => self.extras(script),
            14 => self.raw(script),
            _ => self.frame(script),
        }
        self.publish();
    }

    /// The transmit ring or the receive ring.
    fn either(&self, which: u8) -> &Window {
        match which & 1 {
            0 => self.tx.pages()[0].as_ref(),
            _ => self.rx.pages()[0].as_ref(),
        }
    }

    /// Answers a receive request with one field changed, or with any bytes.
    fn rx_lie(&mut self, script: &mut Script) {
        let (which, value) = (script.byte(), script.word());
        self.receive(|response, _| match which % 5 {
            0 => response.id = value,
            1 => response.offset = value,
            2 => response.flags = value,
            3 => response.status = value.cast_signed(),
            _ => response.flags = value & 0xf,
        });
    }

    /// Answers a transmit request with any id or status, once or twice, or not at all.
    fn tx_lie(&mut self, script: &mut Script) {
        let (which, value) = (script.byte(), script.word());
        let id = self.transmitted().map_or(value, |sent| sent.answer().id);
        let (id, status) = match which % 4 {
            0 => (value, RSP_OKAY),
            1 => (id, value.cast_signed()),
            2 => (value, RSP_NULL),
            _ => (id, RSP_OKAY),
        };
        for _ in 0..=(which / 4 % 2) {
            self.tx.push(&TxResponse { id, status });
        }
    }

    /// Answers all that was transmitted as it should.
    fn honest(&mut self) {
        while let Some(sent) = self.transmitted() {
            self.tx.push(&sent.answer());
        }
    }

    /// Writes a producer, or where it wants to be notified.
    fn index(&mut self, script: &mut Script) {
        let (which, value) = (script.byte(), script.long());
        let ring = self.either(which);
        let at = if which & 2 == 0 { RSP_PROD } else { REQ_EVENT };
        // Small steps are the lies that are hard to see.
        let value = if which & 4 == 0 {
            value
        } else {
            ring.load_acquire(at).wrapping_add(value & 0xff)
        };
        ring.store_release(at, value);
    }

    /// Maps a page, and keeps it mapped when it answers.
    fn keep(&mut self, script: &mut Script) {
        let mut seen = None;
        if script.byte() & 1 == 0 {
            self.receive(|_, gref| seen = Some(gref));
        } else if let Some(sent) = self.transmitted() {
            self.tx.push(&sent.answer());
            if let Sent::Data(data) = sent {
                seen = Some(data.gref);
            }
        }
        if let Some(gref) = seen {
            script.keep(gref);
        }
    }

    /// Writes any byte anywhere in a ring.
    fn poke(&mut self, script: &mut Script) {
        let (which, at) = (script.byte(), usize::from(script.word()) % PAGE_SIZE);
        self.either(which).write(at, &[script.byte()]);
    }

    /// A frame of some slots, with any flags, that perhaps never ends.
    fn chain(&mut self, script: &mut Script) {
        let (count, flags) = (script.byte() % 40, u16::from(script.byte()));
        let len = script.word().cast_signed();
        for i in 0..count {
            self.receive(|response, _| {
                response.flags = proto::RX_MORE_DATA | if i == 0 { flags & 0xf } else { 0 };
                response.status = len % 4097;
            });
        }
    }

    /// A frame with some extras of any kind.
    fn extras(&mut self, script: &mut Script) {
        let (count, flags) = (script.byte() % 8, u16::from(script.byte()));
        self.receive(|response, _| response.flags = proto::RX_EXTRA_INFO | flags & 0xf);
        for _ in 0..count {
            let (kind, flags, size) = (script.byte() % 8, script.byte(), script.word());
            let mut extra = Extra::gso(script.byte() % 4, size);
            (extra.kind, extra.flags) = (kind, flags);
            self.receive(|response, _| *response = RxResponse::of_extra(extra));
        }
    }

    /// Any bytes in the place of a response.
    fn raw(&mut self, script: &mut Script) {
        self.receive(|response, _| {
            response.offset = script.word();
            response.flags = script.word();
            response.status = script.word().cast_signed();
        });
    }

    /// An honest frame of one slot.
    fn frame(&mut self, script: &mut Script) {
        let (len, flags) = (script.byte(), script.byte());
        self.receive(|response, gref| {
            if let Ok(page) = map_grant(gref, true) {
                page.as_ref().write(0, &[len; 256]);
            }
            response.status = i16::from(len);
            response.flags = u16::from(flags & 3);
        });
    }
}
