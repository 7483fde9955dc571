//! HTTPS: the site on port 443, and on port 80 nothing but the way there.
//!
//! | word | what it does | without it |
//! | --- | --- | --- |
//! | `tls=selfsigned` | makes a key and a certificate that nobody vouches for | the boot module's |
//! | `tls=off` | serves in the clear | HTTPS |
//! | `tls12` | speaks TLS 1.2 too | TLS 1.3 alone |
//! | `hsts=31536000` | tells browsers to ask only by HTTPS, for so many seconds (RFC 6797) | nothing |
//! | `https_port=8443` | where port 80 leads, if the host forwards another port to 443 | 443 |

use crate::Error;
use crate::site::Site;
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
use xenlet_kernel::{boot_module, cmdline, run, timeline};
use xenlet_net::TcpListener;
use xenlet_tls::{Identities, KeyError, Options, TlsAcceptor, selfsigned};

/// Where browsers look for HTTPS.
const PORT: u16 = 443;

/// Serves `site`, which `what` describes, by HTTPS.
///
/// # Errors
/// If there is no key, or it can't be used, or the network can't be listened to.
pub(crate) async fn serve(
    site: impl Site + 'static,
    what: fmt::Arguments<'_>,
) -> Result<(), Error> {
    let identities = identities()?;
    log::info!(target: "httpd", "HTTPS: {identities}");
    let options = Options {
        alpn: &["http/1.1"],
        tls12: cmdline::get("tls12").is_some(),
        ..Options::default()
    };
    let acceptor = TlsAcceptor::new(identities, &options).map_err(failed)?;
    let acceptor = Rc::new(acceptor);
    let (to, hsts) = (number("https_port")?, number::<u32>("hsts")?);
    let server = Server::new(KernelClock, Limits::default());
    let hsts = hsts.map(|secs| format!("max-age={secs}"));
    let fields: Vec<_> = hsts
        .iter()
        .map(|value| ("Strict-Transport-Security", value.as_str()))
        .collect();
    let server = server.with_fields(&fields);
    let server = server.map_err(|(name, _)| failed(format!("{name} can't be sent")))?;

    let plain = TcpListener::bind(crate::PORT)
        .await
        .map_err(Error::Network)?;
    let listener = TcpListener::bind(PORT).await.map_err(Error::Network)?;
    timeline::mark("listening");
    log::info!(target: "httpd", "serving {what} on port {PORT}; port {} leads there", crate::PORT);
    let redirect = Redirect {
        port: to.unwrap_or(PORT),
    };
    let redirect = run::spawn(Service::new(redirect).serve(plain));
    let failures = Rc::new(RateLimit::new(5));
    let layer = async move |stream: xenlet_net::TcpStream| {
        let peer = stream.peer_addr();
        let accepted = acceptor.accept(stream).await;
        accepted
            .inspect_err(|error| failures.warn(format_args!("{peer}: {error}")))
            .ok()
    };
    Service::with_server(crate::Pages(site), server)
        .serve_over(listener, layer)
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

fn failed(why: impl ToString) -> Error {
    Error::Tls(why.to_string())
}

/// The number that a word of the command line is.
fn number<N: core::str::FromStr>(word: &str) -> Result<Option<N>, Error> {
    cmdline::parse(word).map_err(Error::Tls)
}

/// Sends everybody to the same page by HTTPS.
struct Redirect {
    port: u16,
}

impl Redirect {
    /// Where that is, if the client says which host it asks.
    fn target(&self, request: &Request<'_>) -> Option<String> {
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
        if self.port != PORT {
            target += &format!(":{}", self.port);
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
}

impl Handler for Redirect {
    async fn answer<S: Read + Write>(
        &self,
        exchange: Exchange<'_, '_, S, KernelClock>,
        _: &Server<KernelClock>,
    ) -> Result<(), xenlet_http::Error<S::Error>> {
        let Some(target) = self.target(&exchange.request()) else {
            let why = "This site is served by HTTPS, and the request does not say of which host.";
            return exchange.refuse(Status::BAD_REQUEST, why).await;
        };
        let fields = [("Location", target.as_str()), PLAIN_TEXT];
        exchange
            .respond(
                Status::PERMANENT_REDIRECT,
                &fields,
                b"This site is served by HTTPS.\n",
            )
            .await
    }
}
