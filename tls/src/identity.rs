//! Who a server is: a key, and the certificates that say whose it is.

use crate::der::{self, Date};
use crate::pem::{self, Malformed, Section};
use crate::stack;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::ring::sign::{RsaSigningKey, any_ecdsa_type};
use rustls::pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer,
};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SigningKey};

/// A key and its certificates.
#[derive(Clone)]
struct Identity {
    key: Arc<CertifiedKey>,
    /// The names in the certificate, in small letters; `*.` stands for one label.
    names: Vec<String>,
    until: Date,
}

/// Keys and certificates to be shown to clients: for each name that a client may ask for (SNI) those that fit it, and the
/// first of all for who asks for another name or none.
#[derive(Clone)]
pub struct Identities(Vec<Identity>);

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identities({self})")
    }
}

/// The names, and until when: for a line in the log.
impl fmt::Display for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, identity) in self.0.iter().enumerate() {
            f.write_str(if n > 0 { "; " } else { "" })?;
            match identity.names.as_slice() {
                [] => f.write_str("a certificate without a name")?,
                names => f.write_str(&names.join(", "))?,
            }
            write!(f, " until {}", identity.until)?;
        }
        Ok(())
    }
}

/// Why a text is no identity: one line, to follow where the text is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// There is nothing in it.
    Empty,
    /// A line that can't be understood.
    Line(usize, &'static str),
    /// There are certificates and no key.
    NoKey,
    /// There is a key and no certificate.
    NoCertificate,
    /// There is neither: it is no PEM.
    NotPem,
    /// The key in this line is encrypted.
    Encrypted(usize),
    /// The key in this line can't be read, or is of a kind that is not understood.
    BadKey(usize),
    /// The certificate in this line can't be read.
    BadCertificate(usize),
    /// The key in this line belongs to none of the certificates.
    Unmatched(usize),
    /// The first certificate, in this line, belongs to none of the keys.
    Astray(usize),
    /// The certificate in this line was valid until that day.
    Expired(usize, Date),
    /// The certificate in this line is valid from that day on.
    NotYetValid(usize, Date),
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty: it must have a key and its certificates in PEM"),
            Self::Line(line, what) => write!(f, "line {line}: {what}"),
            Self::NoKey => f.write_str("there is no key in it, only certificates: append the file with the private key"),
            Self::NoCertificate => f.write_str("there is no certificate in it, only a key: append the file with the certificates"),
            Self::NotPem => f.write_str("it has neither a key nor a certificate in PEM (-----BEGIN …): is it DER, or another file?"),
            Self::Encrypted(line) => write!(
                f,
                "line {line}: the key is encrypted, and nobody is here to type a passphrase: `openssl pkey -in KEY` decrypts it"
            ),
            Self::BadKey(line) => write!(
                f,
                "line {line}: the key can't be used: it must be ECDSA (P-256, P-384) or RSA (2048 bits and more), in PKCS#8, SEC1 or PKCS#1"
            ),
            Self::BadCertificate(line) => write!(f, "line {line}: the certificate is damaged, or not of version 3"),
            Self::Unmatched(line) => write!(f, "line {line}: the key belongs to none of the certificates"),
            Self::Astray(line) => write!(
                f,
                "line {line}: the first certificate belongs to none of the keys: a server's own comes first, then its issuer's"
            ),
            Self::Expired(line, date) => write!(f, "line {line}: the certificate expired on {date}"),
            Self::NotYetValid(line, date) => write!(
                f,
                "line {line}: the certificate is not valid before {date}: is the host's clock right?"
            ),
        }
    }
}

impl core::error::Error for KeyError {}

impl From<Malformed> for KeyError {
    fn from(Malformed { line, what }: Malformed) -> Self {
        Self::Line(line, what)
    }
}

impl Identities {
    /// Reads keys and certificates in PEM, in any order but that each server's certificate is followed by those of its
    /// issuers. What else is in the text is passed over. `now` is the time since the Unix epoch.
    ///
    /// # Errors
    /// As [`KeyError`] says.
    pub fn from_pem(text: &[u8], now: Duration) -> Result<Self, KeyError> {
        if text.trim_ascii().is_empty() {
            return Err(KeyError::Empty);
        }
        let (mut keys, mut certificates) = (Vec::new(), Vec::new());
        for section in pem::sections(text) {
            let section = section?;
            match section.label {
                "CERTIFICATE" => certificates.push(Certificate::read(&section)?),
                "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Encrypted(section.line)),
                label if label.ends_with("PRIVATE KEY") => {
                    keys.push((section.line, read_key(&section)?))
                }
                _ => {}
            }
        }
        let Some(first) = certificates.first() else {
            return Err(if keys.is_empty() {
                KeyError::NotPem
            } else {
                KeyError::NoCertificate
            });
        };
        if keys.is_empty() {
            return Err(KeyError::NoKey);
        }
        if !keys.iter().any(|(_, key)| first.is_of(&**key)) {
            return Err(KeyError::Astray(first.line));
        }
        let of_key = |certificate: &Certificate| {
            let found = keys.iter().find(|(_, key)| certificate.is_of(&**key));
            found.map(|(_, key)| Arc::clone(key))
        };
        for (line, key) in &keys {
            if !certificates
                .iter()
                .any(|certificate| certificate.is_of(&**key))
            {
                return Err(KeyError::Unmatched(*line));
            }
        }
        let mut chains: Vec<(Arc<dyn SigningKey>, Vec<Certificate>)> = Vec::new();
        for certificate in certificates {
            certificate.check(now)?;
            match (of_key(&certificate), chains.last_mut()) {
                (Some(key), _) => chains.push((key, alloc::vec![certificate])),
                (None, Some((_, chain))) => chain.push(certificate),
                (None, None) => return Err(KeyError::Astray(certificate.line)),
            }
        }
        Ok(Self(
            chains
                .into_iter()
                .map(|(key, chain)| Identity::new(key, chain))
                .collect(),
        ))
    }

