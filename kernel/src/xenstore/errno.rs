//! The names that xenstored gives its refusals (`xsd_errors` of `xs_wire.h`).

/// Declares the errors once, with their names on the wire.
macro_rules! errnos {
    ($($name:ident: $what:literal),* $(,)?) => {
        /// Why xenstored refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(clippy::upper_case_acronyms, reason = "spelt as the wire spells them")]
        pub enum Errno {
            $(#[doc = $what] $name,)*
            /// A name that this client does not know.
            Other,
        }

        impl Errno {
            /// The error that a payload of type `XS_ERROR` names.
            pub(super) fn from_payload(payload: &[u8]) -> Self {
                let name = payload.strip_suffix(b"\0").unwrap_or(payload);
                $(if name == stringify!($name).as_bytes() { return Self::$name; })*
                Self::Other
            }
        }

        impl core::fmt::Display for Errno {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(match self {
                    $(Self::$name => concat!(stringify!($name), " (", $what, ")"),)*
                    Self::Other => "an error with an unknown name",
                })
            }
        }
    };
}

errnos! {
    EINVAL: "invalid request",
    EACCES: "not allowed",
    EEXIST: "exists already",
    EISDIR: "is a directory",
    ENOENT: "no such path",
    ENOMEM: "out of memory",
    ENOSPC: "quota used up",
    EIO: "input/output error",
    ENOTEMPTY: "not empty",
    ENOSYS: "not implemented",
    EROFS: "read-only",
    EBUSY: "busy",
    EAGAIN: "try again",
    EISCONN: "connected already",
    E2BIG: "too big",
    EPERM: "not permitted",
}
