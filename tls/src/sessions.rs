//! What a client keeps of its sessions, to resume them: a few tickets of the servers it talked to last.

use alloc::collections::VecDeque;
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;
use spin::Mutex;

/// Tickets at most, of all servers: the oldest are forgotten.
const TICKETS: usize = 16;

/// Tickets of TLS 1.3, the oldest first. Sessions of TLS 1.2 are not resumed.
#[derive(Default)]
pub(crate) struct Sessions(Mutex<VecDeque<(ServerName<'static>, Tls13ClientSessionValue)>>);

impl core::fmt::Debug for Sessions {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Sessions")
    }
}

impl ClientSessionStore for Sessions {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, server: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.0.lock();
        if tickets.len() == TICKETS {
            tickets.pop_front();
        }
        tickets.push_back((server, ticket));
    }

    /// The newest, and once: a ticket that is used again tells who listens that it is the same client.
    fn take_tls13_ticket(&self, server: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut tickets = self.0.lock();
        let place = tickets.iter().rposition(|(name, _)| name == server)?;
        tickets.remove(place).map(|(_, ticket)| ticket)
    }
}
