//! Symbols that the shipped `core` and `alloc`, built to unwind, refer to. Nothing here unwinds: a panic ends the domain.

/// The personality routine, which only an unwinder would call.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Where a landing pad would go on unwinding.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    panic!("something unwinds in an image that aborts on panic")
}
