//! A Xen to start guests on: the rig's, or this very machine's.

mod console;
mod disk;
mod guest;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

pub(crate) use self::console::address;
pub(crate) use self::disk::Disk;
pub(crate) use self::guest::{Guest, Settings};
use crate::rig::{Channel, Done, Options, Rig};
use crate::sh;
use crate::{host, project};

/// Which Xen to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum On {
    /// Xen and dom0 under QEMU: `cargo xtask rig`
    #[default]
    Rig,
    /// This machine, which is a Xen dom0
    Local,
}

/// A Xen that runs.
#[derive(Debug)]
pub(crate) enum Xen {
    Rig(Rig),
    Local,
}

/// `xl` answers within this even where it is emulated on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// The rig's own script for disks.
const BLOCK: &str = "/usr/lib/xenlet/block";

/// Runs scripts in dom0. Can be cloned and taken to another thread.
#[derive(Clone, Debug)]
pub(crate) enum Dom0 {
    Rig(Channel),
    Local,
}

impl Xen {
    /// Makes sure that the Xen asked for can be had, as far as a moment's look can tell: before something that takes
    /// long.
    ///
    /// # Errors
    /// If a package is missing, or this machine is not a dom0.
    pub(crate) fn check(on: On, yes: bool) -> Result<()> {
        match on {
            On::Rig => host::need(&[host::QEMU], yes),
            On::Local => local(),
        }
    }

    /// Finds or boots the Xen asked for; says whether it was booted just now.
    ///
    /// # Errors
    /// If the rig doesn't come up, or this machine is not a dom0.
    pub(crate) fn get(on: On, options: Options) -> Result<(Self, bool)> {
        match on {
            On::Rig => Rig::up(options).map(|(rig, new)| (Self::Rig(rig), new)),
            On::Local => {
                local()?;
                Ok((Self::Local, false))
            }
        }
    }

    /// The way to run scripts in dom0.
    pub(crate) fn dom0(&self) -> Dom0 {
        match self {
            Self::Rig(rig) => Dom0::Rig(rig.channel()),
            Self::Local => Dom0::Local,
        }
    }

    /// The folder for images that dom0 sees too: its name here, and its name there.
    pub(crate) fn images(&self) -> (PathBuf, String) {
        match self {
            Self::Rig(rig) => (rig.share().join("images"), "/share/images".into()),
            Self::Local => {
                let here = project::target_dir().join("local");
                let there = here.display().to_string();
                (here, there)
            }
        }
    }

    /// Where a guest's console is written to.
    pub(crate) fn console_file(&self, guest: &str) -> PathBuf {
        match self {
            Self::Rig(rig) => rig.share().join("log").join(format!("guest-{guest}.log")),
            Self::Local => project::target_dir()
                .join("local")
                .join(format!("guest-{guest}.log")),
        }
    }

    /// Makes `address:port` of a guest reachable from this machine; returns the port of 127.0.0.1, or none where
    /// the guest's own address can be used.
    ///
    /// # Errors
    /// If the port is taken.
    pub(crate) fn forward(&self, port: u16, to: &str) -> Result<Option<u16>> {
        match self {
            Self::Rig(rig) => rig.forward(port, to).map(Some),
            Self::Local => Ok(None),
        }
    }

    /// Ends a forward.
    ///
    /// # Errors
    /// If QEMU can't be reached.
    pub(crate) fn unforward(&self, port: u16) -> Result<()> {
        match self {
            Self::Rig(rig) => rig.unforward(port),
            Self::Local => Ok(()),
        }
    }

    /// Makes files disks that dom0 can give to the guest `owner`; returns each in xl's words. Those it had before, of a
    /// run that was cut short, are taken away.
    ///
    /// # Errors
    /// If a file can't be opened, or is in use by another guest.
    fn plug(&self, owner: &str, disks: &[Disk]) -> Result<Vec<String>> {
        let script = match self {
            Self::Rig(_) => {
                let running = format!("xl domid '{owner}' >/dev/null 2>&1");
                if !disks.is_empty() && self.dom0().try_run(&running, PATIENCE)?.status == 0 {
                    bail!(
                        "the guest {owner} is there already: end it with `cargo xtask rig exec xl destroy {owner}`"
                    );
                }
                Some(BLOCK)
            }
            Self::Local => None,
        };
        let targets = self.lend(owner, disks)?;
        let words = disks.iter().zip(&targets).enumerate();
        words
            .map(|(number, (disk, target))| disk.specification(number, script, target))
            .collect()
    }

