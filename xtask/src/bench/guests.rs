//! The two guests, side by side on one Xen: the same disk, the same bridge, the same content.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::linux::Linux;
use super::site;
use crate::image::Image;
use crate::ui::Phase;
use crate::xen::{Dom0, Xen};
use crate::{interrupt, sh};

/// What dom0 runs, in its own words.
const SCRIPTS: [(&str, &str); 4] = [
    ("cputime.py", include_str!("dom0/cputime.py")),
    ("first.py", include_str!("dom0/first.py")),
    ("open.py", include_str!("dom0/open.py")),
    ("upload.py", include_str!("dom0/upload.py")),
];

/// MiB of the disk, a file in dom0's memory: what is measured is the way to it, not a disk.
const DISK_MIB: u32 = 128;
/// Bytes of it that are compared.
const COMPARED: u32 = 16 << 20;

/// A guest.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) name: &'static str,
    /// On a network of dom0 and the guests alone.
    pub(super) address: &'static str,
    /// Its number in Xen.
    pub(super) domain: u32,
}

/// What dom0 boots guests from.
#[derive(Debug)]
pub(super) struct Files<'f> {
    /// examples/bench, for the pair.
    pub(super) bench: Option<&'f Image>,
    /// examples/httpd with TLS, beside the pair.
    pub(super) tls: Option<&'f Image>,
    /// examples/httpd, for guests of their own.
    pub(super) httpd: Option<&'f Image>,
    pub(super) linux: &'f Linux,
    /// What shakes hands in dom0.
    pub(super) handshakes: Option<&'f Path>,
}

/// Both guests. They stay until [`end`].
#[derive(Debug)]
pub(super) struct Guests {
    dom0: Dom0,
    pub(super) xenlet: Guest,
    pub(super) linux: Guest,
    /// Ours with TLS, if it is wanted.
    pub(super) tls: Option<Guest>,
}

/// The guests' names in Xen.
const XENLET: &str = "bench-xenlet";
const LINUX: &str = "bench-linux";
const TLS: &str = "bench-tls";

