//! Status lines: RFC 9110 §15, ready to be sent.

/// A status of a reply, kept as the whole line that starts the reply, so that sending one formats nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(&'static str);

macro_rules! statuses {
    ($($name:ident = $code:literal $reason:literal;)*) => {
        impl Status {
            $(
                #[doc = concat!($code, " ", $reason, ".")]
                pub const $name: Status = Status(concat!("HTTP/1.1 ", $code, " ", $reason, "\r\n"));
            )*
        }
    };
}

statuses! {
    OK = "200" "OK";
    CREATED = "201" "Created";
    NO_CONTENT = "204" "No Content";
    PARTIAL_CONTENT = "206" "Partial Content";
    MOVED_PERMANENTLY = "301" "Moved Permanently";
    NOT_MODIFIED = "304" "Not Modified";
    PERMANENT_REDIRECT = "308" "Permanent Redirect";
    BAD_REQUEST = "400" "Bad Request";
    UNAUTHORIZED = "401" "Unauthorized";
    FORBIDDEN = "403" "Forbidden";
    NOT_FOUND = "404" "Not Found";
    METHOD_NOT_ALLOWED = "405" "Method Not Allowed";
    NOT_ACCEPTABLE = "406" "Not Acceptable";
    REQUEST_TIMEOUT = "408" "Request Timeout";
    CONFLICT = "409" "Conflict";
    LENGTH_REQUIRED = "411" "Length Required";
    PRECONDITION_FAILED = "412" "Precondition Failed";
    CONTENT_TOO_LARGE = "413" "Content Too Large";
    URI_TOO_LONG = "414" "URI Too Long";
    RANGE_NOT_SATISFIABLE = "416" "Range Not Satisfiable";
    EXPECTATION_FAILED = "417" "Expectation Failed";
    TOO_MANY_REQUESTS = "429" "Too Many Requests";
    HEADERS_TOO_LARGE = "431" "Request Header Fields Too Large";
    INTERNAL_SERVER_ERROR = "500" "Internal Server Error";
    NOT_IMPLEMENTED = "501" "Not Implemented";
    SERVICE_UNAVAILABLE = "503" "Service Unavailable";
    VERSION_NOT_SUPPORTED = "505" "HTTP Version Not Supported";
    INSUFFICIENT_STORAGE = "507" "Insufficient Storage";
}

impl Status {
    /// The status line with its line end: `HTTP/1.1 200 OK\r\n`.
    pub const fn line(self) -> &'static str {
        self.0
    }

    /// The code and its reason: `404 Not Found`.
    pub fn text(self) -> &'static str {
        self.0["HTTP/1.1 ".len()..].trim_ascii_end()
    }

    /// Whether a reply with this status never has a body (RFC 9110 §6.4.1), and so no `Content-Length` either.
    pub fn is_bodiless(self) -> bool {
        matches!(self, Status::NO_CONTENT | Status::NOT_MODIFIED)
    }
}
