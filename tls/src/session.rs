//! One end of a connection without its stream: records in, plaintext out, and the other way round.

use crate::Error;
use crate::buffer::{Buffer, check_memory};
use crate::role::Sealed;
use core::cell::Cell;
use rustls::CommonState;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};

/// Room for input at first: most requests fit, and ten thousand idle connections hold no more than they need.
const FIRST: usize = 640;
/// The header of a record: its type, its version, its length.
const HEADER: usize = 5;
/// The longest record (RFC 5246 §6.2.3; those of TLS 1.3 are a little shorter).
const RECORD: usize = HEADER + 16384 + 2048;
/// Plaintext of one record at most.
const FRAGMENT: usize = 16384;
/// What encryption adds to it as a rule.
const OVERHEAD: usize = 64;

/// An output buffer that no connection is using: who waits has no use for one.
pub(crate) type Spare = Cell<Buffer>;

/// What is to be done when what came is dealt with.
pub(crate) enum Wish<'w> {
    Handshake,
    Read(&'w mut [u8]),
    Write(&'w [u8]),
    Close,
}

/// How far that went.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It is done, with so many bytes.
    Done(usize),
    /// More input is needed.
    Wait,
    /// The peer has said that nothing will follow.
    End,
}

pub(crate) struct Session<R: Sealed> {
    connection: R::Connection,
    /// Records as they came.
    incoming: Buffer,
    /// How long `incoming` may become.
    limit: usize,
    /// Records to be sent.
    pub(crate) outgoing: Buffer,
    /// What was in records and nobody has read.
    plain: Buffer,
    peer_closed: bool,
    closed: bool,
    failed: Option<&'static str>,
}

impl<R: Sealed> Session<R> {
    /// A session whose handshake may take `limit` bytes of input at once.
    pub(crate) fn new(connection: R::Connection, limit: usize) -> Self {
        Self {
            connection,
            incoming: Buffer::default(),
            limit: limit.max(RECORD),
            outgoing: Buffer::default(),
            plain: Buffer::default(),
            peer_closed: false,
            closed: false,
            failed: None,
        }
    }

    pub(crate) fn state(&self) -> &CommonState {
        &self.connection
    }

    /// Where the next input goes.
    ///
    /// # Errors
    /// [`Error::TooLong`], [`Error::NoMemory`]
    pub(crate) fn room<E>(&mut self) -> Result<&mut [u8], Error<E>> {
        let filled = self.incoming.len();
        if filled == 0 {
            // One that has grown is too large to wait with.
            self.incoming = Buffer::default();
        }
        let missing = match self.incoming.filled() {
            [_, _, _, high, low, ..] => {
                // Of a message in several records this is the first one's length: there is more to come then.
                let record = HEADER + usize::from(u16::from_be_bytes([*high, *low]));
                record.saturating_sub(filled).clamp(FIRST, RECORD)
            }
            _ => FIRST,
        };
        let missing = missing.min(self.limit.saturating_sub(filled));
        if missing == 0 {
            return Err(Error::TooLong);
        }
        self.incoming.room(missing)
    }

    /// Takes `count` bytes of the room as input.
    pub(crate) fn received(&mut self, count: usize) {
        self.incoming.fill(count);
    }

    /// Deals with what came, and then with `wish`.
    ///
    /// # Errors
    /// What the peer did wrong: an alert that says so is in `outgoing`. Or [`Error::NoMemory`], [`Error::Closed`].
    pub(crate) fn advance<E>(
        &mut self,
        mut wish: Wish<'_>,
        spare: &Spare,
    ) -> Result<Step, Error<E>> {
        if let Wish::Read(into) = &mut wish
            && (!self.plain.is_empty() || into.is_empty())
        {
            return Ok(Step::Done(self.plain.take(into)));
        }
        if let Some(why) = self.failed {
            return Err(Error::Protocol(why));
        }
        if self.closed && !matches!(wish, Wish::Read(_)) {
            return Err(Error::Closed);
        }
        check_memory()?;
        if !self.outgoing.has_memory() {
            self.outgoing = spare.take();
        }
        let result = self.steps(&mut wish);
        if let Err(Error::Protocol(why) | Error::Alert(why)) = &result {
            self.failed = Some(why);
            self.encode_alert();
        }
        self.give_back(spare);
        result
    }

    /// Gives the output buffer back when it is empty.
    pub(crate) fn give_back(&mut self, spare: &Spare) {
        if self.outgoing.is_empty() && self.outgoing.has_memory() {
            spare.set(core::mem::take(&mut self.outgoing));
        }
    }

