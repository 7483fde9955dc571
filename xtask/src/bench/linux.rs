//! The guest to measure beside: Debian's Linux as a PV guest, with an initramfs of only what the rows need. It has the
//! services that `examples/bench` has, on the same ports: pages are served by nginx, and `/blk` is answered by fio.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::site;
use crate::rig::cpio::{self, Entry, script, text};
use crate::rig::gather::{Gather, only_match};
use crate::rig::packages::{self, Packages, Selection, fingerprint};
use crate::ui::Phase;
use crate::{project, rig};

/// What the guest runs that dom0 doesn't.
const SERVICES: Selection = Selection {
    what: "the Linux guest's services from Debian (about 40 MB)",
    names: &["fio", "nginx"],
    xen: false,
};

const INIT: &str = include_str!("linux/init.sh");
const BLK: &str = include_str!("linux/blk.sh");
const NGINX: &str = include_str!("linux/nginx.conf");

/// Programs of dom0's packages, and of the services': all, or what a web server needs.
const ALL: [&str; 2] = ["busybox ip socat", "fio nginx"];
const WEB: [&str; 2] = ["busybox", "nginx"];

/// Kernel modules by name; what they depend on comes with them.
const MODULES: &str = "xen-netfront xen-blkfront";

/// What the guest boots.
#[derive(Debug)]
pub(super) struct Linux {
    pub(super) kernel: PathBuf,
    /// With all services. It is not compressed: it is copied faster than unpacked.
    pub(super) initramfs: PathBuf,
    /// With nginx alone, compressed: what is measured where size and start are.
    pub(super) web: PathBuf,
}

/// Makes the guest's files, or finds those made before from the same packages.
///
/// # Errors
/// If something needed can't be downloaded, or a file can't be read or written.
pub(super) fn prepare() -> Result<Linux> {
    let dir = project::target_dir().join("bench").join("linux");
    fs::create_dir_all(&dir)?;
    let dom0 = rig::software()?;
    let services = packages::fetch(&dir, &SERVICES, false)?;
    let texts = [
        &dom0.versions,
        &services.versions,
        INIT,
        BLK,
        NGINX,
        ALL[0],
        ALL[1],
        WEB[0],
        WEB[1],
        MODULES,
    ];
    let site = site::files();
    let key = fs::read(site::keys()?.key)?;
    let mut inputs = texts.map(str::as_bytes).to_vec();
    inputs.extend(site.iter().map(|(_, content)| content.as_slice()));
    inputs.push(&key);
    let name = format!("linux-{}.img", fingerprint(&inputs));
    let linux = Linux {
        kernel: only_match(&dom0.root.join("boot"), "vmlinuz-", "-amd64")?,
        web: dir.join(format!("web-{name}")),
        initramfs: dir.join(name),
    };
    // The last one that is put in place: where it is, the other is.
    if !linux.initramfs.is_file() {
        let phase = Phase::start("making the Linux guest's initramfs");
        remove_older(&dir)?;
        let web = archive(&dom0, &services, WEB)?;
        let mut compressed = GzEncoder::new(fs::File::create(&linux.web)?, Compression::best());
        compressed.write_all(&web)?;
        compressed.finish()?;
        let temporary = dir.join("linux.img.new");
        fs::write(&temporary, archive(&dom0, &services, ALL)?)?;
        fs::rename(temporary, &linux.initramfs)?;
        phase.done();
    }
    Ok(linux)
}

fn remove_older(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "img") {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The content of an initramfs with some programs. The services' packages are as for an empty system: they have their own libraries, of
/// the same Debian.
fn archive(
    dom0: &Packages,
    services: &Packages,
    [programs, service_programs]: [&str; 2],
) -> Result<Vec<u8>> {
    let mut gather = Gather::new(&dom0.root);
    for name in ["bin", "sbin", "lib", "lib64"] {
        gather.add(name, Entry::Link(format!("usr/{name}")));
    }
    for name in ["dev", "proc", "sys", "run", "tmp", "root", "usr/lib64"] {
        gather.add(name, Entry::Folder);
    }
    // The kernel opens this before anything is mounted on /dev.
    gather.add("dev/console", Entry::Device { major: 5, minor: 1 });
    gather.add("init", script(INIT));
    gather.add("usr/lib/bench/blk", script(BLK));
    gather.add("etc/passwd", text("root:x:0:0:root:/root:/bin/sh\n"));
    gather.add("etc/group", text("root:x:0:\n"));
    gather.add("etc/nginx/nginx.conf", text(NGINX));
    let key = fs::read_to_string(site::keys()?.key)?;
    gather.add("etc/nginx/tls.pem", text(&key));
    for (name, bytes) in site::files() {
        let file = Entry::File {
            executable: false,
            bytes,
        };
        gather.add(&format!("srv/{name}"), file);
    }
    for name in programs.split_whitespace() {
        gather.program(name)?;
    }
    let order = gather.modules(MODULES.split_whitespace())?;
    gather.add("usr/lib/modules/order", text(&(order.join("\n") + "\n")));
    let mut tree = gather.tree;
    let mut gather = Gather::new(&services.root);
    for name in service_programs.split_whitespace() {
        gather.program(name)?;
    }
    tree.extend(gather.tree);
    let archive = cpio::archive(&tree);
    ensure!(
        archive.len() < 200 << 20,
        "the Linux guest's initramfs has grown to {} bytes",
        archive.len()
    );
    Ok(archive)
}
