//! Files of this machine as drives of the rig: QEMU plugs them into its SCSI bus, and dom0 finds them as `/dev/sd…`.
//!
//! Nothing is copied, and nothing goes by the share. What a guest flushed is in the file when QEMU says so; the rest
//! is too when the drive is unplugged.

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::{Rig, qmp};

/// A file to plug in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Drive {
    /// The file, an image of the whole disk.
    pub(crate) file: PathBuf,
    /// Whether it can't be written.
    pub(crate) read_only: bool,
    /// Bytes of a sector: 512 or 4096.
    pub(crate) sector_size: u32,
}

/// An emulated dom0 finds a new drive within this even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The world-wide name of drive `number` of `owner`, by which dom0 knows it again.
fn name(owner: &str, number: usize) -> String {
    // The first digit says that the rest is the maker's own choice; the last two are the number.
    format!("{}{number:02x}", prefix(owner))
}

fn prefix(owner: &str) -> String {
    let hash = owner.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("3{:013x}", hash >> 12)
}

impl Rig {
    /// Plugs in the drives of a guest, or of whoever `owner` is; returns the names of their devices in dom0.
    ///
    /// # Errors
    /// If a file can't be opened, or is in use by another guest.
    pub(crate) fn plug(&self, owner: &str, drives: &[Drive]) -> Result<Vec<String>> {
        let plugged: Result<Vec<String>> = drives
            .iter()
            .enumerate()
            .map(|(number, drive)| {
                self.plug_one(&name(owner, number), drive)
                    .with_context(|| format!("cannot make {} a disk", drive.file.display()))
            })
            .collect();
        if plugged.is_err() {
            self.unplug(owner)?;
        }
        plugged
    }

    fn plug_one(&self, name: &str, drive: &Drive) -> Result<String> {
        let file = drive.file.canonicalize()?;
        let file = file
            .to_str()
            .context("QEMU can't open a file whose name is not UTF-8")?;
        let node = node(name);
        qmp::execute(
            self.state.pid,
            "blockdev-add",
            &json!({
                "driver": "raw",
                "node-name": node,
                "read-only": drive.read_only,
                "discard": "unmap",
                "file": { "driver": "file", "filename": file, "discard": "unmap" },
            }),
        )?;
        let wwn = u64::from_str_radix(name, 16)?;
        qmp::execute(
            self.state.pid,
            "device_add",
            &json!({
                "driver": "scsi-hd",
                "bus": "scsi.0",
                "id": node,
                "drive": node,
                "wwn": wwn,
                "logical_block_size": drive.sector_size,
                "physical_block_size": drive.sector_size,
            }),
        )
        .context("is it in use already, by another guest or twice by this one?")?;
        self.find(name)
    }

    /// Waits until dom0 has found the drive.
    fn find(&self, name: &str) -> Result<String> {
        let script = format!(
            "for i in $(seq 300); do
                 found=$(grep -l naa.{name} /sys/block/sd*/device/wwid 2>/dev/null | cut -d/ -f4)
                 [ -n \"$found\" ] && [ -b /dev/$found ] && echo /dev/$found && exit 0
                 sleep 0.1
             done
             exit 1"
        );
        let done = self.channel().exec(&script, PATIENCE)?;
        if done.status != 0 {
            bail!("dom0 does not find it");
        }
        Ok(done.text.trim().to_owned())
    }

    /// Takes out all drives of `owner`: nobody may use them any more.
    ///
    /// # Errors
    /// If QEMU can't be reached, or refuses.
    pub(crate) fn unplug(&self, owner: &str) -> Result<()> {
        let all = qmp::execute(
            self.state.pid,
            "query-named-block-nodes",
            &json!({ "flat": true }),
        )?;
        let mine = node(&prefix(owner));
        for found in all.as_array().into_iter().flatten() {
            let name = found["node-name"].as_str().unwrap_or_default();
            if name.starts_with(&mine) {
                // It may never have become a device, if something went wrong on the way.
                let _ = qmp::execute(self.state.pid, "device_del", &json!({ "id": name }));
                self.forget(name)?;
            }
        }
        Ok(())
    }

    /// Closes the file of a drive whose device was told to go: it is gone a moment after.
    fn forget(&self, node: &str) -> Result<()> {
        let arguments = json!({ "node-name": node });
        let deadline = Instant::now() + PATIENCE;
        loop {
            match qmp::execute(self.state.pid, "blockdev-del", &arguments) {
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => sleep(Duration::from_millis(20)),
                Ok(_) => return Ok(()),
            }
        }
    }
}

/// What QEMU calls it.
fn node(name: &str) -> String {
    format!("drive-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_world_wide_and_an_owners_own() {
        let (one, two) = (name("e2e-1", 0), name("e2e-1", 15));
        assert_eq!((one.len(), two.len()), (16, 16));
        assert!(one.starts_with(&prefix("e2e-1")) && two.starts_with(&prefix("e2e-1")));
        assert_ne!(one, two);
        assert!(!name("e2e-2", 0).starts_with(&prefix("e2e-1")));
        assert!(u64::from_str_radix(&one, 16).is_ok());
        // QEMU's limit.
        assert!(node(&one).len() <= 31);
    }
}
