//! Tables that are computed when a program starts, instead of being in the image's file. `link.ld` says which they are: a
//! library has them as constants, and their content is left out.

/// The place of those tables, in words of zeros; once. `None` where they are constants as usual, or nobody uses them.
///
/// Who takes it must fill it before anything uses them.
pub fn take() -> Option<&'static mut [u64]> {
    crate::platform::take_computed()
}
