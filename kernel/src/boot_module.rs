//! The boot module (`mod_start` and `mod_len` of start_info): a file that the toolstack gives a guest beside its image. `ramdisk` in
//! the guest's configuration names it; for guests that are processes of the host, `module=FILE` on the command line does.
//!
//! It is the way for secrets to reach a guest: the image does not contain them, and no other guest can read them.

use alloc::string::String;
use core::sync::atomic::{Ordering, compiler_fence};

/// Lends the module to `read`, and wipes it. `None` if there is none, and the second time: a file of the host's is still
/// there then.
///
/// # Errors
/// One line that says why it can't be read.
pub fn take<R>(read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>, String> {
    let Some(module) = crate::platform::take_boot_module()? else {
        return Ok(None);
    };
    let result = read(module);
    wipe(module);
    Ok(Some(result))
}

/// Overwrites secrets with zeros, so that the compiler can't know better.
fn wipe(bytes: &mut [u8]) {
    for byte in bytes {
        // SAFETY: a reference is valid for a write.
        unsafe { core::ptr::from_mut(byte).write_volatile(0) };
    }
    compiler_fence(Ordering::SeqCst);
}

#[cfg(not(xenlet = "xen"))]
pub(crate) mod file {
    //! The file that the command line names instead.

    /// Reads what `module=FILE` names, into memory that is there for good, as a guest's is.
    ///
    /// # Errors
    /// One line that names the file.
    pub(crate) fn read() -> Result<Option<&'static mut [u8]>, String> {
        let Some(path) = crate::cmdline::get("module") else {
            return Ok(None);
        };
        let bytes = std::fs::read(path).map_err(|error| format!("module={path}: {error}"))?;
        Ok(Some(bytes.leak()))
    }
}

#[cfg(all(test, not(xenlet = "unix")))]
mod tests {
    use super::*;
    use crate::hosted::{self, Config};

    #[test]
    fn it_is_lent_once() {
        let config = Config {
            boot_module: Some(b"secret".to_vec()),
            ..Config::default()
        };
        hosted::run(config, async || {
            assert_eq!(take(<[u8]>::to_vec), Ok(Some(b"secret".to_vec())));
            assert_eq!(take(<[u8]>::to_vec), Ok(None));
        });
        hosted::test(async || assert_eq!(take(<[u8]>::len), Ok(None)));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let config = Config {
            command_line: "module=/no/such/file".into(),
            ..Config::default()
        };
        hosted::run(config, async || {
            let error = take(<[u8]>::len).unwrap_err();
            assert!(error.starts_with("module=/no/such/file: "), "{error}");
        });
    }

    #[test]
    fn wiped_is_zeros() {
        let mut bytes = *b"secret";
        wipe(&mut bytes);
        assert_eq!(bytes, [0; 6]);
    }
}
