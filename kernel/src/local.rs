//! State of the one virtual CPU: a `static` on Xen, a thread-local where a thread plays the domain.
//!
//! One vCPU, no interrupts, no preemption: on Xen nothing can run beside the code that holds a reference. In
//! a hosted test one thread is one domain, so that tests run side by side and each starts from nothing.

/// One value of the domain's state, declared by [`local!`](crate::local!) and reached by [`with`](LocalKey::with).
#[cfg(xenlet = "xen")]
#[derive(Debug)]
pub struct LocalKey<T>(T);

// SAFETY: a xenlet has one virtual CPU and takes no interrupts (`xen::boot` leaves every event masked), so
// there is never a second thread of execution that could touch the value; `Sync` is only what `static` asks for.
#[cfg(xenlet = "xen")]
unsafe impl<T> Sync for LocalKey<T> {}

#[cfg(xenlet = "xen")]
impl<T> LocalKey<T> {
    /// The value as it is when the domain starts.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Runs `f` on the value. Same shape as `std::thread::LocalKey::with`.
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        f(&self.0)
    }

    /// The same, for what may run when the domain is torn down: where a thread plays it, its values go one by one.
    ///
    /// # Errors
    /// None here.
    pub fn try_with<R>(
        &'static self,
        f: impl FnOnce(&T) -> R,
    ) -> Result<R, core::convert::Infallible> {
        Ok(f(&self.0))
    }
}

/// Declares one value of the domain's state: `local! { static NAME: Type = const_expression; }`, used by
/// `NAME.with(|value| …)`. What it holds need not be `Send` or `Sync`.
#[macro_export]
macro_rules! local {
    ($(#[$meta:meta])* $vis:vis static $name:ident: $ty:ty = $init:expr;) => {
        #[cfg(xenlet = "xen")]
        $(#[$meta])*
        $vis static $name: $crate::local::LocalKey<$ty> = $crate::local::LocalKey::new($init);
        #[cfg(not(xenlet = "xen"))]
        std::thread_local! {
            $(#[$meta])*
            $vis static $name: $ty = const { $init };
        }
    };
}
