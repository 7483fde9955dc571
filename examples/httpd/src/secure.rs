//! HTTPS: the site on port 443, and on port 80 nothing but the way there.
//!
//! | word | what it does | without it |
//! | --- | --- | --- |
//! | `tls=selfsigned` | makes a key and a certificate that nobody vouches for | the boot module's |
//! | `tls=off` | serves in the clear | HTTPS |
//! | `tls12` | speaks TLS 1.2 too | TLS 1.3 alone |
//! | `compress` | sends the compressed variants of files to those who take them | files as they are |
//! | `hsts=31536000` | tells browsers to ask only by HTTPS, for so many seconds (RFC 6797) | nothing |
//! | `https_port=8443` | where port 80 leads, if the host forwards another port to 443 | 443 |
//!
//! [`RULES`] say who may ask for what; [`module`] is what a boot module has in it for that.

mod module;
#[cfg(not(xenlet = "unix"))]
mod renew;

use crate::site::Site;
use crate::{Error, Pages, listen};
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use embedded_io_async::{Read, Write};
use xenlet_http::access::{ANY, Access, READ, Rule, Rules, Who};
use xenlet_http::{
    Exchange, Handler, KernelClock, Limits, PLAIN_TEXT, Request, Server, Service, Status,
};
use xenlet_kernel::limit::RateLimit;
use xenlet_kernel::{boot_module, cmdline, local, run};
use xenlet_net::TcpStream;
use xenlet_tls::{MaybeTls, Options, TlsAcceptor, selfsigned, sha256};

/// Where browsers look for HTTPS.
const PORT: u16 = 443;

/// Who may ask for what: the site is for everybody, what the guest says of itself for its operator.
const RULES: Rules = Rules::new(&[
    Rule {
        methods: READ,
        path: "/status",
        who: OPERATOR,
    },
    Rule {
        methods: READ,
        path: "/status.json",
        who: OPERATOR,
    },
    Rule {
        methods: ANY,
        path: "/",
        who: &[Who::Anyone],
    },
]);

/// What browsers are told with every reply by HTTPS: to show pages in nobody else's frame, to
/// load no plug-ins, and to tell other sites no more than this one's name.
const FIELDS: &[(&str, &str)] = &[
    ("X-Frame-Options", "DENY"),
    (
        "Content-Security-Policy",
        "frame-ancestors 'none'; object-src 'none'; base-uri 'self'; upgrade-insecure-requests",
    ),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
];

local! {
    /// Whether files are sent as they are, not compressed.
    static INCOMPRESSIBLE: Cell<bool> = Cell::new(false);
}

/// Whether files are to be sent as they are. How long compressed content is tells who listens something of it (BREACH), where it has
/// a secret beside what somebody else may choose. Files have none; but scanners, and whoever extends this, can't know.
pub(crate) fn is_incompressible() -> bool {
    INCOMPRESSIBLE.with(Cell::get)
}

/// By a token.
const OPERATOR: &[Who] = &[Who::Token("operator")];

