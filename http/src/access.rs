//! Who may ask for what: rules in an application's source, checked when it is compiled.
//!
//! ```
//! use xenlet_http::access::{ANY, READ, Rule, Rules, Who};
//! const RULES: Rules = Rules::new(&[
//!     Rule { methods: READ, path: "/status", who: &[Who::Token("operator"), Who::Name("operator.example")] },
//!     Rule { methods: ANY, path: "/", who: &[Who::Anyone] },
//! ]);
//! ```
//!
//! The first rule that fits a request decides; what none fits is refused. [`Access`] applies them, with the tokens that an
//! operator gave. It keeps only their hashes, so that comparing tells nothing of a token by the time it takes.

use crate::error::rare;
use crate::{Clock, Error, Exchange, Method, Request, Status};
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::time::Duration;
use embedded_io_async::{Read, Write};
use xenlet_kernel::limit::RateLimit;
use xenlet_kernel::time;
use xenlet_net::Peer;

/// How long who sent a wrong token waits for the answer.
const PENALTY: Duration = Duration::from_secs(1);
/// How many wait so at the same time. One more is told so at once, and its token is as wrong.
const WAITING: usize = 64;
/// Wrong tokens that are logged at once, before it is one a second.
const BURST: u32 = 5;
/// The shortest token, in bytes: what is shorter can be guessed.
const TOKEN_BYTES: usize = 16;

/// The methods that change nothing.
pub const READ: &[Method] = &[Method::Get, Method::Head];
/// Every method.
pub const ANY: &[Method] = &[
    Method::Get,
    Method::Head,
    Method::Post,
    Method::Put,
    Method::Patch,
    Method::Delete,
    Method::Options,
];

