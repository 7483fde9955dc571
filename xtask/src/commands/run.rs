//! `cargo xtask run`: builds an application and runs it: on a real Xen, its console shown and its port forwarded.

use std::fs;
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::symbolize::symbolize;
use crate::ca;
use crate::image::{self, Image, Key, Site, With};
use crate::interrupt;
use crate::project::Target;
use crate::rig::Options;
use crate::xen::{self, Disk, Guest, On, Settings, Xen};

/// `cargo xtask run …`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask run
  cargo xtask run --site ~/my-site --memory 8
  cargo xtask run --site site.img --extra cache=4M
  cargo xtask run --extra 'ip=10.0.2.50/24 gw=10.0.2.2 log=debug'
  cargo xtask run --tls
  cargo xtask run --inspect
  cargo xtask run --app queue --disk data.img
  cargo xtask run --target unix

Ctrl-C shuts the guest down; a second one destroys it.")]
pub(crate) struct Arguments {
    /// Which application: a folder of examples/
    #[arg(long, default_value = "httpd")]
    app: String,
    /// What to run it as
    #[arg(long, value_enum, default_value_t = Target::Xen)]
    target: Target,
    /// The folder the application serves, instead of its own site/, or the image of a disk with one, which becomes its first
    #[arg(long, value_name = "DIR|IMAGE")]
    site: Option<PathBuf>,
    /// Serve by HTTPS, with the key and certificates of this file, or with those of a CA made for this run
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    tls: Option<Option<PathBuf>>,
    /// … and TLS 1.2 too
    #[arg(long, requires = "tls")]
    tls12: bool,
    /// The port of 127.0.0.1 that leads to the guest's port 443
    #[arg(long, value_name = "PORT", default_value_t = 8443)]
    https_port: u16,
    /// The port of 127.0.0.1 that leads to the guest's port 80
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Let it be looked into, on this port of 127.0.0.1: metrics, traces, packets
    #[arg(long, value_name = "PORT", num_args = 0..=1, require_equals = true, default_missing_value = "9100")]
    inspect: Option<NonZeroU16>,
    /// The guest's memory
    #[arg(long, value_name = "MIB")]
    memory: Option<u64>,
    /// The guest's command line
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    extra: Option<String>,
    /// A disk: a file, or one that can't be written with `,ro` after it (repeat it for more disks)
    #[arg(long = "disk", value_name = "FILE[,ro]")]
    disks: Vec<Disk>,
    /// Which Xen
    #[arg(long, value_enum, default_value_t)]
    on: On,
    /// Install missing packages of this machine without asking
    #[arg(long)]
    yes: bool,
}

/// The port applications listen on.
const GUEST_PORT: u16 = 80;
/// The one they listen on for HTTPS.
const HTTPS_PORT: u16 = 443;

/// The signal of Ctrl-C, by which a program without a handler for it ends.
const SIGINT: i32 = 2;

/// # Errors
/// If it doesn't build, the Xen doesn't come up, or the guest crashes.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (disks, extra) = given(arguments)?;
    let key = arguments.tls.as_ref().map(key).transpose()?;
    disks.iter().try_for_each(Disk::check)?;
    if arguments.target == Target::Xen {
        Xen::check(arguments.on, arguments.yes)?;
    }
    let with = With {
        site: arguments.site.as_deref(),
        tls: arguments.tls.as_ref().map(|_| Key::Module),
        tls12: arguments.tls12,
        inspect: arguments.inspect.is_some(),
    };
    let image = image::build(&arguments.app, arguments.target, with)?;
    if arguments.target != Target::Xen {
        return run_program(arguments, &image, &disks, key, extra.as_deref());
    }
    interrupt::watch()?;
    let options = Options {
        yes: arguments.yes,
        ..Options::default()
    };
    let (xen, new) = Xen::get(arguments.on, options)?;
    // As long as the guest has them, no other program of this machine may.
    let _locked = disks.iter().map(Disk::lock).collect::<Result<Vec<_>>>()?;
    let settings = Settings {
        memory: arguments.memory,
        extra,
        disks,
        key,
        ..Settings::default()
    };
    let result = run_guest(arguments, &image, &xen, &settings);
    if new && let Xen::Rig(rig) = xen {
        rig.down()?;
    }
    result
}

/// The application's disks and its command line: a site on a disk is the first, and named.
fn given(arguments: &Arguments) -> Result<(Vec<Disk>, Option<String>)> {
    let (mut disks, mut words) = (arguments.disks.clone(), Vec::new());
    if let Some(Site::Image(file)) = arguments.site.as_deref().map(Site::find).transpose()? {
        let site = Disk {
            file,
            read_only: true,
            sector_size: 512,
        };
        disks.insert(0, site);
        words.push("site=xvda".to_owned());
    }
    if arguments.tls.is_some() {
        words.push(format!("https_port={}", arguments.https_port));
    }
    words.extend(arguments.tls12.then(|| "tls12".to_owned()));
    words.extend(arguments.inspect.map(|port| format!("inspect={port}")));
    // Of a word that is there twice the last one counts.
    words.extend(arguments.extra.clone());
    Ok((disks, (!words.is_empty()).then(|| words.join(" "))))
}

