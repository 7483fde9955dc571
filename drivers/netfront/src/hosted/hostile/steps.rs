//! What a hostile netback does for each byte of its script.

use super::{Liar, PAUSE};
use crate::proto::{self, RSP_NULL, RSP_OKAY, TxResponse};
use xenlet_kernel::abi::ring::{REQ_EVENT, RSP_PROD};
use xenlet_kernel::addr::PAGE_SIZE;
use xenlet_kernel::hosted::{map_grant, store};
use xenlet_kernel::time::now;

impl Liar {
    /// Does one thing of the script.
    pub(super) fn step(&mut self) {
        match self.byte() % 16 {
            0 => self.pause = Some(now() + PAUSE),
            1..=3 => self.rx_lie(),
            4 => self.tx_lie(),
            5 => self.honest(),
            6 => self.index(),
            7 => self.storm(),
            8 => self.keys(),
            9 => self.keep(),
            10 => self.kept.clear(),
            11 => self.poke(),
            12 => self.chain(),
            _ => self.frame(),
        }
        if let Some(rings) = self.rings.as_mut() {
            rings.publish();
        }
    }

    /// Answers a receive request with one field changed, or with any bytes.
    fn rx_lie(&mut self) {
        let (which, value) = (self.byte(), self.word());
        if let Some(rings) = self.rings.as_mut() {
            rings.receive(|response, _| match which % 5 {
                0 => response.id = value,
                1 => response.offset = value,
                2 => response.flags = value,
                3 => response.status = value.cast_signed(),
                _ => response.flags = value & 0xf,
            });
        }
    }

    /// Answers a transmit request with any id or status, once or twice, or not at all.
    fn tx_lie(&mut self) {
        let (which, value) = (self.byte(), self.word());
        let Some(rings) = self.rings.as_mut() else {
            return;
        };
        let id = rings.transmitted().map_or(value, |(id, _)| id);
        let (id, status) = match which % 4 {
            0 => (value, RSP_OKAY),
            1 => (id, value.cast_signed()),
            2 => (value, RSP_NULL),
            _ => (id, RSP_OKAY),
        };
        for _ in 0..=(which / 4 % 2) {
            rings.tx.push(&TxResponse { id, status });
        }
    }

    /// Answers all that was transmitted as it should.
    fn honest(&mut self) {
        if let Some(rings) = self.rings.as_mut() {
            while let Some((id, _)) = rings.transmitted() {
                rings.tx.push(&TxResponse {
                    id,
                    status: RSP_OKAY,
                });
            }
        }
    }

    /// Writes a producer, or where it wants to be notified.
    fn index(&mut self) {
        let (which, value) = (self.byte(), self.long());
        let Some(rings) = self.rings.as_ref() else {
            return;
        };
        let ring = if which & 1 == 0 {
            rings.tx.pages()[0].as_ref()
        } else {
            rings.rx.pages()[0].as_ref()
        };
        let at = if which & 2 == 0 { RSP_PROD } else { REQ_EVENT };
        // Small steps are the lies that are hard to see.
        let value = if which & 4 == 0 {
            value
        } else {
            ring.load_acquire(at).wrapping_add(value & 0xff)
        };
        ring.store_release(at, value);
    }

    fn storm(&mut self) {
        let count = self.byte();
        if let Some(rings) = self.rings.as_ref() {
            (0..count).for_each(|_| rings.notify());
        }
    }

    /// Writes nonsense into a key that the guest may read.
    fn keys(&mut self) {
        let (which, value) = (self.byte(), self.byte());
        let (front, back) = (self.config.front(), self.config.back());
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

    /// Maps a page, and keeps it mapped when it answers.
    fn keep(&mut self) {
        let which = self.byte();
        let Some(rings) = self.rings.as_mut() else {
            return;
        };
        let mut seen = None;
        if which & 1 == 0 {
            rings.receive(|_, gref| seen = Some(gref));
        } else if let Some((id, gref)) = rings.transmitted() {
            seen = Some(gref);
            rings.tx.push(&TxResponse {
                id,
                status: RSP_OKAY,
            });
        }
        if let Some(gref) = seen
            && let Ok(page) = map_grant(gref, false)
        {
            self.kept.push(page);
            self.ever.insert(gref);
        }
    }

    /// Writes any byte anywhere in a ring.
    fn poke(&mut self) {
        let (which, at) = (self.byte(), usize::from(self.word()) % PAGE_SIZE);
        let value = self.byte();
        if let Some(rings) = self.rings.as_ref() {
            let page = if which & 1 == 0 {
                &rings.tx.pages()[0]
            } else {
                &rings.rx.pages()[0]
            };
            page.as_ref().write(at, &[value]);
        }
    }

    /// A frame of some slots, with any flags, that perhaps never ends.
    fn chain(&mut self) {
        let (count, flags) = (self.byte() % 40, u16::from(self.byte()));
        let len = self.word().cast_signed();
        if let Some(rings) = self.rings.as_mut() {
            for i in 0..count {
                rings.receive(|response, _| {
                    response.flags = proto::RX_MORE_DATA | if i == 0 { flags & 0xf } else { 0 };
                    response.status = len % 4097;
                });
            }
        }
    }

    /// An honest frame of one slot.
    fn frame(&mut self) {
        let (len, flags) = (self.byte(), self.byte());
        if let Some(rings) = self.rings.as_mut() {
            rings.receive(|response, gref| {
                if let Ok(page) = map_grant(gref, true) {
                    page.as_ref().write(0, &[len; 256]);
                }
                response.status = i16::from(len);
                response.flags = u16::from(flags & 3);
            });
        }
    }
}
