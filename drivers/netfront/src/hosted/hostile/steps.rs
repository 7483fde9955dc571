//! What a hostile netback does for each byte of its script.

use super::Rings;
use crate::proto::{self, RSP_NULL, RSP_OKAY, TxResponse};
use xenlet_kernel::abi::ring::{REQ_EVENT, RSP_PROD};
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::hosted::hostile::Script;
use xenlet_kernel::hosted::{Ends, map_grant, store};
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
            8 => keys(ends, script),
            9 => self.keep(script),
            10 => script.release(),
            11 => self.poke(script),
            12 => self.chain(script),
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
        let id = self.transmitted().map_or(value, |(id, _)| id);
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
        while let Some((id, _)) = self.transmitted() {
            self.tx.push(&TxResponse {
                id,
                status: RSP_OKAY,
            });
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
        } else if let Some((id, gref)) = self.transmitted() {
            seen = Some(gref);
            self.tx.push(&TxResponse {
                id,
                status: RSP_OKAY,
            });
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

/// Writes nonsense into a key that the guest may read.
fn keys(ends: Ends, script: &mut Script) {
    let (which, value) = (script.byte(), script.byte());
    let (front, back) = (ends.front(), ends.back());
    let path = match which % 8 {
        0..=3 => format!("{back}/state"),
        4 => format!("{front}/mac"),
        5 => format!("{front}/mtu"),
        6 => format!("{back}/feature-sg"),
        _ => format!("{back}/feature-rx-copy"),
    };
    match value {
        0xff => store::remove(if which & 1 == 0 { &front } else { &back }),
        // Toolstacks have removed one key alone.
        0xfe => store::remove(&path),
        0x80..=0xfd => store::write_bytes(&path, &[value; 3]),
        _ => store::write(&path, &(value % 16).to_string()),
    }
}
