//! The same functions where nothing is ever recorded: they do nothing.

use crate::run::Boxed;
use core::fmt::Arguments;
use core::future::Future;

/// See the module with the feature `inspect`.
#[derive(Debug, Default)]
pub struct Span(());

impl Span {
    /// Does nothing.
    #[inline(always)]
    pub fn about(&self, _: Arguments<'_>) {}

    /// Does nothing.
    #[inline(always)]
    pub fn end(&mut self) {}
}

/// Does nothing.
#[inline(always)]
pub fn span(_: &'static str) -> Span {
    Span(())
}

/// Does nothing.
#[inline(always)]
pub fn waits_for(_: &'static str) {}

/// `future`.
#[inline(always)]
pub fn waiting<F: Future>(_: &'static str, future: F) -> F {
    future
}

/// See the module with the feature `inspect`.
#[derive(Clone, Copy, Debug)]
pub struct Device;

impl Device {
    /// Does nothing.
    #[inline(always)]
    pub fn new(_: &str) -> Self {
        Self
    }

    /// Does nothing.
    #[inline(always)]
    pub fn span(self, _: &'static str) -> Span {
        Span(())
    }
}

#[inline(always)]
pub(crate) fn sleeping() -> Span {
    Span(())
}

#[cfg(not(xenlet = "unix"))]
#[inline(always)]
pub(crate) fn by_event(_: crate::addr::Port) {}

#[inline(always)]
pub(crate) fn by_timer() {}

#[derive(Clone)]
pub(crate) struct Task;

impl Task {
    #[inline(always)]
    pub(crate) fn new(_: &'static str) -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn woken(&self) {}

    #[inline(always)]
    pub(crate) fn awaited(&self) {}

    #[inline(always)]
    pub(crate) fn follow(self, future: Boxed) -> Boxed {
        future
    }
}
