//! What can go wrong on a connection, in words for people.

use core::fmt;
use embedded_io_async::ErrorKind;
use rustls::AlertDescription as Alert;

/// Why a handshake failed or a stream ended. `E` is the error of the stream below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<E> {
    /// The stream below failed.
    Stream(E),
    /// The peer broke the protocol, or wants what is not offered; the text says which. It was told by an alert.
    Protocol(&'static str),
    /// The peer ended the connection by an alert; the text says what it complains about.
    Alert(&'static str),
    /// The stream below ended and the peer had not said that it would (`close_notify`): what was received may be only
    /// a part of what was sent.
    Truncated,
    /// The handshake took longer than [`Limits::handshake_time`](crate::Limits::handshake_time).
    TimedOut,
    /// The peer did not take what it was sent.
    Stalled,
    /// The peer sent a message of more than [`Limits::handshake_bytes`](crate::Limits::handshake_bytes).
    TooLong,
    /// There is no memory to go on with.
    NoMemory,
    /// This end of the stream was closed before.
    Closed,
}

impl<E> Error<E> {
    /// What rustls says, in fewer words.
    pub(crate) fn from_rustls(error: &rustls::Error) -> Self {
        use rustls::Error as E;
        Self::Protocol(match error {
            E::AlertReceived(alert) => return Self::Alert(alert_text(*alert)),
            E::PeerSentOversizedRecord => "a record that is longer than records may be",
            E::InappropriateMessage { .. } | E::InappropriateHandshakeMessage { .. } => {
                "a message that does not belong there"
            }
            E::InvalidMessage(_) => "a malformed message: this may not be TLS at all",
            E::DecryptError => "a record that was changed on its way",
            E::PeerIncompatible(_) => "no version, cipher suite, group or signature that both have",
            E::PeerMisbehaved(_) => "the peer broke the protocol's rules",
            E::InvalidCertificate(why) => certificate_text(why),
            E::NoCertificatesPresented => "a certificate is asked for, and the peer showed none",
            E::NoApplicationProtocol => "no application protocol (ALPN) that both have",
            E::FailedToGetCurrentTime => "the time is not known here",
            E::FailedToGetRandomBytes => "there is no entropy here",
            _ => "the handshake failed",
        })
    }
}

fn certificate_text(error: &rustls::CertificateError) -> &'static str {
    use rustls::CertificateError as C;
    match error {
        C::Expired | C::ExpiredContext { .. } => "the peer's certificate has expired",
        C::NotValidYet | C::NotValidYetContext { .. } => "the peer's certificate is not valid yet",
        C::UnknownIssuer => "the peer's certificate is of an issuer that is not trusted here",
        C::NotValidForName | C::NotValidForNameContext { .. } => {
            "the peer's certificate is for another name"
        }
        C::BadSignature => "the peer's certificate has a wrong signature",
        C::Revoked => "the peer's certificate was revoked",
        _ => "the peer's certificate is not acceptable",
    }
}

/// What an alert of the peer says (RFC 8446 §6).
fn alert_text(alert: Alert) -> &'static str {
    match alert {
        Alert::UserCanceled => "the peer gave up",
        Alert::UnexpectedMessage => "the peer did not expect that message",
        Alert::BadRecordMac | Alert::DecryptError | Alert::DecryptionFailed => {
            "the peer could not decrypt what it received"
        }
        Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            "the peer found nothing that both have"
        }
        Alert::ProtocolVersion => "the peer does not have this version of TLS",
        Alert::BadCertificate | Alert::UnsupportedCertificate => {
            "the peer does not accept this certificate"
        }
        Alert::CertificateExpired => "the peer says that this certificate has expired",
        Alert::CertificateRevoked => "the peer says that this certificate was revoked",
        Alert::CertificateUnknown | Alert::UnknownCA => {
            "the peer does not trust this certificate's issuer"
        }
        Alert::CertificateRequired => "the peer wants a certificate",
        Alert::AccessDenied => "the peer denies access",
        Alert::UnrecognisedName => "the peer does not know the name it was asked for",
        Alert::NoApplicationProtocol => "the peer has none of the application protocols",
        Alert::InternalError => "the peer has an error of its own",
        _ => "the peer ended the connection",
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stream(error) => error.fmt(f),
            Self::Protocol(what) => write!(f, "TLS: {what}"),
            Self::Alert(what) => write!(f, "TLS alert: {what}"),
            Self::Truncated => f.write_str("TLS: the peer hung up without saying so"),
            Self::TimedOut => f.write_str("TLS: the handshake took too long"),
            Self::Stalled => f.write_str("TLS: the peer takes nothing"),
            Self::TooLong => f.write_str("TLS: the peer sent too much at once"),
            Self::NoMemory => f.write_str("TLS: there is no memory to go on with"),
            Self::Closed => f.write_str("TLS: this end of the stream was closed"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for Error<E> {}

impl<E: embedded_io_async::Error + fmt::Display> embedded_io_async::Error for Error<E> {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Stream(error) => error.kind(),
            Self::Protocol(_) | Self::TooLong | Self::Truncated => ErrorKind::InvalidData,
            Self::Alert(_) => ErrorKind::ConnectionAborted,
            Self::TimedOut | Self::Stalled => ErrorKind::TimedOut,
            Self::NoMemory => ErrorKind::OutOfMemory,
            Self::Closed => ErrorKind::BrokenPipe,
        }
    }
}
