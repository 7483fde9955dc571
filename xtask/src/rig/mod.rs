//! The rig: a real Xen and a Linux dom0 in QEMU, made of Debian's packages, all of it under `target/rig`.
//!
//! ```text
//! target/rig/  apt/  root/           packages, downloaded and unpacked
//!              boot-…/               xen, vmlinuz, dom0.img: what QEMU boots
//!              share/                what dom0 sees as /share: images in, logs out
//!              share/log/            guest-NAME.log: each guest's console; hypervisor.log: Xen's
//!              serial.log  qemu.log  Xen and dom0 as they boot; QEMU's own words
//!              state.json            the running rig: QEMU's pid, how to reach dom0
//! ```
//!
//! QEMU's user network is the rig's: 10.0.2.2 is the gateway, 10.0.2.10 is dom0, guests get addresses from
//! 10.0.2.15 on by DHCP, and ports of 127.0.0.1 are forwarded to any of them.

mod channel;
pub(crate) mod cpio;
mod dom0;
mod drive;
mod elf;
pub(crate) mod gather;
pub(crate) mod packages;
mod qemu;
mod qmp;

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

pub(crate) use self::channel::{Channel, Done};
pub(crate) use self::drive::Drive;
use self::packages::Packages;
use crate::ui::Phase;
use crate::{host, interrupt, project, sh};

/// dom0's own memory, MiB.
const DOM0_MIB: u64 = 1024;
/// What the hypervisor takes for itself, about, MiB.
const XEN_MIB: u64 = 256;
/// The least guests need for the tests: one of 2 GiB and small ones beside it, MiB.
const GUESTS_MIB: u64 = 2560;
/// Emulated on a busy machine, dom0 still comes up within this.
const BOOT_DEADLINE: Duration = Duration::from_secs(600);
/// dom0's address and the port of its control channel.
const CONTROL: &str = "10.0.2.10:10";

/// What a running rig is known by: the content of `state.json`.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    pid: u32,
    port: u16,
    token: String,
    mib: u64,
    /// Whether its time counts instructions.
    counting: bool,
}

/// A running rig.
#[derive(Debug)]
pub(crate) struct Rig {
    dir: PathBuf,
    state: State,
}

/// The rig's folder.
pub(crate) fn folder() -> PathBuf {
    project::target_dir().join("rig")
}

/// dom0's packages, downloaded if need be.
///
/// # Errors
/// If they can't be downloaded.
pub(crate) fn software() -> Result<Packages> {
    fs::create_dir_all(folder())?;
    packages::fetch(&folder(), &packages::DOM0, false)
}

/// Xen's public headers, from dom0's packages: for `XENLET_XEN_HEADERS`.
///
/// # Errors
/// If they can't be downloaded.
pub(crate) fn headers() -> Result<PathBuf> {
    Ok(software()?.root.join("usr/include"))
}

impl Rig {
    /// The rig that runs now, if one does.
    pub(crate) fn running() -> Option<Self> {
        let dir = folder();
        let state: State =
            serde_json::from_str(&fs::read_to_string(dir.join("state.json")).ok()?).ok()?;
        let rig = Self { dir, state };
        rig.alive().then_some(rig)
    }

    /// The running rig, or a new one; and whether it is new.
    ///
    /// # Errors
    /// If something is missing on this machine, can't be downloaded, or dom0 doesn't come up.
    pub(crate) fn up(options: Options) -> Result<(Self, bool)> {
        let dir = folder();
        fs::create_dir_all(&dir)?;
        // One `rig up` at a time: a second one waits and finds the first one's rig.
        let lock = File::create(dir.join("lock"))?;
        lock.lock()?;
        if let Some(rig) = Self::running() {
            return Ok((rig, false));
        }
        host::need(&[host::QEMU], options.yes)?;
        let packages = packages::fetch(&dir, &packages::DOM0, options.fresh)?;
        let dom0 = dom0::prepare(&dir, &packages)?;
        let phase = Phase::start("booting Xen and dom0");
        let rig = Self::boot(dir, &dom0, options.counting)?;
        phase.done();
        Ok((rig, true))
    }

    fn boot(dir: PathBuf, dom0: &dom0::Dom0, counting: bool) -> Result<Self> {
        let token = token()?;
        let share = dir.join("share");
        let _ = fs::remove_dir_all(&share);
        fs::create_dir_all(share.join("log"))?;
        fs::create_dir_all(share.join("images"))?;
        fs::set_permissions(&share, fs::Permissions::from_mode(0o700))?;
        fs::write(share.join("token"), &token)?;
        let mib = qemu::memory()?;
        let mut qemu = qemu::start(&dir, dom0, mib, counting)?;
        let mut rig = Self {
            dir,
            state: State {
                pid: qemu.id(),
                port: 0,
                token,
                mib,
                counting,
            },
        };
        let result = rig.await_dom0(&mut qemu);
        if result.is_err() {
            let _ = qemu.kill();
            let _ = qemu.wait();
        }
        result?;
        let state = File::create(rig.dir.join("state.json"))?;
        state.set_permissions(fs::Permissions::from_mode(0o600))?; // it holds the token
        serde_json::to_writer(state, &rig.state)?;
        Ok(rig)
    }

