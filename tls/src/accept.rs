//! The server's half: handshakes of those who connect.

use crate::gate::Gate;
use crate::role::Server;
use crate::session::{Session, Spare};
use crate::stack;
use crate::start::{self, StartError, Versions};
use crate::ticket::Tickets;
use crate::{Error, Identities, Roots, TlsStream};
use alloc::rc::Rc;
use alloc::sync::Arc;
use core::cell::RefCell;
use core::fmt;
use core::time::Duration;
use embedded_io_async::{Read, Write};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{UnbufferedServerConnection, WebPkiClientVerifier};
use xenlet_kernel::{time, trace};

/// What a handshake may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long it may take, waiting for its turn included.
    pub handshake_time: Duration,
    /// How long a message of it may be, in bytes: a chain of certificates is the longest. What is less than a record, 18,437
    /// bytes, counts as that.
    pub handshake_bytes: usize,
    /// How many there may be at once, of those whose clients have said something; the others wait for their turn.
    pub handshakes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_time: Duration::from_secs(10),
            handshake_bytes: 20 * 1024,
            handshakes: 512,
        }
    }
}

/// What is offered to clients.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// What a handshake may cost.
    pub limits: Limits,
    /// Application protocols (ALPN), the preferred first. None: whatever the client wants.
    pub alpn: &'static [&'static str],
    /// Which versions of TLS are spoken.
    pub versions: Versions,
}

/// Makes encrypted streams of those that clients open. One is for all connections of a service.
pub struct TlsAcceptor {
    config: RefCell<Arc<ServerConfig>>,
    limits: Limits,
    gate: Gate,
    spare: Rc<Spare>,
}

impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsAcceptor")
    }
}

impl TlsAcceptor {
    /// An acceptor that shows `identities`.
    ///
    /// # Errors
    /// Without entropy, or with a clock that is plainly wrong.
    pub fn new(identities: Identities, options: &Options) -> Result<Self, StartError> {
        // Nobody's certificate is asked for.
        let verified = WebPkiSupportedAlgorithms {
            all: &[],
            mapping: &[],
        };
        let nobody = WebPkiClientVerifier::no_client_auth();
        Self::build(start::provider(verified), nobody, identities, options)
    }

    /// An acceptor that asks clients for a certificate by one of `clients`, and refuses those that show another one; those
    /// that show none too, if it is `required`. [`TlsStream::peer_certificate`] is what was shown; a session that is resumed has what was
    /// shown when it began, twelve hours ago at most.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_clients(
        identities: Identities,
        options: &Options,
        clients: &Roots,
        required: bool,
    ) -> Result<Self, StartError> {
        let provider = start::provider(start::SIGNATURES);
        let roots = Arc::clone(&clients.0);
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::new(provider.clone()));
        let verifier = if required {
            verifier
        } else {
            verifier.allow_unauthenticated()
        };
        // There is at least one root: nothing else can be wrong.
        let verifier = verifier.build().map_err(|_| StartError::NoSuites)?;
        Self::build(provider, verifier, identities, options)
    }

    fn build(
        provider: CryptoProvider,
        clients: Arc<dyn ClientCertVerifier>,
        identities: Identities,
        options: &Options,
    ) -> Result<Self, StartError> {
        start::check()?;
        let (provider, time) = (Arc::new(provider), Arc::new(start::Kernel));
        let mut config = ServerConfig::builder_with_details(provider, time)
            .with_protocol_versions(options.versions.supported())
            .map_err(|_| StartError::NoSuites)?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::new(identities));
        // The order of ours is by what processors are good at; scanners want a server to have one.
        config.ignore_client_order = true;
        config.ticketer = Arc::new(Tickets::default());
        // A client uses a ticket once, and is given another each time. More would be for those that open several connections at once
        // after the first; they cost each handshake.
        config.send_tls13_tickets = 1;
        config.alpn_protocols = options
            .alpn
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Ok(Self {
            config: RefCell::new(Arc::new(config)),
            limits: options.limits,
            gate: Gate::new(options.limits.handshakes),
            spare: Rc::default(),
        })
    }

    /// Shows other identities from the next handshake on. Connections that there are go on.
    pub fn replace(&self, identities: Identities) {
        let mut config = ServerConfig::clone(&self.config.borrow());
        config.cert_resolver = Arc::new(identities);
        *self.config.borrow_mut() = Arc::new(config);
    }

    /// Shakes hands on `stream`, within the limits.
    ///
    /// # Errors
    /// Those of the stream, and what the peer did wrong. The stream is dropped then.
    pub async fn accept<S: Read + Write>(
        &self,
        stream: S,
    ) -> Result<TlsStream<S>, Error<S::Error>> {
        let shaken = async {
            let _span = trace::span("TLS handshake");
            crate::buffer::check_memory()?;
            let config = Arc::clone(&self.config.borrow());
            let connection =
                UnbufferedServerConnection::new(config).map_err(|e| Error::from_rustls(&e))?;
            let session = Session::<Server>::new(connection, self.limits.handshake_bytes);
            let mut stream = TlsStream::new(stream, session, Rc::clone(&self.spare));
            // Who says nothing takes no place.
            stream.fill().await?;
            let _place = self.gate.enter().await;
            let shaken = stream.handshake().await;
            // With what a signature was made with, and the signature, the key can be computed.
            stack::wipe();
            shaken.map(|()| stream)
        };
        match time::timeout(self.limits.handshake_time, shaken).await {
            Ok(result) => result,
            Err(_) => Err(Error::TimedOut),
        }
    }
}
