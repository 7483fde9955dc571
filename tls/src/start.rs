//! What must be there before anything is encrypted: entropy, and a clock that can be right.

use crate::table;
use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;
use rustls::crypto::{
    CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, WebPkiSupportedAlgorithms,
};
use rustls::pki_types::{PrivateKeyDer, UnixTime};
use rustls::sign::SigningKey;
use rustls::time_provider::TimeProvider;
use rustls::{SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion};
use rustls::{crypto::ring, version};
use xenlet_kernel::entropy::{self, NoEntropy};
use xenlet_kernel::time;

/// The first of January 2026: no clock that is right is before it.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);

/// Why TLS does not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// There is nothing to make keys of.
    NoEntropy(NoEntropy),
    /// The host did not say what time it is.
    NoClock,
    /// The host's clock is wrong: it says this, since the Unix epoch.
    WrongClock(Duration),
    /// There is no cipher for the versions that are asked for.
    NoSuites,
    /// No key could be made.
    NoKey,
    /// This image does not compute as it should.
    BadTable,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEntropy(error) => write!(f, "TLS does not start: {error}"),
            Self::NoClock => {
                f.write_str("TLS does not start: the host has not said what time it is")
            }
            Self::NoKey => f.write_str("TLS does not start: no key could be made"),
            Self::BadTable => f.write_str(
                "TLS does not start: this image computes wrong points of P-256; it was linked with a ring that has another table",
            ),
            Self::NoSuites => {
                f.write_str("TLS does not start: there is no cipher for the versions asked for")
            }
            Self::WrongClock(now) => write!(
                f,
                "TLS does not start: the host's clock is wrong; it says {} seconds since 1970, which is before 2026",
                now.as_secs()
            ),
        }
    }
}

impl core::error::Error for StartError {}

/// The time, if there is all that TLS needs.
///
/// # Errors
/// As [`StartError`] says.
pub fn check() -> Result<Duration, StartError> {
    entropy::fill(&mut [0; 32]).map_err(StartError::NoEntropy)?;
    if !table::is_ready() {
        return Err(StartError::BadTable);
    }
    match time::wall() {
        None => Err(StartError::NoClock),
        Some(now) if now < EARLIEST => Err(StartError::WrongClock(now)),
        Some(now) => Ok(now),
    }
}

/// Time and randomness from the kernel.
#[derive(Debug)]
pub(crate) struct Kernel;

impl TimeProvider for Kernel {
    fn current_time(&self) -> Option<UnixTime> {
        time::wall().map(UnixTime::since_unix_epoch)
    }
}

impl SecureRandom for Kernel {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        entropy::fill(bytes).map_err(|_| GetRandomFailed)
    }
}

impl KeyProvider for Kernel {
    fn load_private_key(
        &self,
        key: PrivateKeyDer<'static>,
    ) -> Result<Arc<dyn SigningKey>, rustls::Error> {
        // `Identities` are what reads keys here.
        ring::sign::any_ecdsa_type(&key)
    }
}

/// What is on offer: AES-GCM with forward secrecy, which processors have instructions for and every client has. `verified`
/// is which signatures of a peer's certificate are understood.
pub(crate) fn provider(verified: WebPkiSupportedAlgorithms) -> CryptoProvider {
    use ring::{cipher_suite as suite, kx_group as group};
    const SUITES: &[SupportedCipherSuite] = &[
        suite::TLS13_AES_128_GCM_SHA256,
        suite::TLS13_AES_256_GCM_SHA384,
        #[cfg(feature = "tls12")]
        suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        #[cfg(feature = "tls12")]
        suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        #[cfg(feature = "tls12")]
        suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        #[cfg(feature = "tls12")]
        suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ];
    CryptoProvider {
        cipher_suites: SUITES.to_vec(),
        kx_groups: alloc::vec![group::X25519, group::SECP256R1, group::SECP384R1],
        signature_verification_algorithms: verified,
        secure_random: &Kernel,
        key_provider: &Kernel,
    }
}

/// The signatures that certificates of others, and their owners' handshakes, may have: those that CAs make. (rustls has such a list,
/// which an image would have together with every cipher.)
pub(crate) const SIGNATURES: WebPkiSupportedAlgorithms = {
    use webpki::ring as webpki;
    WebPkiSupportedAlgorithms {
        all: &[
            webpki::ECDSA_P256_SHA256,
            webpki::ECDSA_P256_SHA384,
            webpki::ECDSA_P384_SHA256,
            webpki::ECDSA_P384_SHA384,
            webpki::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
            webpki::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
            webpki::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
            webpki::RSA_PKCS1_2048_8192_SHA256,
            webpki::RSA_PKCS1_2048_8192_SHA384,
            webpki::RSA_PKCS1_2048_8192_SHA512,
        ],
        // Those of handshakes, the preferred first. In TLS 1.2 a curve and a hash may be of different lengths.
        mapping: &[
            (
                SignatureScheme::ECDSA_NISTP256_SHA256,
                &[webpki::ECDSA_P256_SHA256, webpki::ECDSA_P384_SHA256],
            ),
            (
                SignatureScheme::ECDSA_NISTP384_SHA384,
                &[webpki::ECDSA_P384_SHA384, webpki::ECDSA_P256_SHA384],
            ),
            (
                SignatureScheme::RSA_PSS_SHA256,
                &[webpki::RSA_PSS_2048_8192_SHA256_LEGACY_KEY],
            ),
            (
                SignatureScheme::RSA_PSS_SHA384,
                &[webpki::RSA_PSS_2048_8192_SHA384_LEGACY_KEY],
            ),
            (
                SignatureScheme::RSA_PSS_SHA512,
                &[webpki::RSA_PSS_2048_8192_SHA512_LEGACY_KEY],
            ),
            (
                SignatureScheme::RSA_PKCS1_SHA256,
                &[webpki::RSA_PKCS1_2048_8192_SHA256],
            ),
            (
                SignatureScheme::RSA_PKCS1_SHA384,
                &[webpki::RSA_PKCS1_2048_8192_SHA384],
            ),
            (
                SignatureScheme::RSA_PKCS1_SHA512,
                &[webpki::RSA_PKCS1_2048_8192_SHA512],
            ),
        ],
    }
};

/// Which versions of TLS are spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// TLS 1.3 alone.
    #[default]
    Tls13,
    /// TLS 1.2 too, with those who don't have 1.3.
    #[cfg(feature = "tls12")]
    Tls12,
}

impl Versions {
    pub(crate) fn supported(self) -> &'static [&'static SupportedProtocolVersion] {
        const TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];
        #[cfg(feature = "tls12")]
        const TLS12: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
        match self {
            Self::Tls13 => TLS13,
            #[cfg(feature = "tls12")]
            Self::Tls12 => TLS12,
        }
    }
}
