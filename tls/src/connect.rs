//! The client's half: handshakes with servers, whose certificates are verified.

use crate::role::Client;
use crate::session::{Session, Spare};
use crate::sessions::Sessions;
use crate::start::{self, StartError, Versions};
use crate::{Error, Identities, KeyError, Limits, TlsStream, pem};
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::sync::Arc;
use core::fmt;
use embedded_io_async::{Read, Write};
use rustls::client::{Resumption, UnbufferedClientConnection};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use xenlet_kernel::time;

/// Certificates of those whose word is taken for who somebody is.
#[derive(Clone)]
pub struct Roots(pub(crate) Arc<RootCertStore>);

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.0.len())
    }
}

impl Roots {
    /// Reads certificates in PEM.
    ///
    /// # Errors
    /// As [`KeyError`] says.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let mut roots = RootCertStore::empty();
        for section in pem::sections(text) {
            let section = section?;
            if section.label == "CERTIFICATE" {
                let certificate = CertificateDer::from(section.der.to_vec());
                roots
                    .add(certificate)
                    .map_err(|_| KeyError::BadCertificate(section.line))?;
            }
        }
        if roots.is_empty() {
            return Err(KeyError::NoCertificate);
        }
        Ok(Self(Arc::new(roots)))
    }
}

/// Makes encrypted streams of those that were opened to servers.
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    limits: Limits,
    spare: Rc<Spare>,
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConnector")
    }
}

impl TlsConnector {
    /// A connector that takes the word of `roots`, and speaks these application protocols (ALPN).
    ///
    /// # Errors
    /// Without entropy, or with a clock that is plainly wrong.
    pub fn new(roots: &Roots, alpn: &[&str], versions: Versions) -> Result<Self, StartError> {
        start::check()?;
        let provider = Arc::new(start::provider(start::SIGNATURES));
        let mut config = ClientConfig::builder_with_details(provider, Arc::new(start::Kernel))
            .with_protocol_versions(versions.supported())
            .map_err(|_| StartError::NoSuites)?
            .with_root_certificates(Arc::clone(&roots.0))
            .with_no_client_auth();
        config.resumption = Resumption::store(Arc::new(Sessions::default()));
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Self {
            config: Arc::new(config),
            limits: Limits::default(),
            spare: Rc::default(),
        })
    }

    /// The same, for servers that ask who the client is: it shows the first of these identities.
    #[must_use]
    pub fn with_identity(mut self, identities: &Identities) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.client_auth_cert_resolver = Arc::new(identities.clone());
        self.config = Arc::new(config);
        self
    }

    /// Shakes hands on `stream` with the server of that name: a domain's, or an IP address.
    ///
    /// # Errors
    /// Those of the stream, and what the peer did wrong, such as not being who it should be. The stream is dropped then.
    pub async fn connect<S: Read + Write>(
        &self,
        name: &str,
        stream: S,
    ) -> Result<TlsStream<S, Client>, Error<S::Error>> {
        let name = ServerName::try_from(name.to_string());
        let name =
            name.map_err(|_| Error::Protocol("a server's name is a domain's or an IP address"))?;
        crate::buffer::check_memory()?;
        let connection = UnbufferedClientConnection::new(Arc::clone(&self.config), name);
        let connection = connection.map_err(|e| Error::from_rustls(&e))?;
        let session = Session::<Client>::new(connection, self.limits.handshake_bytes);
        let mut stream = TlsStream::new(stream, session, Rc::clone(&self.spare));
        let shaken = async {
            stream.handshake().await?;
            // The server waits for the last of it.
            stream.flush().await
        };
        match time::timeout(self.limits.handshake_time, shaken).await {
            Ok(result) => result.map(|()| stream),
            Err(_) => Err(Error::TimedOut),
        }
    }
}
