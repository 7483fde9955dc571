//! The other machine.

/// Later.
pub(crate) fn attach_process() {}
