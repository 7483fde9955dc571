//! The two ends of a connection, each with what rustls calls its own: a program that has one does not contain the other.

use core::ops::Deref;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{UnbufferedConnectionCommon, UnbufferedStatus};

/// Which end of a connection this is: [`Server`] or [`Client`].
pub trait Role: Sealed {}

/// The end that accepted.
#[derive(Debug)]
pub enum Server {}

/// The end that connected.
#[derive(Debug)]
pub enum Client {}

impl Role for Server {}
impl Role for Client {}

/// rustls's side of a role.
pub trait Sealed {
    /// A connection.
    type Connection: Deref<Target = UnbufferedConnectionCommon<Self::Data>>;
    /// What is in it.
    type Data;

    /// Goes on with the records in `incoming`.
    fn process<'c, 'i>(
        connection: &'c mut Self::Connection,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Sealed for Server {
    type Connection = UnbufferedServerConnection;
    type Data = ServerConnectionData;

    fn process<'c, 'i>(
        connection: &'c mut Self::Connection,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        connection.process_tls_records(incoming)
    }
}

impl Sealed for Client {
    type Connection = UnbufferedClientConnection;
    type Data = ClientConnectionData;

    fn process<'c, 'i>(
        connection: &'c mut Self::Connection,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        connection.process_tls_records(incoming)
    }
}
