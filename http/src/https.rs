//! A service by HTTPS: on port 443, and on port 80 nothing but the way there; with a key as `xenlet_tls::setup` has it.
//!
//! Besides that one's, the command line has these words:
//!
//! | word | what it does | without it |
//! | --- | --- | --- |
//! | `hsts=31536000` | tells browsers to ask only by HTTPS, for so many seconds (RFC 6797) | nothing |
//! | `https_port=8443` | where port 80 leads, if the host forwards another port to 443 | 443 |
//!
//! With `tls=off` the service is on port 80, in the clear.

use crate::{
    Error, Exchange, Handler, KernelClock, Limits, PLAIN_TEXT, Request, Server, Service, Status,
};
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use core::fmt;
use core::num::NonZeroU16;
use embedded_io_async::{Read, Write};
use xenlet_kernel::limit::RateLimit;
use xenlet_kernel::{cmdline, run, timeline};
use xenlet_net::{TcpListener, TcpStream};
use xenlet_tls::{MaybeTls, TlsAcceptor, setup};

/// Where browsers look for web servers.
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// Peers that fail to shake hands, of whom the log tells at once, before it is one a second.
const BURST: u32 = 5;

/// A service's ports, and what they speak.
#[derive(Debug)]
pub struct Https {
    /// `None`: all is in the clear.
    acceptor: Option<Rc<TlsAcceptor>>,
    /// Where port 80 leads.
    leads_to: u16,
    /// The value of `Strict-Transport-Security`.
    hsts: Option<String>,
}

impl Https {
    /// HTTPS as the guest's operator wants it. `token` takes the tokens that he gives, by name; `CLIENTS` is whether certificates
    /// of clients are of use.
    ///
    /// # Errors
    /// One line: as [`setup::set_up`], or a word of the command line can't be used.
    pub async fn set_up<const CLIENTS: bool, E: fmt::Display>(
        token: impl FnMut(&str, &[u8]) -> Result<(), E>,
    ) -> Result<Self, String> {
        let hsts = cmdline::parse::<u32>("hsts")?;
        Ok(Self {
            leads_to: cmdline::parse::<NonZeroU16>("https_port")?.map_or(HTTPS, NonZeroU16::get),
            hsts: hsts.map(|secs| format!("max-age={secs}")),
            acceptor: setup::set_up::<CLIENTS, E>(&["http/1.1"], token).await?,
        })
    }

    /// Whether anything is encrypted.
    pub fn is_on(&self) -> bool {
        self.acceptor.is_some()
    }

    /// A server with these fields in every reply, where replies are encrypted.
    ///
    /// # Errors
    /// The first field that can't be sent as it is.
    pub fn server<'f>(
        &'f self,
        fields: &[(&'f str, &'f str)],
    ) -> Result<Server<KernelClock>, (&'f str, &'f str)> {
        let server = Server::new(KernelClock, Limits::default());
        if !self.is_on() {
            return Ok(server);
        }
        let hsts = self.hsts.as_deref();
        let hsts = hsts.map(|value| ("Strict-Transport-Security", value));
        server.with_fields(&[fields, hsts.as_slice()].concat())
    }

    /// Serves `what`, as the log says, until the domain is asked to end.
    ///
    /// # Errors
    /// The network's, if a port can't be listened to.
    pub async fn serve<H: Handler>(
        self,
        handler: H,
        server: Server<KernelClock>,
        what: fmt::Arguments<'_>,
    ) -> Result<(), xenlet_net::Error> {
        let own = Service::with_server(Front::Own(handler), server);
        let plain = TcpListener::bind(HTTP).await?;
        let Some(acceptor) = self.acceptor else {
            timeline::mark("listening");
            log::info!(target: "https", "serving {what} on port {HTTP}, in the clear");
            own.serve_over(plain, layer(None)).await;
            return Ok(());
        };
        let sealed = TcpListener::bind(HTTPS).await?;
        timeline::mark("listening");
        log::info!(target: "https", "serving {what} on port {HTTPS}; port {HTTP} leads there");
        let redirect = Service::new(Front::<H>::Redirect(self.leads_to));
        let redirect = run::spawn(redirect.serve_over(plain, layer(None)));
        own.serve_over(sealed, layer(Some(acceptor))).await;
        redirect.await;
        Ok(())
    }
}

/// What makes streams of connections: encrypted ones with an acceptor.
fn layer(
    acceptor: Option<Rc<TlsAcceptor>>,
) -> impl AsyncFn(TcpStream) -> Option<MaybeTls<TcpStream>> + Clone {
    let failures = Rc::new(RateLimit::new(BURST));
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

/// What a port answers. One type, so that what serves it is in the image once.
enum Front<H> {
    /// What the application does.
    Own(H),
    /// Where the same page is by HTTPS: on this port.
    Redirect(u16),
}

impl<H: Handler> Handler for Front<H> {
    async fn answer<S: Read + Write>(
        &self,
        exchange: Exchange<'_, '_, S, KernelClock>,
        server: &Server<KernelClock>,
    ) -> Result<(), Error<S::Error>> {
        match self {
            Self::Own(handler) => handler.answer(exchange, server).await,
            Self::Redirect(port) => Box::pin(redirect(*port, exchange)).await,
        }
    }
}
async fn redirect<S: Read + Write>(
    port: u16,
    exchange: Exchange<'_, '_, S, KernelClock>,
) -> Result<(), Error<S::Error>> {
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
    if port != HTTPS {
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