    /// The script for disks that are devices of dom0 already.
    pub(crate) fn block_script(&self) -> &'static str {
        match self {
            Self::Rig(_) => BLOCK,
            Self::Local => "block",
        }
    }

    /// Gives files to dom0, for `owner`, until they are unplugged; returns the device or file that each is there. Those
    /// that `owner` had before are taken away.
    ///
    /// # Errors
    /// If a file can't be opened, or is in use by another guest.
    pub(crate) fn lend(&self, owner: &str, disks: &[Disk]) -> Result<Vec<PathBuf>> {
        match self {
            Self::Rig(rig) => {
                rig.unplug(owner)?;
                let drives: Vec<_> = disks.iter().map(Disk::drive).collect();
                let devices = rig.plug(owner, &drives)?;
                Ok(devices.into_iter().map(PathBuf::from).collect())
            }
            Self::Local => {
                let files = disks.iter().map(|disk| disk.file.canonicalize());
                Ok(files.collect::<Result<_, _>>()?)
            }
        }
    }

    /// Takes the disks of a guest that is gone away: from here on their files hold what it wrote, and are free.
    ///
    /// # Errors
    /// If QEMU can't be reached.
    pub(crate) fn unplug(&self, owner: &str) -> Result<()> {
        match self {
            Self::Rig(rig) => rig.unplug(owner),
            Self::Local => Ok(()),
        }
    }

    /// The end of Xen's own log.
    pub(crate) fn log(&self) -> String {
        match self.dom0().run("xl dmesg | tail -n 40") {
            Ok(text) => text,
            Err(error) => format!("no answer from dom0: {error:#}"),
        }
    }
}

impl Dom0 {
    /// Runs a script; its output is in the result even if it fails.
    ///
    /// # Errors
    /// If it can't be run, or takes too long.
    pub(crate) fn try_run(&self, script: &str, timeout: Duration) -> Result<Done> {
        match self {
            Self::Rig(channel) => channel.exec(script, timeout),
            Self::Local => {
                let output = as_root(script)?.output().context("cannot start bash")?;
                let text = [output.stdout, output.stderr].concat();
                Ok(Done {
                    status: output.status.code().unwrap_or(-1),
                    text: String::from_utf8_lossy(&text).into_owned(),
                })
            }
        }
    }

    /// Runs a script and returns its output.
    ///
    /// # Errors
    /// If it can't be run or fails; the error holds its output.
    pub(crate) fn run(&self, script: &str) -> Result<String> {
        let done = self.try_run(script, PATIENCE)?;
        if done.status != 0 {
            bail!(
                "in dom0, `{script}` failed ({}):\n{}",
                done.status,
                sh::tail(&done.text)
            );
        }
        Ok(done.text)
    }
}

/// A script for bash, as root.
fn as_root(script: &str) -> Result<Command> {
    let root = sh::output(Command::new("id").arg("-u"))?.trim() == "0";
    let mut command = Command::new(if root { "bash" } else { "sudo" });
    if !root {
        command.arg("bash");
    }
    command.args(["-c", script]);
    Ok(command)
}

/// Checks that this machine is a dom0 with the `xl` toolstack.
fn local() -> Result<()> {
    const CAPABILITIES: &str = "/proc/xen/capabilities";
    let capabilities = std::fs::read_to_string(CAPABILITIES).unwrap_or_default();
    if !capabilities.contains("control_d") {
        let what = match Path::new("/sys/hypervisor/type").exists() {
            true => "a guest of Xen, not its dom0",
            false => "not running on Xen",
        };
        bail!(
            "`--on local` needs a Xen dom0, and this machine is {what} ({CAPABILITIES} has no `control_d`). Without `--on`, a Xen is booted under QEMU."
        );
    }
    if !sh::has("xl") {
        bail!("this is a Xen dom0 without `xl`: install Xen's tools (Debian: xen-utils)");
    }
    std::fs::create_dir_all(project::target_dir().join("local"))?;
    Ok(())
}
