//! The console's shared page (`xen/io/console.h`).

/// Bytes of the ring that carries the console's input to the guest.
pub const IN_SIZE: usize = 1024;
/// Bytes of the ring that carries the guest's output.
pub const OUT_SIZE: usize = 2048;

/// `struct xencons_interface`. Indices run freely and are masked by the ring's size.
#[repr(C)]
pub struct Interface {
    /// `in`: written by the backend.
    pub input: [u8; IN_SIZE],
    /// `out`: written by the guest.
    pub output: [u8; OUT_SIZE],
    /// Written by the guest.
    pub in_cons: u32,
    /// Written by the backend.
    pub in_prod: u32,
    /// Written by the backend.
    pub out_cons: u32,
    /// Written by the guest.
    pub out_prod: u32,
}

super::layout!(Interface, 3088, { input: 0, output: 1024, in_cons: 3072, in_prod: 3076, out_cons: 3080, out_prod: 3084 });
