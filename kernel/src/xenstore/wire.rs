//! Bytes into messages: the half of the client that an adversary writes to. No I/O here.

use crate::abi::xs_wire::{Head, PAYLOAD_MAX};
use alloc::vec::Vec;

/// How xenstored broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// A message longer than messages may be.
    TooLong(u32),
    /// The ring's producer index is further than the ring is long.
    BogusProducer(u32),
}

impl core::fmt::Display for Lie {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::TooLong(len) => write!(
                f,
                "a message of {len} bytes, at most {PAYLOAD_MAX} are allowed"
            ),
            Self::BogusProducer(used) => write!(f, "a ring index that claims {used} bytes"),
        }
    }
}

/// Puts messages together from pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Parser {
    bytes: Vec<u8>,
}

impl Parser {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// Whether no message has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes a piece.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
    }

    /// The next whole message.
    ///
    /// # Errors
    /// When its head claims more than a message may have: nothing after it can be trusted.
    pub(super) fn next(&mut self) -> Result<Option<(Head, Vec<u8>)>, Lie> {
        let Some(head) = self.bytes.first_chunk() else {
            return Ok(None);
        };
        let head = Head::parse(head);
        let len = head.len as usize;
        if len > PAYLOAD_MAX {
            return Err(Lie::TooLong(head.len));
        }
        let whole = Head::SIZE + len;
        let Some(payload) = self.bytes.get(Head::SIZE..whole) else {
            return Ok(None);
        };
        let payload = payload.to_vec();
        self.bytes.drain(..whole);
        Ok(Some((head, payload)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(ty: u32, req_id: u32, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap();
        let mut bytes = Head {
            ty,
            req_id,
            tx_id: 0,
            len,
        }
        .emit()
        .to_vec();
        bytes.extend(payload);
        bytes
    }

    proptest! {
        #[test]
        fn messages_survive_any_cutting(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..8),
            cuts in prop::collection::vec(1usize..50, 1..50),
        ) {
            let stream: Vec<u8> =
                payloads.iter().enumerate().flat_map(|(i, p)| message(2, i as u32, p)).collect();
            let mut parser = Parser::new();
            let mut seen = Vec::new();
            let (mut rest, mut cuts) = (stream.as_slice(), cuts.into_iter().cycle());
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                parser.feed(piece);
                rest = tail;
                while let Some((head, payload)) = parser.next().unwrap() {
                    prop_assert_eq!(head.req_id as usize, seen.len());
                    seen.push(payload);
                }
            }
            prop_assert_eq!(seen, payloads);
        }

        #[test]
        fn any_bytes_are_messages_or_a_lie(bytes in prop::collection::vec(any::<u8>(), 0..9000)) {
            let mut parser = Parser::new();
            parser.feed(&bytes);
            while let Ok(Some((head, payload))) = parser.next() {
                prop_assert_eq!(head.len as usize, payload.len());
            }
        }
    }

    #[test]
    fn too_long_is_a_lie() {
        let mut parser = Parser::new();
        parser.feed(
            &Head {
                ty: 2,
                req_id: 1,
                tx_id: 0,
                len: 4097,
            }
            .emit(),
        );
        assert_eq!(parser.next(), Err(Lie::TooLong(4097)));
    }
}
