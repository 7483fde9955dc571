//! `cargo xtask build`: an application as a Xen image or a program of this machine.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::image::{self, Key, With};
use crate::project::Target;

/// `cargo xtask build …`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask build --target xen
  cargo xtask build --site ~/my-site     a folder of files becomes a web server
  cargo xtask build --site site.img      one that serves what is on a disk (cargo xtask disk from-folder)
  cargo xtask build --tls                one that serves by HTTPS, with the key and certificates in tls.pem
  cargo xtask build --tls=disk           the same with a key on a disk, key.img
  cargo xtask build --inspect            one that can be looked into, with inspect=9100 on its command line
  cargo xtask build --target unix        the same program on this machine's sockets")]
pub(crate) struct Arguments {
    /// What to build for
    #[arg(long, value_enum, default_value_t = Target::Xen)]
    target: Target,
    /// Which application: a folder of examples/
    #[arg(long, default_value = "httpd")]
    app: String,
    /// The folder the application serves, instead of its own site/, or the image of a disk with one
    #[arg(long, value_name = "DIR|IMAGE")]
    site: Option<PathBuf>,
    /// Serve by HTTPS, with a key that is there
    #[arg(long, value_enum, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "module")]
    tls: Option<Key>,
    /// … and be able to speak TLS 1.2 too: `tls12` in its command line says so
    #[arg(long, requires = "tls")]
    tls12: bool,
    /// Let its operator look into it while it runs: `inspect=PORT` in its command line says where
    #[arg(long)]
    inspect: bool,
}

/// # Errors
/// If it doesn't build.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let with = With {
        site: arguments.site.as_deref(),
        tls: arguments.tls,
        tls12: arguments.tls12,
        inspect: arguments.inspect,
    };
    let image = image::build(&arguments.app, arguments.target, with)?;
    if arguments.target == Target::Xen {
        print!("{}", image::report(&image)?);
        println!(
            "boot it:  cd {} && xl create unikernel.cfg",
            image.folder.display()
        );
    } else {
        println!("{}", image.program().display());
    }
    Ok(())
}
