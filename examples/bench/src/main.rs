//! The measured guest's entry point. All of it is in the library, where tests reach it.
#![cfg_attr(xenlet = "xen", no_std, no_main)]
#![forbid(unsafe_code)]

xenlet_kernel::main!(xenlet_bench::run);
