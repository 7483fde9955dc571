//! The commands, one file each.

pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod disk;
pub(crate) mod fuzz;
pub(crate) mod profile;
pub(crate) mod rig;
pub(crate) mod run;
pub(crate) mod scan;
pub(crate) mod soak;
pub(crate) mod symbolize;
pub(crate) mod test;
pub(crate) mod tidy;