    fn steps<E>(&mut self, wish: &mut Wish<'_>) -> Result<Step, Error<E>> {
        loop {
            let UnbufferedStatus {
                mut discard, state, ..
            } = R::process(&mut self.connection, self.incoming.filled_mut());
            let mut step = None;
            match state {
                Ok(ConnectionState::ReadTraffic(mut records)) => {
                    while let Some(record) = records.next_record() {
                        let record = record.map_err(|e| Error::from_rustls(&e))?;
                        discard += record.discard;
                        let mut payload = record.payload;
                        if let Wish::Read(into) = wish
                            && step.is_none()
                        {
                            let count = payload.len().min(into.len());
                            into[..count].copy_from_slice(&payload[..count]);
                            payload = &payload[count..];
                            step = Some(Step::Done(count)).filter(|_| count > 0);
                        }
                        self.plain.append(payload)?;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut record)) => {
                    let mut size = OVERHEAD;
                    let count = loop {
                        match record.encode(self.outgoing.room(size)?) {
                            Ok(count) => break count,
                            Err(EncodeError::InsufficientSize(needed)) => {
                                size = needed.required_size;
                            }
                            Err(EncodeError::AlreadyEncoded) => break 0,
                        }
                    };
                    self.outgoing.fill(count);
                }
                // It is ours to send from here on.
                Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                Ok(ConnectionState::Closed) => {
                    self.peer_closed = true;
                    step = Some(Step::End);
                }
                Ok(ConnectionState::BlockedHandshake) => step = Some(Step::Wait),
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    step = Some(match wish {
                        Wish::Read(_) if self.peer_closed => Step::End,
                        Wish::Handshake | Wish::Read(_) => Step::Wait,
                        Wish::Write(data) => {
                            let data = &data[..data.len().min(FRAGMENT)];
                            let count = seal(&mut self.outgoing, data.len(), |room| {
                                traffic.encrypt(data, room)
                            })?;
                            self.outgoing.fill(count);
                            Step::Done(data.len())
                        }
                        Wish::Close => {
                            let count = seal(&mut self.outgoing, 0, |room| {
                                traffic.queue_close_notify(room)
                            })?;
                            self.outgoing.fill(count);
                            self.closed = true;
                            Step::Done(0)
                        }
                    });
                }
                Ok(_) => return Err(Error::Protocol("a message that does not belong there")),
                Err(error) => {
                    self.incoming.consume(discard);
                    return Err(Error::from_rustls(&error));
                }
            }
            self.incoming.consume(discard);
            match step {
                // A server may send before the handshake is over. We don't.
                Some(Step::Wait)
                    if matches!(wish, Wish::Handshake) && !self.state().is_handshaking() =>
                {
                    self.limit = RECORD + FIRST;
                    return Ok(Step::Done(0));
                }
                Some(step) => return Ok(step),
                None => {}
            }
        }
    }

    /// After an error: what rustls wants the peer to be told.
    fn encode_alert(&mut self) {
        // Only while there is something: what is left of the input is not to be looked at again.
        while self.state().wants_write() {
            let UnbufferedStatus { discard, state, .. } =
                R::process(&mut self.connection, self.incoming.filled_mut());
            match state {
                Ok(ConnectionState::EncodeTlsData(mut alert)) => {
                    if let Ok(room) = self.outgoing.room::<()>(OVERHEAD)
                        && let Ok(count) = alert.encode(room)
                    {
                        self.outgoing.fill(count);
                    }
                }
                Ok(ConnectionState::TransmitTlsData(sent)) => sent.done(),
                _ => return,
            }
            self.incoming.consume(discard);
        }
    }
}

/// Has `encrypt` write a record for `len` bytes behind what is in `outgoing`; returns how long it is.
fn seal<E>(
    outgoing: &mut Buffer,
    len: usize,
    mut encrypt: impl FnMut(&mut [u8]) -> Result<usize, EncryptError>,
) -> Result<usize, Error<E>> {
    let mut size = len + OVERHEAD;
    loop {
        match encrypt(outgoing.room(size)?) {
            Ok(count) => return Ok(count),
            Err(EncryptError::InsufficientSize(needed)) if needed.required_size > size => {
                size = needed.required_size;
            }
            Err(_) => return Err(Error::Protocol("this connection's keys are used up")),
        }
    }
}
