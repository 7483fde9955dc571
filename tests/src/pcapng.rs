//! Reads pcapng files, as far as guests write them: one section with one interface, little-endian.

use std::time::Duration;

/// A file.
#[derive(Debug, Default)]
pub struct Capture {
    /// The interface's name and its address.
    pub name: String,
    /// Its hardware address.
    pub mac: Vec<u8>,
    /// The frames, in their order.
    pub packets: Vec<Packet>,
    /// How many frames there were, and how many of them were lost, as was said last.
    pub statistics: Option<(u64, u64)>,
}

/// A frame.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Since the Unix epoch.
    pub at: Duration,
    /// Whether the guest sent it.
    pub is_sent: bool,
    /// What was kept.
    pub bytes: Vec<u8>,
    /// How long it was.
    pub len: usize,
    /// How many were lost since the one before.
    pub lost: u64,
}

impl Packet {
    /// The ports of a TCP segment: where it comes from, and where it goes.
    pub fn tcp_ports(&self) -> Option<(u16, u16)> {
        let ip = self.bytes.get(14..)?;
        let tcp = ip.get(usize::from(ip[0] & 15) * 4..)?;
        let is_tcp = self.bytes[12..14] == [8, 0] && ip[9] == 6;
        let port = |at: usize| Some(u16::from_be_bytes([*tcp.get(at)?, *tcp.get(at + 1)?]));
        is_tcp.then_some((port(0)?, port(2)?))
    }
}

impl Capture {
    /// Reads a file: a section, its interface, then frames and statistics. The last may be cut off in its middle.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(mut file: &[u8]) -> Result<Self, String> {
        let mut capture = Self::default();
        let mut count = 0;
        while file.len() >= 12 {
            let (kind, len) = (word(file, 0), word(file, 4) as usize);
            let Some(block) = file.get(..len) else { break };
            if len < 12 || len % 4 != 0 || word(block, len - 4) as usize != len {
                return Err(format!(
                    "block {count} of kind {kind:#x} says that it has {len} bytes"
                ));
            }
            let body = &block[8..len - 4];
            match (count, kind) {
                (0, 0x0a0d_0d0a) if word(body, 0) == 0x1a2b_3c4d && word(body, 4) == 1 => {}
                (1, 1) if word(body, 0) == 1 => capture.interface(options(&body[8..])?)?,
                (2.., 6) if word(body, 0) == 0 => capture.packets.push(packet(body)?),
                (2.., 5) if word(body, 0) == 0 => {
                    let options = options(&body[12..])?;
                    let get = |code| number(&options, code).ok_or("statistics without a number");
                    capture.statistics = Some((get(4)?, get(5)?));
                }
                _ => return Err(format!("block {count} is of kind {kind:#x}")),
            }
            (count, file) = (count + 1, &file[len..]);
        }
        match count {
            0 | 1 => Err("no section, or no interface".into()),
            _ => Ok(capture),
        }
    }

    fn interface(&mut self, options: Vec<(u32, &[u8])>) -> Result<(), String> {
        let get = |code| {
            options
                .iter()
                .find(|(other, _)| *other == code)
                .map(|(_, value)| *value)
        };
        self.name = String::from_utf8_lossy(get(2).unwrap_or_default()).into_owned();
        self.mac = get(6).unwrap_or_default().to_vec();
        match get(9) {
            Some([9]) => Ok(()),
            other => Err(format!(
                "times are in units of {other:?}, not of nanoseconds"
            )),
        }
    }
}

fn packet(body: &[u8]) -> Result<Packet, String> {
    let nanos = u64::from(word(body, 4)) << 32 | u64::from(word(body, 8));
    let kept = word(body, 12) as usize;
    let bytes = body.get(20..20 + kept).ok_or("a frame beyond its block")?;
    let options = options(&body[20 + kept.next_multiple_of(4)..])?;
    let direction = number(&options, 2);
    Ok(Packet {
        at: Duration::from_nanos(nanos),
        is_sent: match direction {
            Some(1) => false,
            Some(2) => true,
            _ => return Err(format!("a frame whose direction is {direction:?}")),
        },
        bytes: bytes.to_vec(),
        len: word(body, 16) as usize,
        lost: number(&options, 4).unwrap_or(0),
    })
}

fn options(mut bytes: &[u8]) -> Result<Vec<(u32, &[u8])>, String> {
    let mut found = Vec::new();
    while bytes.len() >= 4 {
        let (code, len) = (word(bytes, 0) & 0xffff, (word(bytes, 0) >> 16) as usize);
        let value = bytes.get(4..4 + len).ok_or("an option beyond its block")?;
        if code == 0 {
            break;
        }
        found.push((code, value));
        bytes = bytes.get(4 + len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(found)
}

/// The value of an option that is a number of four or eight bytes.
fn number(options: &[(u32, &[u8])], code: u32) -> Option<u64> {
    let (_, value) = options.iter().find(|(other, _)| *other == code)?;
    value.iter().rev().try_fold(0_u64, |number, byte| {
        number
            .checked_mul(256)
            .map(|number| number + u64::from(*byte))
    })
}

/// The word at `at`, zero beyond the end.
fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_le_bytes)
}