/// Somebody who may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Everybody.
    Anyone,
    /// Who sends the token that has this name, `Authorization: Bearer TOKEN` (RFC 6750).
    Token(&'static str),
    /// Who has shown a certificate whose subject has this common name, by one of the CAs that are trusted for clients.
    Name(&'static str),
    /// Who has shown this very certificate: its SHA-256.
    Certificate([u8; 32]),
}

impl Who {
    /// The certificate with this SHA-256: 64 hexadecimal digits, with colons between them or not.
    ///
    /// # Panics
    ///
    /// When the program is compiled, if it is in a constant: on other text.
    pub const fn certificate(fingerprint: &str) -> Self {
        let (text, mut bytes) = (fingerprint.as_bytes(), [0; 32]);
        let (mut at, mut digits) = (0, 0);
        while at < text.len() {
            let digit = match text[at] {
                byte @ b'0'..=b'9' => byte - b'0',
                byte @ b'a'..=b'f' => byte - b'a' + 10,
                byte @ b'A'..=b'F' => byte - b'A' + 10,
                b':' => 16,
                _ => panic!("a fingerprint is of hexadecimal digits"),
            };
            if digit < 16 {
                assert!(digits < 64, "a fingerprint has 64 digits");
                bytes[digits / 2] = bytes[digits / 2] << 4 | digit;
                digits += 1;
            }
            at += 1;
        }
        assert!(digits == 64, "a fingerprint has 64 digits");
        Self::Certificate(bytes)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::Token(name) => write!(f, "token {name}"),
            Self::Name(name) => write!(f, "certificate of {name}"),
            Self::Certificate(bytes) => {
                f.write_str("certificate ")?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// What may be done by whom.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// With which methods.
    pub methods: &'static [Method],
    /// With which paths: this one, and those that begin with it and a slash. `/` is all.
    pub path: &'static str,
    /// By whom: any of these.
    pub who: &'static [Who],
}

impl Rule {
    fn fits(&self, method: Method, path: &str) -> bool {
        let is_below = || {
            let rest = path.strip_prefix(self.path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.methods.contains(&method) && (self.path == "/" || is_below())
    }

    const fn has(&self, method: Method) -> bool {
        let mut n = 0;
        while n < self.methods.len() {
            if self.methods[n] as u8 == method as u8 {
                return true;
            }
            n += 1;
        }
        false
    }

    /// Whether all that fits `other` fits this.
    const fn covers(&self, other: &Self) -> bool {
        let (own, its) = (self.path.as_bytes(), other.path.as_bytes());
        let mut n = 0;
        while n < other.methods.len() {
            if !self.has(other.methods[n]) {
                return false;
            }
            n += 1;
        }
        if own.len() == 1 {
            return true;
        }
        let mut at = 0;
        while at < own.len() {
            if at >= its.len() || own[at] != its[at] {
                return false;
            }
            at += 1;
        }
        at == its.len() || its[at] == b'/'
    }

    const fn check(&self) {
        assert!(!self.methods.is_empty(), "a rule has methods");
        assert!(!self.who.is_empty(), "a rule is for somebody");
        let path = self.path.as_bytes();
        assert!(
            !path.is_empty() && path[0] == b'/',
            "a rule's path begins with a slash"
        );
        assert!(
            path.len() == 1 || path[path.len() - 1] != b'/',
            "a rule's path doesn't end with a slash: what is below is meant anyway"
        );
        let mut at = 1;
        while at < path.len() {
            assert!(
                path[at] != b'/' || path[at - 1] != b'/',
                "a rule's path has an empty segment"
            );
            assert!(
                path[at] != b'?' && path[at] != b'*' && path[at] != b'%',
                "a rule's path is a path as it was decoded: no query, no pattern"
            );
            at += 1;
        }
        let mut n = 0;
        while n < self.who.len() {
            match self.who[n] {
                Who::Anyone => assert!(
                    self.who.len() == 1,
                    "who else may, when anyone may? Anyone stands alone"
                ),
                Who::Token(name) | Who::Name(name) => {
                    assert!(!name.is_empty(), "somebody in a rule has no name");
                }
                Who::Certificate(_) => {}
            }
            n += 1;
        }
    }
}

/// As a line of the log: `GET, HEAD /status: token operator`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.methods.len() == ANY.len() {
            f.write_str("any method")?;
        }
        for (n, method) in self.methods.iter().enumerate() {
            if self.methods.len() < ANY.len() {
                write!(f, "{}{method}", if n > 0 { ", " } else { "" })?;
            }
        }
        write!(f, " {}: ", self.path)?;
        for (n, who) in self.who.iter().enumerate() {
            write!(f, "{}{who}", if n > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// Rules, in the order in which they are looked at.
#[derive(Clone, Copy, Debug)]
pub struct Rules(&'static [Rule]);

impl Rules {
    /// Checks rules.
    ///
    /// # Panics
    ///
    /// When the program is compiled, if it is in a constant: on a path that no request has, on a rule for nobody, and on
    /// one that comes after another which fits the same.
    pub const fn new(rules: &'static [Rule]) -> Self {
        let mut n = 0;
        while n < rules.len() {
            rules[n].check();
            let mut before = 0;
            while before < n {
                assert!(
                    !rules[before].covers(&rules[n]),
                    "a rule is never reached: one before it fits the same"
                );
                before += 1;
            }
            n += 1;
        }
        Self(rules)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &'static Rule> {
        self.0.iter()
    }

    /// Whether one of them is for the owner of a certificate.
    pub const fn ask_for_certificates(&self) -> bool {
        let mut n = 0;
        while n < self.0.len() {
            let mut m = 0;
            while m < self.0[n].who.len() {
                if matches!(self.0[n].who[m], Who::Name(_) | Who::Certificate(_)) {
                    return true;
                }
                m += 1;
            }
            n += 1;
        }
        false
    }

    /// The names of tokens in them.
    pub fn tokens(&self) -> impl Iterator<Item = &'static str> {
        let all = self.0.iter().flat_map(|rule| rule.who);
        all.filter_map(|who| match who {
            Who::Token(name) => Some(*name),
            _ => None,
        })
    }

    fn of(&self, method: Method, path: &str) -> Option<&'static Rule> {
        self.0.iter().find(|rule| rule.fits(method, path))
    }
}

/// A hash of 256 bits that can't be inverted.
pub type Hash = fn(&[u8]) -> [u8; 32];

/// Rules, and the tokens that are meant by their names.
pub struct Access {
    rules: Rules,
    hash: Hash,
    tokens: Vec<(&'static str, [u8; 32])>,
    wrong: WrongTokens,
}

/// Why a token is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// No rule names it.
    Unknown,
    /// It was given before.
    Twice,
    /// It is shorter than 16 characters.
    Short,
    /// It can't be sent: it has other characters than RFC 6750 §2.1 allows.
    Characters,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "no access rule of this image names it",
            Self::Twice => "it is there twice",
            Self::Short => "it is shorter than 16 characters, and could be guessed: `openssl rand -hex 32` makes one",
            Self::Characters => "it can't be sent by a client: it must be letters, digits and -._~+/ with = at the end",
        })
    }
}

impl core::error::Error for TokenError {}

/// What a request is told.
enum Verdict {
    Admitted,
    /// It has no credentials for this. Whether a token is one.
    Nobody(bool),
    WrongToken,
}

impl Access {
    /// Rules without tokens. `hash` is a cryptographic hash, SHA-256 as a rule.
    pub fn new(rules: Rules, hash: Hash) -> Self {
        Self {
            rules,
            hash,
            tokens: Vec::new(),
            wrong: WrongTokens::default(),
        }
    }

    /// Gives a name its token, of which only the hash is kept.
    ///
    /// # Errors
    ///
    /// As [`TokenError`] says.
    pub fn add_token(&mut self, name: &str, token: &[u8]) -> Result<(), TokenError> {
        let known = self.rules.tokens().find(|known| *known == name);
        let name = known.ok_or(TokenError::Unknown)?;
        if self.tokens.iter().any(|(given, _)| *given == name) {
            return Err(TokenError::Twice);
        }
        if !is_token(token) {
            return Err(TokenError::Characters);
        }
        if token.len() < TOKEN_BYTES {
            return Err(TokenError::Short);
        }
        self.tokens.push((name, (self.hash)(token)));
        Ok(())
    }

    /// Whether a token was given for this name.
    pub fn has_token(&self, name: &str) -> bool {
        self.tokens.iter().any(|(given, _)| *given == name)
    }

    /// Gives the exchange back if the rules allow what it asks for. If not, answers it: with 401 where a token would do,
    /// else with 403; after a second if a token was sent and is wrong.
    ///
    /// # Errors
    ///
    /// As [`Exchange::reply`].
    pub async fn admit<'c, 's, S: Read + Write, C: Clock>(
        &self,
        exchange: Exchange<'c, 's, S, C>,
    ) -> Result<Option<Exchange<'c, 's, S, C>>, Error<S::Error>> {
        match self.judge(&exchange.request(), exchange.peer()) {
            Verdict::Admitted => return Ok(Some(exchange)),
            verdict => rare(self.refuse(exchange, verdict))?.await?,
        }
        Ok(None)
    }

    async fn refuse<S: Read + Write, C: Clock>(
        &self,
        exchange: Exchange<'_, '_, S, C>,
        verdict: Verdict,
    ) -> Result<(), Error<S::Error>> {
        const ASK: (&str, &str) = ("WWW-Authenticate", "Bearer");
        const WRONG: (&str, &str) = ("WWW-Authenticate", "Bearer error=\"invalid_token\"");
        let text = crate::PLAIN_TEXT;
        match verdict {
            Verdict::Nobody(false) | Verdict::Admitted => {
                let why = "Not everybody may do this.";
                exchange.refuse(Status::FORBIDDEN, why).await
            }
            Verdict::Nobody(true) => {
                let why = b"Send a token as `Authorization: Bearer TOKEN`.\n";
                let status = Status::UNAUTHORIZED;
                exchange.respond(status, &[ASK, text], why).await
            }
            Verdict::WrongToken => {
                if !self.wrong.penalty(exchange.request().path()).await {
                    let (status, why) = WrongTokens::MANY;
                    return exchange.refuse(status, why).await;
                }
                let why = b"This token is not for this.\n";
                let status = Status::UNAUTHORIZED;
                exchange.respond(status, &[WRONG, text], why).await
            }
        }
    }

    fn judge(&self, request: &Request<'_>, peer: Option<&Peer>) -> Verdict {
        let Some(rule) = self.rules.of(request.method(), request.path()) else {
            return Verdict::Nobody(false);
        };
        if rule.who == [Who::Anyone] {
            return Verdict::Admitted;
        }
        let shown = request.value("Authorization").and_then(bearer);
        let shown = shown.map(|token| (self.hash)(token));
        let is_somebody = |who: &Who| match (who, peer) {
            (Who::Anyone, _) => true,
            (Who::Token(name), _) => shown.is_some_and(|shown| {
                let mut own = self.tokens.iter().filter(|(given, _)| given == name);
                own.any(|(_, token)| is_same(token, &shown))
            }),
            (Who::Name(name), Some(peer)) => *peer.name == **name,
            (Who::Certificate(bytes), Some(peer)) => peer.fingerprint == *bytes,
            (Who::Name(_) | Who::Certificate(_), None) => false,
        };
        if rule.who.iter().any(is_somebody) {
            return Verdict::Admitted;
        }
        let takes_tokens = rule.who.iter().any(|who| matches!(who, Who::Token(_)));
        match shown {
            Some(_) if takes_tokens => Verdict::WrongToken,
            _ => Verdict::Nobody(takes_tokens),
        }
    }
}

/// Those who send wrong tokens: they wait, and the log tells of them.
#[derive(Debug)]
pub struct WrongTokens {
    waiting: Cell<usize>,
    log: RateLimit,
}

impl Default for WrongTokens {
    fn default() -> Self {
        Self {
            waiting: Cell::new(0),
            log: RateLimit::new(BURST),
        }
    }
}

impl WrongTokens {
    /// What is said to one more than may wait.
    pub const MANY: (Status, &str) = (
        Status::TOO_MANY_REQUESTS,
        "There are many wrong tokens now.",
    );

    /// Lets who sent one for `path` wait. False if too many do.
    pub async fn penalty(&self, path: &str) -> bool {
        self.log
            .warn(format_args!("access: a wrong token was sent for {path:?}"));
        let Some(_place) = Place::take(&self.waiting) else {
            return false;
        };
        time::sleep(PENALTY).await;
        true
    }
}

/// One of the few who wait.
struct Place<'w>(&'w Cell<usize>);

impl<'w> Place<'w> {
    fn take(waiting: &'w Cell<usize>) -> Option<Self> {
        let count = waiting.get();
        (count < WAITING).then(|| {
            waiting.set(count + 1);
            Self(waiting)
        })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.update(|count| count - 1);
    }
}

/// The token of an `Authorization` field's value (RFC 6750 §2.1), if it has one.
pub fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

/// Whether it can be sent as a token: a `b64token` (RFC 6750 §2.1).
pub fn is_token(token: &[u8]) -> bool {
    let end = token.iter().rposition(|byte| *byte != b'=');
    let begin = end.and_then(|last| token.get(..=last)).unwrap_or_default();
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    !begin.is_empty() && begin.iter().all(is_letter)
}

/// Compares in the same time, whatever they are.
fn is_same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    let differences = a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b));
    core::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests;
