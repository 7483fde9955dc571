//! A CA, servers' keys, and both ends of a connection.

use crate::pipe::{End, pipe};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
    SignatureAlgorithm, date_time_ymd,
};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use xenlet_kernel::hosted::{self, Config};
use xenlet_kernel::run::spawn;
use xenlet_tls::{
    Client, Error, Identities, Options, Roots, Server, TlsAcceptor, TlsConnector, TlsStream,
    Versions,
};

/// The day of all tests: in October 2026.
pub(crate) const NOW: Duration = Duration::from_secs(1_792_000_000);

pub(crate) type Fault = Error<Infallible>;

/// Runs a test's body as a domain whose clock says [`NOW`].
pub(crate) fn test<T: Send + 'static>(body: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    let config = Config {
        wall: Some(NOW),
        ..Config::default()
    };
    let ended = hosted::run(config, body);
    ended
        .value
        .unwrap_or_else(|| panic!("the domain ended first:\n{}", ended.console))
}

/// Somebody whose word is taken.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// Years from which and until which a certificate is valid.
pub(crate) const YEARS: (i32, i32) = (2026, 2027);

impl Ca {
    pub(crate) fn new() -> Self {
        Self::named("a CA for a test")
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate and its key, in PEM.
    pub(crate) fn issue(&self, names: &[&str], years: (i32, i32)) -> (String, String) {
        self.issue_with(names, years, &PKCS_ECDSA_P256_SHA256)
    }

    pub(crate) fn issue_with(
        &self,
        names: &[&str],
        years: (i32, i32),
        algorithm: &'static SignatureAlgorithm,
    ) -> (String, String) {
        let common_name = names.first().copied().unwrap_or_default();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::from_pem(self.pem.as_bytes()).unwrap()
    }

    pub(crate) fn identities(&self, names: &[&str]) -> Identities {
        let (certificate, key) = self.issue(names, YEARS);
        Identities::from_pem((key + &certificate).as_bytes(), NOW).unwrap()
    }

    pub(crate) fn acceptor(&self, options: &Options) -> Rc<TlsAcceptor> {
        let identities = self.identities(&["guest.test"]);
        Rc::new(TlsAcceptor::new(identities, options).unwrap())
    }

    pub(crate) fn connector(&self) -> TlsConnector {
        TlsConnector::new(&self.roots(), &[], Versions::Tls12).unwrap()
    }
}

pub(crate) type Near = TlsStream<End, Server>;
pub(crate) type Far = TlsStream<End, Client>;

/// Shakes hands over a pipe of this size; what became of it at the server's end and at the client's.
pub(crate) async fn shake(
    acceptor: &Rc<TlsAcceptor>,
    connector: &TlsConnector,
    name: &str,
    size: usize,
) -> (Result<Near, Fault>, Result<Far, Fault>) {
    let (near, far) = pipe(size);
    let acceptor = Rc::clone(acceptor);
    let accepted = spawn(async move { acceptor.accept(near).await });
    let connected = connector.connect(name, far).await;
    (accepted.await, connected)
}

/// Both ends of a connection.
pub(crate) async fn connection(size: usize) -> (Near, Far) {
    let ca = Ca::new();
    let acceptor = ca.acceptor(&Options::default());
    let (near, far) = shake(&acceptor, &ca.connector(), "guest.test", size).await;
    (near.unwrap(), far.unwrap())
}
