//! Session tickets (RFC 8446 §4.6.1): a session's state, encrypted with a key that nobody else has, kept by the client. So
//! resuming costs the server no memory.
//!
//! Each key encrypts for six hours and decrypts for six more; then its bytes are wiped, and nobody can read those sessions
//! any more. What rustls makes of a ticket never allows 0-RTT.

use alloc::vec::Vec;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::server::ProducesTickets;
use spin::Mutex;
use xenlet_kernel::entropy;
use xenlet_kernel::time::{Duration, Instant, round};
use zeroize::Zeroizing;

/// How long a key encrypts.
const PERIOD: Duration = Duration::from_secs(6 * 3600);
/// How long a ticket is good for, at most: RFC 8446 allows seven days.
const LIFETIME_SECS: u32 = 12 * 3600;

/// A ticket: which key, a nonce, the state encrypted, its tag.
const KEY_NAME_LEN: usize = 8;
const HEAD_LEN: usize = KEY_NAME_LEN + NONCE_LEN;

struct Key {
    name: [u8; KEY_NAME_LEN],
    secret: Zeroizing<[u8; 32]>,
    made: Instant,
}

impl Key {
    fn new(now: Instant) -> Option<Self> {
        let mut key = Self {
            name: [0; KEY_NAME_LEN],
            secret: Zeroizing::new([0; 32]),
            made: now,
        };
        entropy::fill(&mut key.name).ok()?;
        entropy::fill(&mut *key.secret).ok()?;
        Some(key)
    }

    /// Made for each use, so that nothing of it is left behind when the key is dropped.
    fn cipher(&self) -> Option<LessSafeKey> {
        let key = UnboundKey::new(&AES_256_GCM, &*self.secret);
        key.ok().map(LessSafeKey::new)
    }
}

/// The key that encrypts, and the one before it.
#[derive(Default)]
pub(crate) struct Tickets(Mutex<[Option<Key>; 2]>);

impl core::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Tickets")
    }
}

/// Forgets keys whose time is over. Returns whether one is left that encrypts.
fn expire([current, former]: &mut [Option<Key>; 2], now: Instant) -> bool {
    if former
        .as_ref()
        .is_some_and(|key| now.since(key.made) >= 2 * PERIOD)
    {
        *former = None;
    }
    if let Some(key) = current.take_if(|key| now.since(key.made) >= PERIOD)
        && now.since(key.made) < 2 * PERIOD
    {
        *former = Some(key);
    }
    current.is_some()
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_SECS
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let (now, mut keys) = (round(), self.0.lock());
        if !expire(&mut keys, now) {
            keys[0] = Some(Key::new(now)?);
        }
        let key = keys[0].as_ref()?;
        let mut nonce = [0; NONCE_LEN];
        entropy::fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(HEAD_LEN + plain.len() + AES_256_GCM.tag_len());
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(plain);
        let (nonce, aad) = (Nonce::assume_unique_for_key(nonce), Aad::from(key.name));
        let state = &mut ticket[HEAD_LEN..];
        let tag = key.cipher()?.seal_in_place_separate_tag(nonce, aad, state);
        ticket.extend_from_slice(tag.ok()?.as_ref());
        Some(ticket)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<KEY_NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut keys = self.0.lock();
        expire(&mut keys, round());
        let key = keys.iter().flatten().find(|key| key.name == *name)?;
        let (nonce, aad) = (Nonce::assume_unique_for_key(*nonce), Aad::from(*name));
        let mut state = sealed.to_vec();
        let len = key
            .cipher()?
            .open_in_place(nonce, aad, &mut state)
            .ok()?
            .len();
        state.truncate(len);
        Some(state)
    }
}

#[cfg(all(test, not(xenlet = "unix")))]
mod tests {
    use super::*;
    use xenlet_kernel::{hosted, time};

    #[test]
    fn a_ticket_is_read_for_twelve_hours_at_most() {
        hosted::test(async || {
            let tickets = Tickets::default();
            let first = tickets.encrypt(b"state").unwrap();
            assert_eq!(tickets.decrypt(&first).as_deref(), Some(&b"state"[..]));
            time::sleep(PERIOD).await;
            let second = tickets.encrypt(b"other").unwrap();
            assert_ne!(first[..KEY_NAME_LEN], second[..KEY_NAME_LEN], "another key");
            assert!(
                tickets.decrypt(&first).is_some(),
                "the former key still reads"
            );
            time::sleep(PERIOD).await;
            assert!(tickets.decrypt(&first).is_none());
            assert!(tickets.decrypt(&second).is_some());
            time::sleep(10 * PERIOD).await;
            assert!(tickets.decrypt(&second).is_none());
            assert!(
                tickets.0.lock().iter().all(Option::is_none),
                "no key is kept"
            );
        });
    }

    #[test]
    fn a_ticket_that_was_changed_is_none() {
        hosted::test(async || {
            let tickets = Tickets::default();
            let ticket = tickets.encrypt(b"state").unwrap();
            for at in 0..ticket.len() {
                let mut changed = ticket.clone();
                changed[at] ^= 1;
                assert_eq!(tickets.decrypt(&changed), None, "byte {at}");
                assert_eq!(tickets.decrypt(&ticket[..at]), None, "cut at {at}");
            }
            assert_ne!(tickets.encrypt(b"state").unwrap(), ticket, "another nonce");
        });
    }

    #[test]
    fn without_entropy_there_are_no_tickets() {
        let config = hosted::Config {
            no_entropy: true,
            ..hosted::Config::default()
        };
        hosted::run(config, async || {
            assert_eq!(Tickets::default().encrypt(b"state"), None);
        });
    }
}
