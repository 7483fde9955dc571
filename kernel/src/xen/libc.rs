//! What crates for Linux ask of its C library, as far as there is an answer here: randomness, by the one system call that
//! `getrandom` 0.2 makes (below ring). What else they may refer to is missing when an image is linked, and named then.

use crate::entropy;
use core::cell::Cell;
use core::ffi::{c_int, c_long};

/// `SYS_getrandom` of x86-64.
const GETRANDOM: c_long = 318;
const EIO: c_int = 5;
const ENOSYS: c_int = 38;

local! {
    static ERRNO: Cell<c_int> = Cell::new(0);
}

/// Where the last error's number is.
#[unsafe(no_mangle)]
extern "C" fn __errno_location() -> *mut c_int {
    ERRNO.with(Cell::as_ptr)
}

/// `syscall(2)`, of which there is only `getrandom`: `len` bytes to `buf`. Never an instruction, which Xen would take for a
/// hypercall.
#[unsafe(no_mangle)]
extern "C" fn syscall(number: c_long, buf: *mut u8, len: usize) -> c_long {
    if number != GETRANDOM {
        ERRNO.with(|errno| errno.set(ENOSYS));
        return -1;
    }
    // SAFETY: `getrandom`'s caller owns `len` bytes at `buf`.
    unsafe { buf.write_bytes(0, len) };
    // SAFETY: likewise, and they are initialised now.
    let bytes = unsafe { core::slice::from_raw_parts_mut(buf, len) };
    match entropy::fill(bytes) {
        Ok(()) => c_long::try_from(len).unwrap_or(c_long::MAX),
        Err(_) => {
            ERRNO.with(|errno| errno.set(EIO));
            -1
        }
    }
}
