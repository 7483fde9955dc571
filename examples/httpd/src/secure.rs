//! The site by HTTPS, and who may see what of it.
//!
//! The words of `xenlet_http::https` and `xenlet_tls::setup` are the command line's, and this one:
//!
//! | word | what it does | without it |
//! | --- | --- | --- |
//! | `compress` | sends the compressed variants of files to those who take them | files as they are |

use crate::site::Site;
use crate::{Error, Pages};
use alloc::format;
use core::cell::Cell;
use core::fmt;
use embedded_io_async::{Read, Write};
use xenlet_http::access::{ANY, Access, READ, Rule, Rules, Who};
use xenlet_http::https::Https;
use xenlet_http::{Exchange, Handler, KernelClock, Server};
use xenlet_kernel::{cmdline, local};
use xenlet_tls::sha256;

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
    const CLIENTS: bool = RULES.ask_for_certificates();
    let mut access = Access::new(RULES, sha256);
    let token = |name: &str, token: &[u8]| access.add_token(name, token);
    let https = Https::set_up::<CLIENTS, _>(token)
        .await
        .map_err(Error::Tls)?;
    show(&access);
    let server = https.server(FIELDS);
    let server = server.map_err(|(name, _)| Error::Tls(format!("{name} can't be sent")))?;
    let compresses = cmdline::flag("compress").map_err(Error::Tls)?;
    INCOMPRESSIBLE.with(|flag| flag.set(https.is_on() && !compresses));
    https
        .serve(Guarded(Pages(site), access), server, what)
        .await
        .map_err(Error::Network)
}

/// Says who may ask for what.
fn show(access: &Access) {
    for rule in RULES.iter() {
        log::info!(target: "httpd", "access: {rule}");
    }
    for name in RULES
        .tokens()
        .filter(|name| !access.has_token(name))
        .take(1)
    {
        log::warn!(target: "httpd", "access: there is no token {name}; README says how one is given");
    }
}

/// The site, for those who may see it.
struct Guarded<T>(Pages<T>, Access);

impl<T: Site + 'static> Handler for Guarded<T> {
    async fn answer<S: Read + Write>(
        &self,
        exchange: Exchange<'_, '_, S, KernelClock>,
        server: &Server<KernelClock>,
    ) -> Result<(), xenlet_http::Error<S::Error>> {
        let Self(pages, access) = self;
        match access.admit(exchange).await? {
            Some(exchange) => pages.answer(exchange, server).await,
            None => Ok(()),
        }
    }
}
