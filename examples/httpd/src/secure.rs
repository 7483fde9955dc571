//! HTTPS: the site on port 443, and on port 80 nothing but the way there.
//!
//! | word | what it does | without it |
//! | --- | --- | --- |
//! | `tls=selfsigned` | makes a key and a certificate that nobody vouches for | the boot module's |
//! | `tls=off` | serves in the clear | HTTPS |
//! | `tls12` | speaks TLS 1.2 too | TLS 1.3 alone |
//! | `hsts=31536000` | tells browsers to ask only by HTTPS, for so many seconds (RFC 6797) | nothing |
//! | `https_port=8443` | where port 80 leads, if the host forwards another port to 443 | 443 |

#[cfg(not(xenlet = "unix"))]
mod renew;

use crate::site::Site;
use crate::{Error, Pages, listen};
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use embedded_io_async::{Read, Write};
use xenlet_http::{
    Exchange, Handler, KernelClock, Limits, PLAIN_TEXT, Request, Server, Service, Status,
};
use xenlet_kernel::limit::RateLimit;
use xenlet_kernel::{boot_module, cmdline, run};
use xenlet_net::TcpStream;
use xenlet_tls::{Identities, KeyError, MaybeTls, Options, TlsAcceptor, selfsigned};

/// Where browsers look for HTTPS.
const PORT: u16 = 443;

/// Serves `site`, which `what` describes: by HTTPS, unless the command line wants it in the clear.
///
/// # Errors
/// If there is no key, or it can't be used, or the network can't be listened to.
pub(crate) async fn serve<T: Site + 'static>(
    site: T,
    what: fmt::Arguments<'_>,
) -> Result<(), Error> {
    let server = Server::new(KernelClock, Limits::default());
    if cmdline::get("tls") == Some("off") {
        let plain = listen(crate::PORT).await?;
        log::info!(target: "httpd", "serving {what} on port {}, in the clear", crate::PORT);
        let site = Service::with_server(Front::Site(Pages(site)), server);
        site.serve_over(plain, layer(None)).await;
        return Ok(());
    }
    let identities = identities()?;
    log::info!(target: "httpd", "HTTPS: {identities}");
    let options = Options {
        alpn: &["http/1.1"],
        tls12: cmdline::get("tls12").is_some(),
        ..Options::default()
    };
    let acceptor = Rc::new(TlsAcceptor::new(identities, &options).map_err(failed)?);
    let (to, hsts) = (number("https_port")?, number::<u32>("hsts")?);
    let hsts = hsts.map(|secs| format!("max-age={secs}"));
    let hsts = hsts
        .as_deref()
        .map(|value| ("Strict-Transport-Security", value));
    let server = server.with_fields(hsts.as_slice());
    let server = server.map_err(|(name, _)| failed(format!("{name} can't be sent")))?;

    let plain = listen(crate::PORT).await?;
    let sealed = listen(PORT).await?;
    log::info!(target: "httpd", "serving {what} on port {PORT}; port {} leads there", crate::PORT);
    #[cfg(not(xenlet = "unix"))]
    renew::follow(&acceptor);
    let redirect = Service::new(Front::<T>::Redirect(to.unwrap_or(PORT)));
    let redirect = run::spawn(redirect.serve_over(plain, layer(None)));
    let site = Service::with_server(Front::Site(Pages(site)), server);
    site.serve_over(sealed, layer(Some(Rc::clone(&acceptor))))
        .await;
    redirect.await;
    Ok(())
}

/// The key and the certificates to show: the boot module's, or new ones if the command line says so.
fn identities() -> Result<Identities, Error> {
    let now = xenlet_tls::check().map_err(failed)?;
    match cmdline::get("tls") {
        Some("selfsigned") => {
            let own = cmdline::get("ip").and_then(|ip| ip.split('/').next());
            let names: Vec<&str> = ["localhost", "127.0.0.1"].into_iter().chain(own).collect();
            return selfsigned(&names).map_err(failed);
        }
        None => {}
        Some(other) => {
            return Err(failed(format!(
                "tls={other}: it is off or selfsigned, or left out where there is a key"
            )));
        }
    }
    let read = boot_module::take(|text| Identities::from_pem(text, now));
    let bad = |why: KeyError| {
        failed(format!(
            "the boot module (ramdisk = \"…\" in the guest's configuration): {why}"
        ))
    };
    match read.map_err(failed)? {
        Some(identities) => identities.map_err(bad),
        None => Err(failed(
            "there is no key: name a file with the key and its certificates, ramdisk = \"tls.pem\" in the guest's configuration; \
             or tls=selfsigned for trying out, or tls=off to serve in the clear, on its command line",
        )),
    }
}

/// What makes streams of connections: encrypted ones with an acceptor.
fn layer(
    acceptor: Option<Rc<TlsAcceptor>>,
) -> impl AsyncFn(TcpStream) -> Option<MaybeTls<TcpStream>> + Clone {
    let failures = Rc::new(RateLimit::new(5));
    async move |stream: TcpStream| {
        let Some(acceptor) = &acceptor else {
            return Some(MaybeTls::Plain(stream));
        };
        let peer = stream.peer_addr();
        match acceptor.accept(stream).await {
            Ok(stream) => Some(MaybeTls::Tls(stream)),
            Err(error) => {
                failures.warn(format_args!("{peer}: {error}"));
                None
            }
        }
    }
}

fn failed(why: impl ToString) -> Error {
    Error::Tls(why.to_string())
}

/// The number that a word of the command line is.
fn number<N: core::str::FromStr>(word: &str) -> Result<Option<N>, Error> {
    cmdline::parse(word).map_err(Error::Tls)
}

/// What a port answers.
enum Front<T> {
    /// The site.
    Site(Pages<T>),
    /// Where the same page is by HTTPS: on this port.
    Redirect(u16),
}

impl<T: Site + 'static> Handler for Front<T> {
    async fn answer<S: Read + Write>(
        &self,
        exchange: Exchange<'_, '_, S, KernelClock>,
        server: &Server<KernelClock>,
    ) -> Result<(), xenlet_http::Error<S::Error>> {
        match self {
            Self::Site(pages) => pages.answer(exchange, server).await,
            Self::Redirect(port) => Box::pin(redirect(*port, exchange)).await,
        }
    }
}

async fn redirect<S: Read + Write>(
    port: u16,
    exchange: Exchange<'_, '_, S, KernelClock>,
) -> Result<(), xenlet_http::Error<S::Error>> {
    let Some(target) = target(port, &exchange.request()) else {
        let why = "This site is served by HTTPS, and the request does not say of which host.";
        return exchange.refuse(Status::BAD_REQUEST, why).await;
    };
    let fields = [("Location", target.as_str()), PLAIN_TEXT];
    let text = b"This site is served by HTTPS.\n";
    exchange
        .respond(Status::PERMANENT_REDIRECT, &fields, text)
        .await
}

/// The same page by HTTPS, if the client says which host it asks.
fn target(port: u16, request: &Request<'_>) -> Option<String> {
    let host = core::str::from_utf8(request.value("Host")?).ok()?;
    // The port is that of HTTP; IPv6 addresses have colons of their own.
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host) {
        return None;
    }
    let mut target = format!("https://{host}");
    if port != PORT {
        target += &format!(":{port}");
    }
    for byte in request.path().bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => target.push(byte.into()),
            _ if b"-._~!$&'()*+,;=:@/".contains(&byte) => target.push(byte.into()),
            _ => target += &format!("%{byte:02X}"),
        }
    }
    if let Some(query) = request.query() {
        target = target + "?" + query;
    }
    Some(target)
}
