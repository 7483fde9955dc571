//! A process that is a guest by itself: the files that are its disks.

use super::OpenError;
use super::words::files;
use core::cell::Cell;
use xenlet_blkfront::hosted::{self as blkfront, Config, Faults, Medium};
use xenlet_kernel::hosted::is_process;
use xenlet_kernel::{cmdline, local};

local! {
    static ATTACHED: Cell<bool> = Cell::new(false);
}

/// Gives this process the disks of its command line, if it is a guest by itself and has them not yet.
///
/// # Errors
/// A word that can't be used, or a file that the host can't open. It can be tried again.
pub(super) fn attach() -> Result<(), OpenError> {
    if !is_process() || ATTACHED.with(Cell::get) {
        return Ok(());
    }
    let opened: Vec<_> = files(cmdline::line())?
        .iter()
        .map(|file| {
            let medium = Medium::open(&file.path, file.read_only);
            Ok((file.index, medium.map_err(|e| file.failed(&e))?))
        })
        .collect::<Result<_, OpenError>>()?;
    for (index, medium) in opened {
        // xvda is 202 << 8, and each has 16 partitions.
        let number = (202 << 8) | (u32::try_from(index).unwrap_or(0) << 4);
        let config = Config {
            number,
            // A file can't, and nothing is to be tried here.
            discard: false,
            faults: Faults {
                in_order: true,
                ..Faults::default()
            },
            ..Config::default()
        };
        blkfront::attach(config, &medium);
    }
    ATTACHED.with(|attached| attached.set(true));
    Ok(())
}
