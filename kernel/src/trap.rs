//! Ways to crash on purpose, so that a test sees what a crash looks like.

/// Crashes in the way that `how` names, or returns if it names none: `null` reads address zero, `code` writes into the
/// image's code, `data` executes data, `panic` panics, `loop` never ends. For tests of what is forbidden, of the report and of
/// the watchdog.
///
/// On the host's targets each is a panic: the process belongs to the test.
pub fn provoke(how: &str) {
    match how {
        "null" => drop(read_null()),
        "code" => write_code(),
        "data" => execute_data(),
        "panic" => panic!("asked for by the command line"),
        #[cfg(xenlet = "xen")]
        "loop" => loop {
            core::hint::spin_loop();
        },
        _ => log::warn!("there is no crash named `{how}`; try null, code, data, panic or loop"),
    }
}

#[inline(never)]
fn write_code() {
    #[cfg(xenlet = "xen")]
    {
        let code = (provoke as fn(&str) as *const u8).cast_mut();
        // SAFETY: deliberately not safe in the usual sense: code is never mapped writable, so this instruction faults.
        unsafe { code.write_volatile(0xcc) };
    }
    #[cfg(not(xenlet = "xen"))]
    panic!("write into code, asked for by the command line");
}

#[inline(never)]
fn execute_data() {
    #[cfg(xenlet = "xen")]
    {
        // `ret`: harmless where data could be executed after all.
        let data = alloc::boxed::Box::new([0xc3u8; 16]);
        let address = core::hint::black_box(&*data).as_ptr().addr();
        // SAFETY: deliberately not safe in the usual sense: data is never mapped executable, so the call faults.
        unsafe { core::arch::asm!("call {}", in(reg) address, clobber_abi("C")) };
    }
    #[cfg(not(xenlet = "xen"))]
    panic!("execution of data, asked for by the command line");
}

/// Reads address zero, which nothing maps: a page fault with a report. For tests of the report.
///
/// On the host's targets this is a panic instead: the process belongs to the test.
#[inline(never)]
pub fn read_null() -> u8 {
    #[cfg(xenlet = "xen")]
    {
        let null = core::hint::black_box(core::ptr::null::<u8>());
        // SAFETY: deliberately not safe in the usual sense: page zero is never mapped, so this instruction faults
        // and the trap handler ends the domain. Volatile, so that it is not optimised away.
        unsafe { null.read_volatile() }
    }
    #[cfg(not(xenlet = "xen"))]
    panic!("read of address zero, asked for by the command line")
}
