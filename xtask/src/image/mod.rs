//! Building an application: a Xen image with its configuration, or a program of this machine.

mod config;
mod elf;
mod foreign;
mod size;

use std::fs;
use std::io::Read;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use zopfli::{Format, Options};

pub(crate) use self::elf::{build_id, check};
pub(crate) use self::size::report;
use crate::project::{self, App, Target};
use crate::sh;
use crate::ui::Phase;

/// Code for this triple is what the guest runs: stock `core` and `alloc`, with SSE.
pub(crate) const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// What a build made.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// `target/<target>/<application>`.
    pub(crate) folder: PathBuf,
    /// The application's name.
    pub(crate) name: String,
}

impl Image {
    /// Where an application's build for a target is, whether built or not.
    pub(crate) fn of(app: &str, target: Target) -> Self {
        Self {
            folder: project::target_dir().join(target.name()).join(app),
            name: app.to_owned(),
        }
    }

    /// The program, for the targets that are programs of this machine.
    pub(crate) fn program(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    /// What Xen boots: the ELF file, compressed.
    pub(crate) fn packed(&self) -> PathBuf {
        self.folder.join("unikernel.gz")
    }

    /// The ELF file.
    pub(crate) fn elf(&self) -> PathBuf {
        self.folder.join("unikernel.elf")
    }

    /// The same with symbols and lines.
    pub(crate) fn debug(&self) -> PathBuf {
        self.folder.join("unikernel.debug")
    }

    /// A copy in `folder`, where the next build of the same application does not replace it.
    ///
    /// # Errors
    /// If it can't be copied.
    pub(crate) fn keep(&self, folder: PathBuf) -> Result<Self> {
        let kept = Self {
            folder,
            ..self.clone()
        };
        fs::create_dir_all(&kept.folder)?;
        for (from, to) in [
            (self.packed(), kept.packed()),
            (self.elf(), kept.elf()),
            (self.debug(), kept.debug()),
            (self.config(), kept.config()),
        ] {
            fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        }
        Ok(kept)
    }

    /// What `xl create` reads.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("unikernel.cfg")
    }
}

/// What an application is built with.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct With<'w> {
    /// For applications that serve one: a folder is embedded, by their build script, which finds it in `XENLET_SITE`; for
    /// the image of a disk they are built with the feature `disk`.
    pub(crate) site: Option<&'w Path>,
    /// The feature `tls`, and where the guest's key is.
    pub(crate) tls: Option<Key>,
    /// The feature `tls12`.
    pub(crate) tls12: bool,
    /// The feature `inspect`.
    pub(crate) inspect: bool,
}

/// Where the key of a guest that speaks TLS is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Key {
    /// The guest's boot module, tls.pem
    Module,
    /// A disk of its own, key.img
    Disk,
}

impl<'w> With<'w> {
    /// A site, and nothing else.
    pub(crate) fn site(site: &'w Path) -> Self {
        Self {
            site: Some(site),
            ..Self::default()
        }
    }
}

