//! A server's TLS as the operator of its guest sets it up: words of the command line, and a file with the key.
//!
//! | word | what it does | without it |
//! | --- | --- | --- |
//! | `tls=selfsigned` | makes a key and a certificate that nobody vouches for | the boot module's |
//! | `tls=xvdb` | takes the file from the begin of a disk (the feature `disk`) | the boot module |
//! | `tls=off` | serves in the clear | TLS |
//! | `tls12` | speaks TLS 1.2 too (the feature `tls12`) | TLS 1.3 alone |
//!
//! The file is PEM, and lines between its sections:
//!
//! ```text
//! -----BEGIN PRIVATE KEY----- …     the server's key, and its certificate with those of its issuers
//! -----BEGIN CERTIFICATE----- …
//! token operator: 2f8c…             what somebody sends as `Authorization: Bearer 2f8c…`
//! clients:                          from here on: CAs whose clients are asked for a certificate
//! -----BEGIN CERTIFICATE----- …
//! ```
//!
//! Tokens are here, and not on the command line, which every domain of the host may read. With `tls=` of any kind they are read
//! from the boot module, if there is one, all the same; it is always wiped.
//!
//! Another key comes while the guest runs: the host writes it to `data/tls` in xenstore, or the name of the disk that has it.

#[cfg(not(xenlet = "unix"))]
mod renew;
mod source;
mod text;

use crate::{Options, TlsAcceptor, Versions, check, selfsigned};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use source::Source;
use xenlet_kernel::cmdline;

/// The acceptor that the operator wants, which follows what the operator changes; `None` for none. `token` takes the file's
/// tokens, by name. `CLIENTS` is whether certificates of clients are of use: what verifies them is in the image only then.
///
/// # Errors
/// One line: there is no key, or something is wrong with it, or with a token; or TLS can't be started.
pub async fn set_up<const CLIENTS: bool, E: fmt::Display>(
    alpn: &'static [&'static str],
    mut token: impl FnMut(&str, &[u8]) -> Result<(), E>,
) -> Result<Option<Rc<TlsAcceptor>>, String> {
    let mode = cmdline::get("tls");
    if mode.is_some() {
        source::module(|text| text::tokens(text, &mut token))?;
    }
    if mode == Some("off") {
        return Ok(None);
    }
    let now = check().map_err(|why| why.to_string())?;
    let read = |text: &[u8]| text::read::<CLIENTS, E>(text, now, &mut token);
    let (identities, clients) = match mode {
        None => Source::Module.lend(read).await?,
        Some("selfsigned") => {
            let own = cmdline::get("ip").and_then(|ip| ip.split('/').next());
            let names: Vec<&str> = ["localhost", "127.0.0.1"].into_iter().chain(own).collect();
            (selfsigned(&names).map_err(|why| why.to_string())?, None)
        }
        Some(word) => match Source::disk(word) {
            Some(disk) => disk.lend(read).await?,
            None => {
                return Err(format!(
                    "tls={word}: it is off or selfsigned{}, or left out where the boot module has a key",
                    if cfg!(feature = "disk") {
                        " or the name of a disk"
                    } else {
                        ""
                    }
                ));
            }
        },
    };
    log::info!(target: "tls", "the certificate is for {identities}");
    let options = Options {
        alpn,
        versions: versions()?,
        ..Options::default()
    };
    let acceptor = match clients {
        Some(clients) if CLIENTS => {
            TlsAcceptor::with_clients(identities, &options, &clients, false)
        }
        _ => TlsAcceptor::new(identities, &options),
    };
    let acceptor = Rc::new(acceptor.map_err(|why| why.to_string())?);
    #[cfg(not(xenlet = "unix"))]
    renew::follow(&acceptor);
    Ok(Some(acceptor))
}

/// The versions of TLS that the command line asks for.
fn versions() -> Result<Versions, String> {
    match cmdline::flag("tls12")? {
        false => Ok(Versions::Tls13),
        #[cfg(feature = "tls12")]
        true => Ok(Versions::Tls12),
        #[cfg(not(feature = "tls12"))]
        true => Err(String::from(
            "tls12: this image speaks TLS 1.3 alone; build it with --tls12",
        )),
    }
}
