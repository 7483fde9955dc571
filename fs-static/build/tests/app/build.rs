//! What every application has.

fn main() {
    xenlet_fs_static_build::embed("site");
}
