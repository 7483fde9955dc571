//! Makes the site part of the program: the folder that `XENLET_SITE` names, or `site/`.
#![forbid(unsafe_code)]

fn main() {
    xenlet_fs_static_build::embed("site");
    if std::env::var_os("CARGO_FEATURE_DISK").is_some() {
        xenlet_fs_static_build::embed_types();
    }
}