/// The file with the key and the certificates: the given one, or a new one.
fn key(given: &Option<PathBuf>) -> Result<PathBuf> {
    match given {
        Some(file) => {
            fs::canonicalize(file).with_context(|| format!("--tls: there is no {}", file.display()))
        }
        None => {
            let made = ca::make()?;
            println!("a CA for this run: curl --cacert {}", made.ca.display());
            Ok(made.key)
        }
    }
}

/// A port of 127.0.0.1, the guest's that it leads to, and what is said of it before its address.
type Way = (u16, u16, &'static str);

fn ports(arguments: &Arguments) -> Vec<Way> {
    let https = (arguments.https_port, HTTPS_PORT, "serving https");
    let http = (arguments.port, GUEST_PORT, "serving http");
    let https = arguments.tls.as_ref().map(|_| https);
    let inspect = arguments
        .inspect
        .map(|port| (port.get(), port.get(), "to look into it: http"));
    https.into_iter().chain([http]).chain(inspect).collect()
}

fn run_program(
    arguments: &Arguments,
    image: &Image,
    disks: &[Disk],
    key: Option<PathBuf>,
    extra: Option<&str>,
) -> Result<()> {
    let mut program = Command::new(image.program());
    for (host, guest, _) in ports(arguments) {
        program.arg(format!("forward={guest}:{host}"));
    }
    program.args(key.map(|key| format!("module={}", key.display())));
    for (number, disk) in disks.iter().enumerate() {
        program.arg(disk.word(number)?);
    }
    program.args(extra.iter().flat_map(|extra| extra.split_whitespace()));
    for (host, _, what) in ports(arguments) {
        println!("{what}://127.0.0.1:{host}/");
    }
    // Ctrl-C is the program's, which shares this terminal: here it must only not end us first.
    interrupt::watch()?;
    let mut child = program
        .spawn()
        .with_context(|| format!("cannot start {}", image.program().display()))?;
    let status = await_end(&mut child)?;
    if !status.success() && interrupt::count() == 0 && status.signal() != Some(SIGINT) {
        bail!("{} failed ({status})", arguments.app);
    }
    Ok(())
}

/// Waits for a program's end. One that is still there a moment after Ctrl-C was not told of it: it is ended then.
fn await_end(child: &mut Child) -> Result<ExitStatus> {
    const MOMENT: Duration = Duration::from_millis(500);
    let mut told = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if interrupt::count() > 0 && told.get_or_insert_with(Instant::now).elapsed() > MOMENT {
            child.kill()?;
        }
        sleep(Duration::from_millis(50));
    }
}

fn run_guest(arguments: &Arguments, image: &Image, xen: &Xen, settings: &Settings) -> Result<()> {
    let mut guest = Guest::create(xen, image, settings)?;
    let mut forward = Forward {
        xen,
        ports: ports(arguments),
        to: None,
    };
    let result = follow(&mut guest, &mut forward);
    if result.is_err() && guest.domid()?.is_some() {
        guest.xl("destroy")?;
    }
    forward.end()?;
    result?;
    if interrupt::count() == 0 {
        eprintln!("the guest {} has ended", guest.name);
    }
    xen.unplug(&guest.name)?;
    if let Some(report) = guest.report() {
        // Xen may have said why.
        eprintln!("{}", symbolize(&report, &image.debug()).unwrap_or(report));
        bail!("{} crashed", guest.name);
    }
    Ok(())
}

/// Shows the console until the guest is gone; turns Ctrl-C into a request to end, a second one into an end.
fn follow(guest: &mut Guest, forward: &mut Forward<'_>) -> Result<()> {
    let ended = guest.end();
    let mut handled = 0;
    loop {
        // Looked at before the console, so that the last lines are shown.
        let over = ended.load(Ordering::Relaxed);
        print!("{}", guest.console.next());
        if over {
            return Ok(());
        }
        if let Some(address) = xen::address(&guest.console.text()) {
            forward.lead_to(address)?;
        }
        if interrupt::count() > handled {
            handled += 1;
            let verb = if handled == 1 { "shutdown" } else { "destroy" };
            eprintln!(
                "xl {verb} {}{}",
                guest.name,
                if handled == 1 {
                    " (again: destroy)"
                } else {
                    ""
                }
            );
            if let Err(error) = guest.xl(verb)
                && guest.domid()?.is_some()
            {
                return Err(error);
            }
        }
        sleep(Duration::from_millis(50));
    }
}

/// The forwards of ports of 127.0.0.1 to the guest, which gets its address only after a while.
struct Forward<'x> {
    xen: &'x Xen,
    ports: Vec<Way>,
    to: Option<Ipv4Addr>,
}

impl Forward<'_> {
    fn lead_to(&mut self, address: Ipv4Addr) -> Result<()> {
        if self.to == Some(address) {
            return Ok(());
        }
        self.end()?;
        for (host, guest, what) in &self.ports {
            match self
                .xen
                .forward(*host, &format!("{address}:{guest}"))
                .context("choose another port with --port, --https-port or --inspect=PORT")?
            {
                Some(port) => println!("{what}://127.0.0.1:{port}/"),
                None => println!("{what}://{address}:{guest}/"),
            }
        }
        self.to = Some(address);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if self.to.take().is_some() {
            for (host, ..) in &self.ports {
                self.xen.unforward(*host)?;
            }
        }
        Ok(())
    }
}