    /// The identity of a PKCS#8 key and the one certificate for it.
    ///
    /// # Errors
    /// When either can't be read.
    pub(crate) fn from_der(key: &[u8], certificate: &[u8]) -> Result<Self, KeyError> {
        let section = |label, der: &[u8]| Section {
            label,
            line: 0,
            der: der.to_vec().into(),
        };
        let key = read_key(&section("PRIVATE KEY", key))?;
        let certificate = Certificate::read(&section("CERTIFICATE", certificate))?;
        Ok(Self(alloc::vec![Identity::new(
            key,
            alloc::vec![certificate]
        )]))
    }

    /// Until when all of the certificates are valid.
    pub fn valid_until(&self) -> Option<Date> {
        self.0.iter().map(|identity| identity.until).min()
    }
}

impl Identity {
    fn new(key: Arc<dyn SigningKey>, chain: Vec<Certificate>) -> Self {
        let (mut names, mut until) = (Vec::new(), None);
        for certificate in &chain {
            if until.is_none() {
                names.clone_from(&certificate.names);
            }
            until = until
                .min(Some(certificate.until))
                .or(Some(certificate.until));
        }
        let until = until.unwrap_or(Date::from_unix(0));
        let chain = chain
            .into_iter()
            .map(|certificate| certificate.der)
            .collect();
        Self {
            key: Arc::new(CertifiedKey::new(chain, key)),
            names,
            until,
        }
    }

    fn is_for(&self, asked: &str) -> bool {
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(domain) => asked
                .split_once('.')
                .is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(domain)),
            None => asked.eq_ignore_ascii_case(name),
        })
    }
}

/// A certificate, and what is to be known of it.
struct Certificate {
    line: usize,
    der: CertificateDer<'static>,
    public_key: Vec<u8>,
    names: Vec<String>,
    from: Date,
    until: Date,
}

impl Certificate {
    fn read(section: &Section<'_>) -> Result<Self, KeyError> {
        let bad = KeyError::BadCertificate(section.line);
        let der = CertificateDer::from(section.der.to_vec());
        let parsed = webpki::EndEntityCert::try_from(&der).map_err(|_| bad.clone())?;
        let names = parsed
            .valid_dns_names()
            .map(str::to_ascii_lowercase)
            .collect();
        let public_key = parsed.subject_public_key_info().to_vec();
        let (from, until) = der::validity(&der).ok_or(bad)?;
        Ok(Self {
            line: section.line,
            der,
            public_key,
            names,
            from,
            until,
        })
    }

    fn is_of(&self, key: &dyn SigningKey) -> bool {
        key.public_key()
            .is_some_and(|public| public.as_ref() == self.public_key)
    }

    fn check(&self, now: Duration) -> Result<(), KeyError> {
        let now = Date::from_unix(now.as_secs());
        if now > self.until {
            return Err(KeyError::Expired(self.line, self.until));
        }
        if now < self.from {
            return Err(KeyError::NotYetValid(self.line, self.from));
        }
        Ok(())
    }
}

/// Lends a private key to ring, which keeps what it computes of it in memory of its own.
fn read_key(section: &Section<'_>) -> Result<Arc<dyn SigningKey>, KeyError> {
    let der = &section.der[..];
    let key = match section.label {
        "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der)),
        "EC PRIVATE KEY" => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(der)),
        _ => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der)),
    };
    let key = RsaSigningKey::new(&key)
        .map(|key| Arc::new(key) as Arc<dyn SigningKey>)
        .or_else(|_| any_ecdsa_type(&key));
    stack::wipe();
    key.map_err(|_| KeyError::BadKey(section.line))
}

impl ResolvesClientCert for Identities {
    /// The first: which issuers the server names makes no difference.
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let first = self.0.first()?;
        first.key.key.choose_scheme(schemes)?;
        Some(Arc::clone(&first.key))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for Identities {
    /// The first identity for the name that can sign as the client wants, or the first; without one for the name, of all.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        let can_sign = |identity: &&Identity| {
            identity
                .key
                .key
                .choose_scheme(hello.signature_schemes())
                .is_some()
        };
        let for_name = self
            .0
            .iter()
            .filter(|identity| name.is_some_and(|name| identity.is_for(name)));
        // Who asked for a name that there is gets an answer about that name, if only that nothing fits: one that can't sign as the client
        // wants ends the handshake with the alert for that (`handshake_failure`); none at all would be `access_denied`.
        let found = for_name.clone().find(can_sign).or(for_name.clone().next());
        let found = found.or_else(|| self.0.iter().find(can_sign).or(self.0.first()));
        found.map(|identity| Arc::clone(&identity.key))
    }
}