/// Builds an application.
///
/// # Errors
/// If there is no such application or site, or if it doesn't compile or link.
pub(crate) fn build(name: &str, target: Target, with: With<'_>) -> Result<Image> {
    let app = App::find(name)?;
    let mut cargo = project::cargo();
    // The flags behind `--` below are for the program alone.
    let verb = if target == Target::Xen {
        "rustc"
    } else {
        "build"
    };
    cargo.args([verb, "--package", &app.package, "--bin", &app.program]);
    let mut features: Vec<&str> = with.tls.map(|_| "tls").into_iter().collect();
    features.extend(with.tls12.then_some("tls12"));
    features.extend(with.inspect.then_some("inspect"));
    let mut disk = None;
    match with.site.map(Site::find).transpose()? {
        Some(Site::Folder(folder)) => {
            cargo.env("XENLET_SITE", folder);
        }
        Some(Site::Image(image)) => {
            disk = Some(image);
        }
        None => {}
    }
    // An application without this feature always knows disks.
    let needs_disks = disk.is_some() || with.tls == Some(Key::Disk);
    if needs_disks && app.features.iter().any(|feature| feature == "disk") {
        features.push("disk");
    }
    cargo.args(["--features", &features.join(",")]);
    let built = configure(&mut cargo, target).join(&app.program);
    // By features too: a program that is as it was is not linked again.
    let map = built.with_file_name(format!("{}-{}.map", app.program, features.concat()));
    if target == Target::Xen {
        cargo.args(["--", "-C", &format!("link-arg=-Wl,-Map={}", map.display())]);
    }
    sh::show(&mut cargo).with_context(|| format!("{name} does not build for {}", target.name()))?;
    let image = Image::of(name, target);
    fs::create_dir_all(&image.folder)?;
    if target != Target::Xen {
        // A program that runs can't be written over, but another can have its name.
        let _ = fs::remove_file(image.program());
        fs::copy(&built, image.program())?;
        return Ok(image);
    }
    let phase = Phase::start("packing the image");
    fs::copy(&built, image.debug()).with_context(|| format!("cannot copy {}", built.display()))?;
    foreign::refuse(&fs::read_to_string(&map).with_context(|| format!("no {}", map.display()))?)?;
    check(&fs::read(image.debug())?)
        .with_context(|| format!("{} is no Xen guest", built.display()))?;
    sh::output(
        Command::new("objcopy")
            .arg("--strip-all")
            .arg(image.debug())
            .arg(image.elf()),
    )
    .context("objcopy is of binutils, which every C compiler brings")?;
    pack(&image)?;
    fs::write(
        image.config(),
        config::text(&image, disk.as_deref(), with.tls),
    )?;
    phase.done();
    Ok(image)
}

/// Compresses an image. Xen's tools unpack what they load, before there is a guest: it costs that nothing, and the host less
/// to keep and to send. The same image gives the same file.
fn pack(image: &Image) -> Result<()> {
    let options = Options {
        // More make it smaller by less than a thousandth.
        iteration_count: const { NonZeroU64::new(3).unwrap() },
        ..Options::default()
    };
    let (elf, mut packed) = (fs::read(image.elf())?, Vec::new());
    zopfli::compress(options, Format::Gzip, &*elf, &mut packed)
        .with_context(|| format!("cannot compress {}", image.elf().display()))?;
    fs::write(image.packed(), packed)
        .with_context(|| format!("cannot write {}", image.packed().display()))
}

/// Sets the profile, the cfg and the target folder, and returns the folder in which cargo will leave the program.
pub(crate) fn configure(cargo: &mut Command, target: Target) -> PathBuf {
    let folder = project::target_dir();
    match target {
        Target::Hosted => {
            cargo.args(["--release", "--target-dir"]).arg(&folder);
            folder.join("release")
        }
        // A folder of its own, so that other flags don't make cargo build everything again.
        Target::Unix => {
            let folder = folder.join("build-unix");
            cargo
                .env("RUSTFLAGS", "--cfg xenlet=\"unix\"")
                .args(["--release", "--target-dir"])
                .arg(&folder);
            folder.join("release")
        }
        Target::Xen => {
            let folder = folder.join("build-xen");
            cargo.env("CARGO_ENCODED_RUSTFLAGS", xen_flags().join("\u{1f}"));
            cargo.env("CFLAGS_x86_64_unknown_linux_gnu", C_FLAGS.join(" "));
            // With an explicit target, build scripts and macros don't get these flags.
            cargo
                .args(["--profile", "xen", "--target", TRIPLE, "--target-dir"])
                .arg(&folder);
            folder.join(TRIPLE).join("xen")
        }
    }
}

/// The C compiler's flags for a guest's code, which is ring's.
const C_FLAGS: [&str; 4] = [
    // Curves above all, which `opt-level = "s"` would make small too: a handshake takes a sixth less time so, and an image has 28 KiB more.
    "-O2",
    "-fomit-frame-pointer",
    "-fno-tree-vectorize",
    // What GCC calls the instruction that ring asks for under clang's name, in X25519; without it a subtraction takes three times as long.
    "-Dsubborrow64=__builtin_ia32_sbb_u64",
];