/// Brings all files to dom0, into `/run/bench`, and makes the disk and the network.
///
/// # Errors
/// If dom0 can't.
pub(super) fn prepare(xen: &Xen, files: &Files<'_>) -> Result<()> {
    let phase = Phase::start("preparing dom0");
    let (here, there) = xen.images();
    let here = here.join("bench");
    fs::create_dir_all(&here)?;
    let mut copies = vec![
        (files.linux.kernel.clone(), "vmlinuz"),
        (files.linux.initramfs.clone(), "initramfs"),
        (files.linux.web.clone(), "web"),
    ];
    copies.extend(files.bench.map(|image| (image.packed(), "xenlet")));
    copies.extend(files.tls.map(|image| (image.packed(), "tls")));
    let keys = site::keys()?;
    copies.extend([(keys.key, "tls.pem"), (keys.ca, "ca.pem")]);
    copies.extend(
        files
            .handshakes
            .map(|file| (file.to_path_buf(), "handshakes")),
    );
    copies.extend(files.httpd.map(|image| (image.packed(), "httpd")));
    for (file, name) in &copies {
        fs::copy(file, here.join(name))
            .with_context(|| format!("cannot copy {}", file.display()))?;
    }
    for (name, content) in site::files() {
        fs::write(here.join(name), content)?;
    }
    for (name, text) in SCRIPTS {
        fs::write(here.join(name), text)?;
    }
    fs::write(here.join("xenlet.cfg"), xenlet_cfg())?;
    fs::write(here.join("tls.cfg"), tls_cfg())?;
    fs::write(here.join("linux.cfg"), linux_cfg())?;
    let disk = u64::from(DISK_MIB) << 20;
    // What an earlier run left, if it was cut short, goes first.
    let script = format!(
        "{END}
         mkdir -p /run/bench && mount -t tmpfs -o size=512m bench /run/bench && cd /run/bench || exit 1
         cp '{there}'/bench/* . && head -c {disk} /dev/urandom >disk && losetup -f --show disk >loop || exit 1
         ip addr add 10.77.0.1/24 dev xenbr0"
    );
    xen.dom0().run(&script)?;
    phase.done();
    Ok(())
}

impl Guests {
    /// Creates and awaits the guests.
    ///
    /// # Errors
    /// If dom0 can't, or a guest doesn't come up.
    pub(super) fn create(xen: &Xen, with_tls: bool) -> Result<Self> {
        let phase = Phase::start("starting both guests");
        let dom0 = xen.dom0();
        let create = |name: &str, file: &str| -> Result<u32> {
            phase.detail(file);
            let script = format!(
                "cd /run/bench && xl create {file} \"disk=['format=raw,vdev=xvda,access=rw,script={},target=$(cat loop)']\" && xl domid {name}",
                xen.block_script()
            );
            let said = dom0
                .run(&script)
                .with_context(|| format!("cannot create {name}"))?;
            number(&said)
        };
        let xenlet = Guest {
            name: "xenlet",
            address: "10.77.0.2",
            domain: create(XENLET, "xenlet.cfg")?,
        };
        let linux = Guest {
            name: "linux",
            address: "10.77.0.3",
            domain: create(LINUX, "linux.cfg")?,
        };
        let tls = || -> Result<Guest> {
            phase.detail("tls.cfg");
            let said = dom0.run(&format!(
                "cd /run/bench && xl create tls.cfg && xl domid {TLS}"
            ));
            Ok(Guest {
                name: "xenlet",
                address: "10.77.0.5",
                domain: number(&said?)?,
            })
        };
        let tls = with_tls.then(tls).transpose()?;
        let guests = Self {
            dom0,
            xenlet,
            linux,
            tls,
        };
        for guest in guests.both() {
            phase.detail(format!("waiting for {}", guest.name));
            guests.wait(
                xen,
                guest,
                "http",
                &format!("curl -s -m 5 -o /dev/null http://{}:9000/", guest.address),
            )?;
        }
        for guest in guests.sealed() {
            phase.detail("waiting for HTTPS");
            guests.wait(xen, guest, "https", "true")?;
        }
        phase.done();
        Ok(guests)
    }

    /// Ours, then the other.
    pub(super) fn both(&self) -> [&Guest; 2] {
        [&self.xenlet, &self.linux]
    }

    /// Those that are asked by HTTPS.
    fn sealed(&self) -> impl Iterator<Item = &Guest> {
        self.tls.iter().flat_map(|tls| [tls, &self.linux])
    }

    /// Waits until a guest answers, and `other` is done.
    fn wait(&self, xen: &Xen, guest: &Guest, scheme: &str, other: &str) -> Result<()> {
        let Guest { address, name, .. } = guest;
        let script = format!("curl -skf -m 5 -o /dev/null {scheme}://{address}/4k.html && {other}");
        for _ in 0..240 {
            if self.dom0.try_run(&script, Duration::from_secs(60))?.status == 0 {
                return Ok(());
            }
            interrupt::check()?;
            sleep(Duration::from_millis(250));
        }
        let console = fs::read_to_string(xen.console_file(&format!("bench-{name}")));
        bail!(
            "the guest {name} does not answer at {address} by {scheme}; its console:\n{}",
            sh::tail(&console.unwrap_or_default())
        )
    }

    /// Checks that both guests serve the same bytes as there are on the disk and in the site.
    ///
    /// # Errors
    /// If not; the error says which.
    pub(super) fn compare(&self) -> Result<()> {
        for (name, _) in site::files() {
            self.compare_one(&format!("/{name}"), &format!("cat {name}"))?;
        }
        let disk = format!("head -c {COMPARED} disk");
        self.compare_one(&format!(":9000/disk?bytes={COMPARED}"), &disk)?;
        for (name, _) in site::files() {
            let reference = format!("cat {name}");
            self.compare_at(self.sealed(), "https", &format!("/{name}"), &reference)?;
        }
        Ok(())
    }

    fn compare_one(&self, what: &str, reference: &str) -> Result<()> {
        self.compare_at(self.both().into_iter(), "http", what, reference)
    }

    fn compare_at<'g>(
        &self,
        guests: impl Iterator<Item = &'g Guest>,
        scheme: &str,
        what: &str,
        reference: &str,
    ) -> Result<()> {
        let sum = |script: &str| {
            let script =
                format!("set -o pipefail; cd /run/bench; {script} | sha256sum | cut -d' ' -f1");
            self.dom0.run(&script)
        };
        let wanted = sum(reference)?;
        for guest in guests {
            let got = sum(&format!("curl -sSkf '{scheme}://{}{what}'", guest.address))?;
            ensure!(
                got.trim() == wanted.trim() && wanted.trim().len() == 64,
                "{} has other bytes at {what}: their SHA-256 is {}, not {}",
                guest.name,
                got.trim(),
                wanted.trim()
            );
        }
        Ok(())
    }
}

/// The number of a domain, the last line that `xl` said.
pub(super) fn number(said: &str) -> Result<u32> {
    let line = said.lines().last();
    let number = line.and_then(|line| line.trim().parse().ok());
    number.with_context(|| format!("no number of a domain in `{said}`"))
}

/// Removes what there is of the guests, their disk and their network.
///
/// # Errors
/// If dom0 can't be reached.
pub(super) fn end(xen: &Xen) -> Result<()> {
    xen.dom0().run(END).map(drop)
}

/// What is gone already is no error.
const END: &str =
    "for name in bench-xenlet bench-linux bench-tls bench-fresh; do xl destroy $name 2>/dev/null; done
    if [ -e /run/bench/loop ]; then losetup -d \"$(cat /run/bench/loop)\"; fi
    umount /run/bench 2>/dev/null; ip addr del 10.77.0.1/24 dev xenbr0 2>/dev/null
    ip neigh del 10.77.0.4 dev xenbr0 2>/dev/null; true";

fn xenlet_cfg() -> String {
    format!(
        "name = \"{XENLET}\"\ntype = \"pv\"\nkernel = \"/run/bench/xenlet\"\nmemory = 64\nvcpus = 1\n\
         vif = [ 'bridge=xenbr0,mac=00:16:3e:77:00:02' ]\nextra = \"ip=10.77.0.2/24\"\n"
    )
}

fn tls_cfg() -> String {
    format!(
        "name = \"{TLS}\"\ntype = \"pv\"\nkernel = \"/run/bench/tls\"\nramdisk = \"/run/bench/tls.pem\"\nmemory = 64\nvcpus = 1\n\
         vif = [ 'bridge=xenbr0,mac=00:16:3e:77:00:05' ]\nextra = \"ip=10.77.0.5/24\"\n"
    )
}

fn linux_cfg() -> String {
    format!(
        "name = \"{LINUX}\"\ntype = \"pv\"\nkernel = \"/run/bench/vmlinuz\"\nramdisk = \"/run/bench/initramfs\"\n\
         memory = 512\nvcpus = 1\nvif = [ 'bridge=xenbr0,mac=00:16:3e:77:00:03' ]\n\
         extra = \"console=hvc0 quiet address=10.77.0.3/24\"\n"
    )
}