/// Serves `site`, which `what` describes: by HTTPS, unless the command line wants it in the clear.
///
/// # Errors
/// If there is no key, or it can't be used, or the network can't be listened to.
pub(crate) async fn serve<T: Site + 'static>(
    site: T,
    what: fmt::Arguments<'_>,
) -> Result<(), Error> {
    let server = Server::new(KernelClock, Limits::default());
    let mut access = Access::new(RULES, sha256);
    if cmdline::get("tls") == Some("off") {
        // Somebody else may encrypt for this guest: tokens are good for that too.
        let read = boot_module::take(|text| module::tokens(text, &mut access));
        read.map_err(failed)?
            .unwrap_or(Ok(()))
            .map_err(bad_module)?;
        let plain = listen(crate::PORT).await?;
        log::info!(target: "httpd", "serving {what} on port {}, in the clear", crate::PORT);
        show(&access, false);
        let site = Service::with_server(Front::Site(Pages(site), access), server);
        site.serve_over(plain, layer(None)).await;
        return Ok(());
    }
    let acceptor = Rc::new(acceptor(&mut access)?);
    let (to, hsts) = (number("https_port")?, number::<u32>("hsts")?);
    let hsts = hsts.map(|secs| format!("max-age={secs}"));
    let hsts = hsts
        .as_deref()
        .map(|value| ("Strict-Transport-Security", value));
    let fields = [FIELDS, hsts.as_slice()].concat();
    let server = server.with_fields(&fields);
    INCOMPRESSIBLE.with(|flag| flag.set(cmdline::get("compress").is_none()));
    let server = server.map_err(|(name, _)| failed(format!("{name} can't be sent")))?;

    let plain = listen(crate::PORT).await?;
    let sealed = listen(PORT).await?;
    log::info!(target: "httpd", "serving {what} on port {PORT}; port {} leads there", crate::PORT);
    #[cfg(not(xenlet = "unix"))]
    renew::follow(&acceptor);
    let redirect = Service::new(Front::<T>::Redirect(to.unwrap_or(PORT)));
    let redirect = run::spawn(redirect.serve_over(plain, layer(None)));
    let site = Service::with_server(Front::Site(Pages(site), access), server);
    site.serve_over(sealed, layer(Some(Rc::clone(&acceptor))))
        .await;
    redirect.await;
    Ok(())
}

/// What the boot module, or the command line, says: the key and the certificates to show, and the credentials of clients.
fn acceptor(access: &mut Access) -> Result<TlsAcceptor, Error> {
    let options = Options {
        alpn: &["http/1.1"],
        tls12: cmdline::get("tls12").is_some(),
        ..Options::default()
    };
    let now = xenlet_tls::check().map_err(failed)?;
    let (identities, clients) = match cmdline::get("tls") {
        Some("selfsigned") => {
            let own = cmdline::get("ip").and_then(|ip| ip.split('/').next());
            let names: Vec<&str> = ["localhost", "127.0.0.1"].into_iter().chain(own).collect();
            (selfsigned(&names).map_err(failed)?, None)
        }
        None => match boot_module::take(|text| module::read(text, now, access)).map_err(failed)? {
            Some(read) => read.map_err(bad_module)?,
            None => {
                return Err(failed(
                    "there is no key: name a file with the key and its certificates, ramdisk = \"tls.pem\" in the guest's configuration; \
                     or tls=selfsigned for trying out, or tls=off to serve in the clear, on its command line",
                ));
            }
        },
        Some(other) => {
            return Err(failed(format!(
                "tls={other}: it is off or selfsigned, or left out where there is a key"
            )));
        }
    };
    log::info!(target: "httpd", "HTTPS: {identities}");
    show(access, clients.is_some());
    let acceptor = match clients {
        Some(clients) if const { RULES.ask_for_certificates() } => {
            TlsAcceptor::with_clients(identities, &options, &clients, false)
        }
        _ => TlsAcceptor::new(identities, &options),
    };
    acceptor.map_err(failed)
}

/// Says who may ask for what.
fn show(access: &Access, has_clients: bool) {
    for rule in RULES.iter() {
        log::info!(target: "httpd", "access: {rule}");
    }
    let has_no_token = |name: &&str| !access.has_token(name);
    for name in RULES.tokens().filter(has_no_token).take(1) {
        log::warn!(
            target: "httpd",
            "access: there is no token {name}{}; README says how one is given",
            if has_clients { "" } else { ", and nobody's certificate is asked for" }
        );
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

fn bad_module(why: String) -> Error {
    failed(format!(
        "the boot module (ramdisk = \"…\" in the guest's configuration): {why}"
    ))
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
    /// The site, to those who may see it.
    Site(Pages<T>, Access),
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
            Self::Site(pages, access) => match access.admit(exchange).await? {
                Some(exchange) => pages.answer(exchange, server).await,
                None => Ok(()),
            },
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
