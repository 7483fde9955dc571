//! The rig's software, from Debian's packages: an apt of our own under `target/rig/apt` resolves and downloads
//! everything as if for an empty system, and `dpkg-deb -x` unpacks it. Nothing is installed on this machine,
//! nothing here needs root, and the boot loader is left alone.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::sh;
use crate::ui::Phase;

/// What to fetch: packages by name, and all that they depend on.
#[derive(Debug)]
pub(crate) struct Selection {
    /// What it is, and about how much, for those who wait for it.
    pub(crate) what: &'static str,
    pub(crate) names: &'static [&'static str],
    /// With the newest hypervisor there is, and the tools of its version.
    pub(crate) xen: bool,
}

/// What dom0 is made of.
pub(crate) const DOM0: Selection = Selection {
    what: "Xen and dom0 from Debian (about 110 MB)",
    names: DOM0_NAMES,
    xen: true,
};

const DOM0_NAMES: &[&str] = &[
    "linux-image-amd64",
    "xenstore-utils",
    "busybox-static",
    "bash",
    "coreutils",
    "mount",
    "util-linux",
    "iproute2",
    "socat",
    "curl",
    "wrk",
    // Not for dom0: Xen's public headers, against which the kernel's tests check their layouts.
    "libxen-dev",
];

/// The unpacked packages.
#[derive(Debug)]
pub(crate) struct Packages {
    /// The folder they are unpacked in, laid out like the root of a Debian system.
    pub(crate) root: PathBuf,
    /// The packages' file names, which hold their versions: what a cache of something made from them depends on.
    pub(crate) versions: String,
}

/// The packages in `dir`, downloaded if they aren't there, or if `fresh`, if there are newer ones.
///
/// # Errors
/// If this system has no apt, or something can't be downloaded or unpacked.
pub(crate) fn fetch(dir: &Path, selection: &Selection, fresh: bool) -> Result<Packages> {
    let list = dir.join("packages.list");
    let root = dir.join("root");
    // The first line is what was wanted: a newer xtask may want more.
    let wanted = selection.names.join(" ");
    if !fresh
        && root.is_dir()
        && let Ok(versions) = fs::read_to_string(&list)
        && versions.lines().next() == Some(&wanted)
    {
        return Ok(Packages { root, versions });
    }
    for program in ["apt-get", "apt-cache", "dpkg-deb"] {
        if !sh::has(program) {
            bail!(
                "the rig is made of Debian's packages, and this system has no `{program}` to fetch them with.\n\
                 Use Debian 12 (a container will do), or a machine that is a Xen dom0 with `--on local`,\n\
                 or run the application without Xen: `cargo xtask run --target unix`."
            );
        }
    }
    let archives = download(&dir.join("apt"), selection)?;
    let phase = Phase::start(format!("unpacking {} packages", archives.len()));
    let fresh_root = dir.join("root.new");
    remove_if_there(&fresh_root)?;
    fs::create_dir_all(&fresh_root)?;
    for archive in &archives {
        sh::output(
            Command::new("dpkg-deb")
                .arg("-x")
                .arg(archive)
                .arg(&fresh_root),
        )?;
    }
    remove_if_there(&root)?;
    fs::rename(&fresh_root, &root)?;
    let names = archives
        .iter()
        .filter_map(|path| path.file_name())
        .map(|name| name.to_string_lossy());
    let versions = std::iter::once(wanted.into())
        .chain(names)
        .collect::<Vec<_>>()
        .join("\n");
    fs::write(&list, &versions)?;
    for archive in archives {
        fs::remove_file(archive)?; // 110 MB that `root` now holds
    }
    phase.done();
    Ok(Packages { root, versions })
}

/// Downloads everything that is wanted and all it depends on, and returns the package files, sorted.
fn download(apt: &Path, selection: &Selection) -> Result<Vec<PathBuf>> {
    let phase = Phase::start(format!("downloading {}", selection.what));
    for folder in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(folder))?;
    }
    fs::write(apt.join("status"), "")?; // the empty system
    phase.detail("reading package lists");
    sh::output(private(apt, "apt-get").arg("update"))
        .context("apt cannot read its package lists")?;
    let mut names: Vec<String> = selection.names.iter().map(|&name| name.into()).collect();
    if selection.xen {
        let known = sh::output(private(apt, "apt-cache").args(["pkgnames", "xen-hypervisor-"]))?;
        let version = newest_xen(&known).context(
            "apt offers no xen-hypervisor-*-amd64 package: add Debian's `main` to its sources",
        )?;
        names.push(format!("xen-hypervisor-{version}-amd64"));
        names.push(format!("xen-utils-{version}"));
    }
    phase.detail(names.join(" "));
    let archives = apt.join("cache/archives");
    sh::output(
        private(apt, "apt-get")
            .args([
                "install",
                "--yes",
                "--download-only",
                "--no-install-recommends",
            ])
            .args(&names),
    )
    .with_context(|| format!("apt cannot download {}", selection.what))?;
    let mut files: Vec<PathBuf> = fs::read_dir(&archives)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect();
    files.sort();
    phase.done();
    Ok(files)
}

/// An apt program that keeps to the folder `apt` and takes nothing from this machine but the list of mirrors.
fn private(apt: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    let folder = apt.display();
    for option in [
        format!("Dir::State={folder}/state"),
        format!("Dir::State::status={folder}/status"),
        format!("Dir::Cache={folder}/cache"),
        "APT::Architecture=amd64".into(),
        "APT::Architectures=amd64".into(),
        // Root's apt would download as the user `_apt`, who may not write here.
        "APT::Sandbox::User=root".into(),
        "Debug::NoLocking=1".into(),
    ] {
        command.arg("-o").arg(option);
    }
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C");
    command
}

/// The highest version among names like `xen-hypervisor-4.17-amd64`.
fn newest_xen(names: &str) -> Option<String> {
    let versions = names
        .lines()
        .filter_map(|name| name.strip_prefix("xen-hypervisor-")?.strip_suffix("-amd64"));
    let numbers = |version: &str| {
        version
            .split('.')
            .map(str::parse)
            .collect::<Result<Vec<u32>, _>>()
    };
    let known = versions.filter_map(|version| Some((numbers(version).ok()?, version)));
    known.max().map(|(_, version)| version.to_owned())
}

/// A short name for a content, good enough to tell one cached file from the next.
pub(crate) fn fingerprint(parts: &[&[u8]]) -> String {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn remove_if_there(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_xen_is_chosen_by_number() {
        let names = "xen-hypervisor-4.9-amd64\nxen-hypervisor-common\nxen-hypervisor-4.17-amd64\nxen-hypervisor-4.17-arm64\n";
        assert_eq!(newest_xen(names).as_deref(), Some("4.17"));
        assert_eq!(newest_xen("xen-hypervisor-common\n"), None);
    }

    #[test]
    fn fingerprints_differ_where_contents_do() {
        assert_ne!(fingerprint(&[b"a", b"b"]), fingerprint(&[b"ab", b""]));
        assert_eq!(fingerprint(&[b"a"]), fingerprint(&[b"a"]));
    }
}
