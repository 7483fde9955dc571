//! Who may do what: each role has a token, sent as `Authorization: Bearer TOKEN` (RFC 6750); over TLS, who has shown a certificate
//! with the role's name as its subject's common name has the role too.

use crate::refusal::Refusal;
use alloc::rc::Rc;
use core::cell::Cell;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use xenlet_http::access::{TokenError, bearer, is_token};
use xenlet_http::{Request, Status};
use xenlet_kernel::cmdline;
#[cfg(not(xenlet = "unix"))]
use xenlet_kernel::{run, xenstore};
use xenlet_net::Peer;

/// What a client may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// May put uploads.
    Uploader,
    /// May list, fetch and delete them.
    Downloader,
}

impl Role {
    const ALL: [Self; 2] = [Self::Uploader, Self::Downloader];

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == name)
    }

    /// Its word on the command line, and the common name of its certificates.
    fn word(self) -> &'static str {
        match self {
            Self::Uploader => "uploader",
            Self::Downloader => "downloader",
        }
    }

    /// Its token's path in xenstore, relative to the domain's own.
    fn path(self) -> &'static str {
        match self {
            Self::Uploader => "data/uploader",
            Self::Downloader => "data/downloader",
        }
    }
}

/// A token's SHA-256. The token itself is kept nowhere; and what is compared has one length, whatever is sent.
type Hash = [u8; 32];

fn hash(token: &[u8]) -> Hash {
    Sha256::digest(token).into()
}

/// The tokens of both roles.
#[derive(Debug, Default)]
pub(crate) struct Tokens([Cell<Option<Hash>>; 2]);

impl Tokens {
    /// The tokens that the operator has given, beside those that are known. Those in xenstore are followed when they change.
    pub(crate) async fn load(self) -> Rc<Self> {
        let tokens = Rc::new(self);
        for role in Role::ALL {
            match cmdline::get(role.word()) {
                _ if tokens.place(role).get().is_some() => {}
                Some(token) => tokens.set(role, Some(token)),
                None => Self::load_stored(&tokens, role).await,
            }
            if tokens.place(role).get().is_none() {
                log::warn!(
                    target: "queue",
                    "there is no token for the {0}, whose requests are all refused{2}; set one by {0}=TOKEN on the command \
                     line, or in the host by: xenstore-write /local/domain/DOMID/{1} TOKEN",
                    role.word(),
                    role.path(),
                    if cfg!(feature = "tls") { " but with a certificate" } else { "" }
                );
            }
        }
        tokens
    }

    #[cfg(not(xenlet = "unix"))]
    async fn load_stored(tokens: &Rc<Self>, role: Role) {
        let read = move || async move { xenstore::read(role.path()).await.ok() };
        let mut seen = read().await;
        tokens.set(role, seen.as_deref());
        let tokens = Rc::clone(tokens);
        run::spawn(async move {
            // Without the watch, or when xenstored is gone, things stay as they are.
            let Ok(mut watch) = xenstore::watch(role.path()).await else {
                return;
            };
            while watch.changed().await.is_ok() {
                let now = read().await;
                if now != seen {
                    let what = if now.is_some() { "new" } else { "no more" };
                    log::info!(target: "queue", "the {} has a {what} token", role.word());
                    tokens.set(role, now.as_deref());
                    seen = now;
                }
            }
        });
    }

    #[cfg(xenlet = "unix")]
    async fn load_stored(_: &Rc<Self>, _: Role) {}

    fn place(&self, role: Role) -> &Cell<Option<Hash>> {
        &self.0[role as usize]
    }

    fn set(&self, role: Role, token: Option<&str>) {
        let token = token.map(str::trim_ascii);
        let usable = token.filter(|token| is_token(token.as_bytes()));
        if token.is_some() && usable.is_none() {
            let why = TokenError::Characters;
            log::error!(target: "queue", "the {}'s token: {why}", role.word());
        }
        self.place(role)
            .set(usable.map(|token| hash(token.as_bytes())));
    }

    /// Gives the role that has this name its token.
    ///
    /// # Errors
    /// No role has the name, or the token can't be sent.
    #[cfg(feature = "tls")]
    pub(crate) fn give(&self, name: &str, token: &[u8]) -> Result<(), TokenError> {
        let role = Role::named(name).ok_or(TokenError::Unknown)?;
        if self.place(role).get().is_some() {
            return Err(TokenError::Twice);
        }
        if !is_token(token) {
            return Err(TokenError::Characters);
        }
        self.place(role).set(Some(hash(token)));
        Ok(())
    }

    /// Checks that the request comes from `role`: from this peer, if it has shown who it is.
    ///
    /// # Errors
    /// 401 without a known token; 403 with the other role's token or certificate, and if this role has no token.
    pub(crate) fn check(
        &self,
        request: &Request<'_>,
        peer: Option<&Peer>,
        role: Role,
    ) -> Result<(), Refusal> {
        let shown = peer.and_then(|peer| Role::named(&peer.name));
        if shown == Some(role) {
            return Ok(());
        }
        let Some(own) = self.place(role).get() else {
            return Err(Refusal::new(
                Status::FORBIDDEN,
                "No token is set for this role; the guest's console says how.",
            ));
        };
        let given = hash(
            request
                .value("Authorization")
                .and_then(bearer)
                .unwrap_or(b""),
        );
        let any = Role::ALL.iter().fold(Choice::from(0), |any, role| {
            any | self
                .place(*role)
                .get()
                .map_or(Choice::from(0), |hash| hash.ct_eq(&given))
        });
        if own.ct_eq(&given).into() {
            Ok(())
        } else if shown.is_some() || any.into() {
            Err(Refusal::new(
                Status::FORBIDDEN,
                "This token, or certificate, is for another role.",
            ))
        } else {
            Err(Refusal::new(
                Status::UNAUTHORIZED,
                "Send the role's token as `Authorization: Bearer TOKEN`.",
            )
            .with("WWW-Authenticate", "Bearer realm=\"queue\""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_token_is_none() {
        let tokens = Tokens::default();
        for unusable in [None, Some(""), Some("  "), Some("a b")] {
            tokens.set(Role::Uploader, unusable);
            assert_eq!(tokens.place(Role::Uploader).get(), None, "{unusable:?}");
        }
        tokens.set(Role::Uploader, Some(" abc\n"));
        assert_eq!(tokens.place(Role::Uploader).get(), Some(hash(b"abc")));
        assert_eq!(tokens.place(Role::Downloader).get(), None);
    }
}
