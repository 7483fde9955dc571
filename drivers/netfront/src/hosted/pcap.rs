//! A copy of a wire's traffic in a file that tcpdump and Wireshark read (the classic pcap format).
//!
//! ```text
//!   file    magic u32 │ major u16 │ minor u16 │ zone i32 │ sigfigs u32 │ snaplen u32 │ linktype u32
//!   record  seconds u32 │ nanoseconds u32 │ bytes kept u32 │ bytes there were u32 │ frame
//! ```

use super::{Frame, Wire};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use xenlet_kernel::time::{self, Instant};

/// Says that times are in nanoseconds, and by its order the order of bytes.
const MAGIC: u32 = 0xa1b2_3c4d;
/// More than any frame.
const SNAPLEN: u32 = 0x0004_0000;
/// `LINKTYPE_ETHERNET`.
const ETHERNET: u32 = 1;

/// A wire whose traffic is written down.
///
/// Frames are as the guest's interface has them: a large segment is one record, and a blank checksum is blank. Times are
/// of the wall clock where there is one, else of the monotonic one.
#[derive(Debug)]
pub struct Tee<W, O: Write = BufWriter<File>> {
    wire: W,
    out: Option<O>,
}

impl<W: Wire> Tee<W> {
    /// Writes `wire`'s traffic into a new file.
    ///
    /// # Errors
    /// When the file cannot be made or written.
    pub fn create(wire: W, path: impl AsRef<Path>) -> io::Result<Self> {
        Self::new(wire, BufWriter::new(File::create(path)?))
    }
}

impl<W: Wire, O: Write> Tee<W, O> {
    /// Writes `wire`'s traffic to `out`.
    ///
    /// # Errors
    /// As `out` gives them.
    pub fn new(wire: W, mut out: O) -> io::Result<Self> {
        let mut head = Vec::new();
        head.extend(MAGIC.to_le_bytes());
        head.extend(2u16.to_le_bytes());
        head.extend(4u16.to_le_bytes());
        head.extend([0; 8]);
        head.extend(SNAPLEN.to_le_bytes());
        head.extend(ETHERNET.to_le_bytes());
        out.write_all(&head)?;
        Ok(Self {
            wire,
            out: Some(out),
        })
    }

    /// Writes one frame down. An output that fails is not tried again: the wire goes on without it.
    fn record(&mut self, frame: &Frame) {
        let Some(out) = self.out.as_mut() else { return };
        let at = time::wall().unwrap_or_else(|| time::now().since(Instant::from_nanos(0)));
        let seconds = u32::try_from(at.as_secs()).unwrap_or(u32::MAX);
        let len = u32::try_from(frame.bytes.len()).unwrap_or(u32::MAX);
        let head = [seconds, at.subsec_nanos(), len, len].map(u32::to_le_bytes);
        let written = out
            .write_all(head.as_flattened())
            .and_then(|()| out.write_all(&frame.bytes))
            // Whole records, so that it can be read while it grows.
            .and_then(|()| out.flush());
        if let Err(e) = written {
            log::warn!("pcap: {e}; no more is written");
            self.out = None;
        }
    }
}

impl<W: Wire, O: Write> Wire for Tee<W, O> {
    fn send(&mut self, frame: Frame) {
        self.record(&frame);
        self.wire.send(frame);
    }

    fn recv(&mut self) -> Option<Frame> {
        let frame = self.wire.recv()?;
        self.record(&frame);
        Some(frame)
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.wire.next_deadline()
    }
}

#[cfg(test)]
mod tests {
    use super::Tee;
    use crate::hosted::{Wire, pair};
    use xenlet_kernel::hosted;

    #[test]
    fn both_directions_byte_by_byte() {
        hosted::test(async || {
            let (wire, mut other) = pair();
            let mut bytes = Vec::new();
            let mut tee = Tee::new(wire, &mut bytes).unwrap();
            tee.send(vec![1; 14].into());
            other.send(vec![2; 15].into());
            assert_eq!(tee.recv().unwrap().bytes, [2; 15]);
            assert_eq!(tee.recv(), None);
            drop(tee);

            let head = [
                0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0,
            ];
            // The test's clock stands at one second.
            let one = [1, 0, 0, 0, 0, 0, 0, 0, 14, 0, 0, 0, 14, 0, 0, 0];
            let two = [1, 0, 0, 0, 0, 0, 0, 0, 15, 0, 0, 0, 15, 0, 0, 0];
            let expected = [&head[..], &one, &[1; 14], &two, &[2; 15]].concat();
            assert_eq!(bytes, expected);
        });
    }
}
