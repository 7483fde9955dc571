//! Starting QEMU: the machine the rig is.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use super::dom0::Dom0;
use super::{DOM0_MIB, GUESTS_MIB, XEN_MIB, qmp};
use crate::host;

/// The machine, in QEMU's words.
const MACHINE: &str = "-name xenlet-rig -display none -no-reboot \
     -serial file:serial.log -fsdev local,id=share,path=share,security_model=none \
     -device virtio-9p-pci,fsdev=share,mount_tag=share -netdev user,id=net -device virtio-net-pci,netdev=net,romfile= \
     -device virtio-scsi-pci,id=scsi";

/// Its processors. Software emulation: it works everywhere, and everywhere alike (under KVM in a virtual machine, Xen
/// was seen to stop at an instruction KVM can't emulate). With SMAP on, an emulated PV dom0 crashes at once: #PF in
/// Xen's create_bounce_frame. With XSAVE, programs of dom0 now and then had wrong AVX or SSE registers while a guest was busy: one in
/// twelve downloads by HTTPS could not be decrypted, though a copy of what arrived could; without, none of 100. Guests have no AVX
/// then. ([`XEN`] has another remedy since, by which `bench` has XSAVE; it was not tried with two processors.)
const PROCESSORS: &str = "-accel tcg -cpu max,-smap,-smep,-pku,-la57,-xsave -smp 2";

/// One processor whose every instruction takes a nanosecond of the machine's time, however long it takes here, and
/// that loses no time when it has nothing to do. Each round of a REP counts as an instruction: without ERMS and FSRM,
/// nobody copies by those.
const COUNTED: &str = "-accel tcg,thread=single -icount shift=0,sleep=off \
     -cpu max,-smap,-smep,-pku,-la57,-erms,-fsrm -smp 1";

/// Xen's command line, before dom0's memory. Vector registers change hands at each switch of domains: left to itself, Xen does that when a
/// domain first uses them (it believes itself on a processor by AMD), and then HTTPS in dom0 failed as [`PROCESSORS`] says.
const XEN: &str =
    "console=com1 com1=115200,8n1 loglvl=info guest_loglvl=all bootscrub=0 spec-ctrl=eager-fpu";

/// dom0's command line.
const LINUX: &str = "console=hvc0 earlyprintk=xen loglevel=6 panic=1";

/// Starts QEMU in the rig's folder `dir`, detached from this terminal; `counting` makes time count instructions.
///
/// # Errors
/// If it can't be started.
pub(super) fn start(dir: &Path, dom0: &Dom0, mib: u64, counting: bool) -> Result<Child> {
    // Paths are relative to the folder: a comma in the project's own path would end an option.
    let inside = |path: &Path| path.strip_prefix(dir).unwrap_or(path).display().to_string();
    let log = File::create(dir.join("qemu.log"))?;
    Command::new(host::QEMU.program)
        .current_dir(dir)
        .args(MACHINE.split_whitespace())
        .args(if counting { COUNTED } else { PROCESSORS }.split_whitespace())
        .args(["-m", &mib.to_string()])
        .args(["-qmp", &format!("unix:{},server=on,wait=off", qmp::SOCKET)])
        .args(["-kernel", &inside(&dom0.xen)])
        .args([
            "-append",
            &format!("{XEN} dom0_mem={DOM0_MIB}M,max:{DOM0_MIB}M"),
        ])
        .args([
            "-initrd",
            &format!(
                "{} {LINUX},{}",
                inside(&dom0.kernel),
                inside(&dom0.initramfs)
            ),
        ])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0) // Ctrl-C on this terminal is not for QEMU
        .spawn()
        .with_context(|| format!("cannot start {}", host::QEMU.program))
}

/// How much memory the machine gets, MiB: enough for the tests, more if there is plenty.
///
/// # Errors
/// If there is too little here.
pub(super) fn memory() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("cannot read /proc/meminfo")?;
    choose_memory(available_mib(&text).context("no MemAvailable in /proc/meminfo")?)
}

fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? / 1024)
}

/// QEMU takes memory only as it is touched, so that what is available need not cover all of it.
fn choose_memory(available: u64) -> Result<u64> {
    const ENOUGH: u64 = DOM0_MIB + XEN_MIB + GUESTS_MIB + 256;
    const PLENTY: u64 = 6144;
    if available >= PLENTY + 2048 {
        Ok(PLENTY)
    } else if available >= ENOUGH / 2 + 512 {
        Ok(ENOUGH)
    } else {
        bail!(
            "the rig is a machine of {ENOUGH} MiB, half of which it uses; only {available} MiB are available here"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_and_chosen() {
        let text = "MemTotal: 8 kB\nMemAvailable:   16777216 kB\n";
        assert_eq!(available_mib(text), Some(16384));
        assert_eq!(choose_memory(16384).unwrap(), 6144);
        assert_eq!(choose_memory(4000).unwrap(), 4096);
        assert!(
            choose_memory(1000)
                .unwrap_err()
                .to_string()
                .contains("1000 MiB")
        );
    }
}
