//! Makes cargo link an image again when the linker script changed.

fn main() {
    println!("cargo::rerun-if-changed=../link.ld");
    println!("cargo::rerun-if-changed=build.rs");
}
