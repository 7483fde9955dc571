//! What a request asks for.

use crate::fields::Field;
use core::fmt;

/// A method that this crate knows: those of RFC 9110 §9 and `PATCH`. Requests with others are answered with 501.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Fetch a resource.
    Get,
    /// As `Get`, without the body of the reply. Replies leave it out by themselves.
    Head,
    /// Have the resource process the body.
    Post,
    /// Store the body as the resource.
    Put,
    /// Change the resource as the body says.
    Patch,
    /// Remove the resource.
    Delete,
    /// Ask what is possible.
    Options,
}

impl Method {
    pub(crate) fn from_name(name: &str) -> Option<Method> {
        Some(match name {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "POST" => Method::Post,
            "PUT" => Method::Put,
            "PATCH" => Method::Patch,
            "DELETE" => Method::Delete,
            "OPTIONS" => Method::Options,
            // CONNECT and TRACE are never wanted from an origin server.
            _ => return None,
        })
    }
}

/// A request's head. It borrows from the connection's buffer and is free to copy.
#[derive(Clone, Copy)]
pub struct Request<'c> {
    pub(crate) method: Method,
    pub(crate) path: &'c str,
    pub(crate) query: Option<&'c str>,
    pub(crate) head: &'c [u8],
    pub(crate) fields: &'c [Field],
    pub(crate) content_length: Option<u64>,
}

/// Its name.
impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
        })
    }
}

impl<'c> Request<'c> {
    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The path, decoded once: UTF-8, starting with `/`, without a zero byte and without segments `.` and `..`.
    /// For `OPTIONS *` it is `*`.
    pub fn path(&self) -> &'c str {
        self.path
    }

    /// What follows the `?`, as it was sent.
    pub fn query(&self) -> Option<&'c str> {
        self.query
    }

    /// The body's length in bytes as declared; `None` if it is chunked. Zero if there is no body.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// The values of every field called `name` (in any case), in order.
    pub fn values<'n>(
        &self,
        name: &'n str,
    ) -> impl Iterator<Item = &'c [u8]> + Clone + use<'c, 'n> {
        let head = self.head;
        self.fields
            .iter()
            .filter(move |field| field.is(head, name))
            .map(move |field| field.value(head))
    }

    /// The value of the field called `name` if there is exactly one.
    pub fn value(&self, name: &str) -> Option<&'c [u8]> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }
}

/// Leaves out the header fields: they may hold secrets.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path)
            .field("query", &self.query)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::head;
    use alloc::format;
    use alloc::vec::Vec;

    /// A request with these header lines.
    pub(crate) fn request(method: Method, lines: &str) -> Request<'static> {
        let mut fields = Vec::new();
        let bytes = format!("GET / HTTP/1.1\r\nHost: h\r\n{lines}\r\n")
            .into_bytes()
            .leak();
        head::parse(bytes, &mut 0, usize::MAX, &mut fields)
            .unwrap()
            .unwrap();
        Request {
            method,
            path: "/",
            query: None,
            head: bytes,
            fields: fields.leak(),
            content_length: Some(0),
        }
    }

    #[test]
    fn values_are_found_by_name_in_any_case() {
        let request = request(Method::Get, "A: 1\r\nb:\t 2 \r\na: 3\r\n");
        assert!(request.values("a").eq([b"1", b"3"]));
        assert_eq!(request.value("B"), Some(b"2".as_slice()));
        assert_eq!(request.value("A"), None);
        assert_eq!(request.value("c"), None);
    }
}
