//! A bad wire: loses, repeats, delays and so reorders frames, the same ones in every run with the same seed.

use std::collections::BTreeMap;
use xenlet_kernel::time::{Duration, Instant, now};
use xenlet_netfront::hosted::{Frame, Wire, offload};

/// What goes wrong, in frames of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Never arrive.
    pub lost: u64,
    /// Arrive twice.
    pub repeated: u64,
    /// Arrive up to 20 ms late, so behind others.
    pub late: u64,
    /// Arrive with a bit that was changed, if they are IP packets: what ARP says has no checksum but Ethernet's.
    pub changed: u64,
}

/// A wire with faults, in both directions. What is behind it must work out its checksums itself ([`Peer::new`] does): a
/// blank one says nothing of the bytes.
///
/// [`Peer::new`]: super::Peer::new
pub struct Faulty<W> {
    wire: W,
    faults: Faults,
    random: u64,
    to_guest: BTreeMap<(Instant, u64), Frame>,
    from_guest: BTreeMap<(Instant, u64), Frame>,
    count: u64,
}

impl<W: Wire> Faulty<W> {
    /// Puts faults on `wire`.
    pub fn new(wire: W, faults: Faults, seed: u64) -> Self {
        Self {
            wire,
            faults,
            random: seed,
            to_guest: BTreeMap::new(),
            from_guest: BTreeMap::new(),
            count: 0,
        }
    }

    /// The next number of the run (splitmix64).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn happens(&mut self, of_thousand: u64) -> bool {
        self.draw() % 1000 < of_thousand
    }

    /// When the copies of a frame arrive, and what they are.
    fn suffer(&mut self, mut frame: Frame) -> Vec<((Instant, u64), Frame)> {
        if self.happens(self.faults.lost) {
            return Vec::new();
        }
        if self.happens(self.faults.changed) && frame.bytes.get(12..14) == Some(&[8, 0]) {
            let place = usize::try_from(self.draw()).unwrap_or(0) % frame.bytes.len();
            frame.bytes[place] ^= 1 << (self.draw() % 8);
        }
        let copies = if self.happens(self.faults.repeated) {
            2
        } else {
            1
        };
        let mut arrivals = Vec::new();
        for _ in 0..copies {
            let late = self.happens(self.faults.late);
            let delay = if late {
                Duration::from_micros(self.draw() % 20_000)
            } else {
                Duration::ZERO
            };
            self.count += 1;
            arrivals.push(((now() + delay, self.count), frame.clone()));
        }
        arrivals
    }
}

impl<W: Wire> Wire for Faulty<W> {
    fn send(&mut self, frame: Frame) {
        // What the guest leaves to the host is done before anything can go wrong.
        for frame in offload::finish(frame) {
            let arrivals = self.suffer(frame);
            self.from_guest.extend(arrivals);
        }
    }

    fn recv(&mut self) -> Option<Frame> {
        while let Some(entry) = self.from_guest.first_entry()
            && entry.key().0 <= now()
        {
            self.wire.send(entry.remove());
        }
        while let Some(frame) = self.wire.recv() {
            let arrivals = self.suffer(frame);
            self.to_guest.extend(arrivals);
        }
        let first = self.to_guest.first_entry()?;
        (first.key().0 <= now()).then(|| first.remove())
    }

    fn next_deadline(&self) -> Option<Instant> {
        let first = |frames: &BTreeMap<(Instant, u64), Frame>| {
            frames.first_key_value().map(|(key, _)| key.0)
        };
        [
            self.wire.next_deadline(),
            first(&self.to_guest),
            first(&self.from_guest),
        ]
        .into_iter()
        .flatten()
        .min()
    }
}
