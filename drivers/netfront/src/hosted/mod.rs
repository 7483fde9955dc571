//! A netback in this process.