/// The compiler's flags for a guest: freestanding, at the addresses of `link.ld`.
pub(crate) fn xen_flags() -> Vec<String> {
    let script = format!(
        "link-arg=-Wl,-T,{}",
        project::root().join("link.ld").display()
    );
    let code = [
        "relocation-model=static",
        "llvm-args=-enable-global-merge-func",
        // For the backtrace of a crash report.
        "force-frame-pointers=yes",
    ];
    let link = [
        "link-arg=-nostartfiles",
        "link-arg=-nostdlib",
        "link-arg=-static",
        "link-arg=-no-pie",
        "link-arg=-Wl,--build-id",
        "link-arg=-Wl,--gc-sections",
        // Equal functions once, equal ends of strings once, and no holes in the file up to pages.
        "link-arg=-Wl,--icf=all",
        "link-arg=-Wl,-O2",
        "link-arg=-Wl,--nmagic",
        "link-arg=-Wl,-z,noexecstack",
        "link-arg=-Wl,-z,norelro",
    ];
    let mut flags = vec!["--cfg".to_owned(), "xenlet=\"xen\"".to_owned()];
    for flag in code.iter().chain(&link).copied().chain([script.as_str()]) {
        flags.extend(["-C".to_owned(), flag.to_owned()]);
    }
    // The image says nothing of the machine it was built on, and names files as people know them.
    for folder in registries().into_iter().chain([project::root()]) {
        flags.push(format!("--remap-path-prefix={}=", folder.display()));
    }
    flags
}

/// The folders that have a folder for each crate which cargo fetched.
fn registries() -> Vec<PathBuf> {
    let folders = fs::read_dir(cargo_home().join("registry/src"));
    let folders = folders.into_iter().flatten().flatten();
    folders.map(|folder| folder.path()).collect()
}

/// Where cargo keeps what it fetched.
fn cargo_home() -> PathBuf {
    std::env::var_os("CARGO_HOME").map_or_else(
        || std::env::home_dir().unwrap_or_default().join(".cargo"),
        PathBuf::from,
    )
}

/// A site to serve, where it really is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// A folder, to be embedded.
    Folder(PathBuf),
    /// The image of a disk.
    Image(PathBuf),
}

impl Site {
    /// What `--site` names.
    ///
    /// # Errors
    /// If there is no such thing, or its name can't be in a guest's configuration.
    pub(crate) fn find(site: &Path) -> Result<Self> {
        let site = match site.strip_prefix("~") {
            // Shells expand `--site ~/x` but not `--site=~/x`.
            Ok(rest) => std::env::home_dir().unwrap_or_default().join(rest),
            Err(_) => site.to_path_buf(),
        };
        let absolute = fs::canonicalize(&site)
            .with_context(|| format!("--site: there is no {}", site.display()))?;
        if absolute.is_dir() {
            return Ok(Self::Folder(absolute));
        }
        if !is_file_system(&absolute) {
            bail!(
                "{0} is neither a folder nor a disk with files: --site wants the folder to serve, or what `cargo xtask disk \
                 from-folder DIR {0}` makes of it",
                site.display()
            );
        }
        if absolute
            .to_str()
            .is_none_or(|path| path.contains(['\'', '"', '\n']))
        {
            bail!(
                "{} has a quote in its name, which a guest's configuration can't hold: give it another name",
                absolute.display()
            );
        }
        Ok(Self::Image(absolute))
    }
}

/// Whether a file or a block device begins as an ext4 file system does.
fn is_file_system(path: &Path) -> bool {
    let mut begin = [0; 1024 + 0x3a];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    read.is_ok() && begin.ends_with(&[0x53, 0xef])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_a_folder_or_a_disk() {
        let error = |path: &str| Site::find(Path::new(path)).unwrap_err().to_string();
        assert!(error("/no/such/site").contains("/no/such/site"));
        let neither = error("/proc/version");
        assert!(
            neither.contains("/proc/version") && neither.contains("from-folder"),
            "{neither}"
        );
        assert_eq!(
            Site::find(Path::new("/proc")).unwrap(),
            Site::Folder("/proc".into())
        );
        let image = std::env::temp_dir().join(format!("xtask-site-{}", std::process::id()));
        let mut bytes = vec![0; 4096];
        bytes[1024 + 0x38..][..2].copy_from_slice(&[0x53, 0xef]);
        fs::write(&image, bytes).unwrap();
        let found = Site::find(&image);
        fs::remove_file(&image).unwrap();
        assert!(matches!(found, Ok(Site::Image(_))), "{found:?}");
    }

    #[test]
    fn the_linker_script_is_absolute() {
        assert!(
            xen_flags()
                .iter()
                .any(|flag| flag.starts_with("link-arg=-Wl,-T,/"))
        );
    }
}