    /// Waits until dom0 answers; tells why if it never will.
    fn await_dom0(&mut self, qemu: &mut Child) -> Result<()> {
        let deadline = Instant::now() + BOOT_DEADLINE;
        loop {
            interrupt::check()?;
            if let Some(status) = qemu.try_wait()? {
                let said = fs::read_to_string(self.dir.join("qemu.log")).unwrap_or_default();
                bail!(
                    "QEMU ended ({status}): {said}\nthe last words of Xen and dom0:\n{}",
                    self.serial_tail()
                );
            }
            if self.state.port == 0 {
                self.state.port = self.forward(0, CONTROL).unwrap_or(0);
            } else if self.channel().exec("true", Duration::from_secs(5)).is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "dom0 did not come up within {} s, which a machine with other work to do may need: try again when it has less; the last words of Xen and dom0:\n{}",
                    BOOT_DEADLINE.as_secs(),
                    self.serial_tail()
                );
            }
            sleep(Duration::from_millis(200));
        }
    }

    fn alive(&self) -> bool {
        // A number may have gone to another process since; that one doesn't work in this folder.
        let works_in = fs::read_link(format!("/proc/{}/cwd", self.state.pid));
        works_in.is_ok_and(|cwd| fs::canonicalize(&self.dir).is_ok_and(|dir| dir == cwd))
    }

    /// The way to run something in dom0.
    pub(crate) fn channel(&self) -> Channel {
        Channel {
            port: self.state.port,
            token: self.state.token.clone(),
        }
    }

    /// The folder dom0 sees as `/share`.
    pub(crate) fn share(&self) -> PathBuf {
        self.dir.join("share")
    }

    /// The machine's memory and what of it guests can have, MiB.
    pub(crate) fn memory(&self) -> (u64, u64) {
        (
            self.state.mib,
            self.state.mib.saturating_sub(DOM0_MIB + XEN_MIB),
        )
    }

    /// Whether its time counts instructions.
    pub(crate) fn counts(&self) -> bool {
        self.state.counting
    }

    /// QEMU's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.state.pid
    }

    /// The end of what Xen and dom0 printed on the serial line.
    pub(crate) fn serial_tail(&self) -> String {
        sh::tail(&fs::read_to_string(self.dir.join("serial.log")).unwrap_or_default())
    }

    /// Forwards a port of 127.0.0.1, any free one for 0, to `address:port` on the rig's network; returns it.
    ///
    /// # Errors
    /// If the port is taken.
    pub(crate) fn forward(&self, port: u16, to: &str) -> Result<u16> {
        let port = match port {
            0 => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
                .local_addr()?
                .port(),
            port => port,
        };
        let said = qmp::monitor(
            self.state.pid,
            &format!("hostfwd_add tcp:127.0.0.1:{port}-{to}"),
        )?;
        if !said.is_empty() {
            bail!("cannot forward 127.0.0.1:{port} to {to}: is the port taken? QEMU says: {said}");
        }
        Ok(port)
    }

    /// Ends a forward.
    ///
    /// # Errors
    /// If QEMU can't be reached.
    pub(crate) fn unforward(&self, port: u16) -> Result<()> {
        qmp::monitor(
            self.state.pid,
            &format!("hostfwd_remove tcp:127.0.0.1:{port}"),
        )
        .map(drop)
    }

    /// Ends QEMU, and with it everything that runs on it.
    ///
    /// # Errors
    /// If it doesn't end.
    pub(crate) fn down(self) -> Result<()> {
        // An answer is not to be expected: the monitor goes with QEMU.
        let _ = qmp::execute(self.state.pid, "quit", &serde_json::json!({}));
        for patience in 0..100 {
            if !self.alive() {
                let _ = fs::remove_file(self.dir.join("state.json"));
                return Ok(());
            }
            if patience == 50 {
                sh::output(
                    Command::new("kill")
                        .arg("-9")
                        .arg(self.state.pid.to_string()),
                )?;
            }
            sleep(Duration::from_millis(100));
        }
        bail!("QEMU (process {}) does not end", self.state.pid)
    }
}

/// How to bring a rig up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Install missing packages of this machine without asking.
    pub(crate) yes: bool,
    /// Look for newer packages.
    pub(crate) fresh: bool,
    /// A new rig's time counts instructions, for measurements that repeat.
    pub(crate) counting: bool,
}

/// 32 hexadecimal digits that nobody else knows.
fn token() -> Result<String> {
    let uuid = || {
        fs::read_to_string("/proc/sys/kernel/random/uuid")
            .context("no random numbers from the kernel")
    };
    Ok(uuid()?.chars().filter(char::is_ascii_hexdigit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_differ() {
        let (one, two) = (token().unwrap(), token().unwrap());
        assert_eq!(one.len(), 32);
        assert_ne!(one, two);
    }
}
