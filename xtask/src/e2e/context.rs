//! What tests work with: guests that are cleaned up after them, and one guest shared by those that only read.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::APP;
use super::http::Client;
use crate::image::Image;
use crate::project;
use crate::sh;
use crate::xen::{Disk, Guest, Settings, Xen};

/// An emulated guest on a busy machine has its address within this.
pub(super) const BOOT: Duration = Duration::from_secs(60);
/// And has ended within this when asked to.
pub(super) const END: Duration = Duration::from_secs(60);

/// The Xen under the tests, and the guests there are.
pub(super) struct Context<'x> {
    pub(super) xen: &'x Xen,
    pub(super) image: Image,
    /// Whether what is done again and again is done as often as a soak has it.
    pub(super) soak: bool,
    pub(super) others: Others,
    shared: Option<Server>,
    /// Guests of the test that runs now, and the ports that lead to them.
    guests: Vec<Guest>,
    ports: Vec<u16>,
}

/// Images besides the one of most tests.
#[derive(Debug)]
pub(super) struct Others {
    /// httpd with its site on a disk.
    pub(super) disk: Image,
    /// httpd with TLS.
    pub(super) tls: Image,
    pub(super) queue: Image,
    /// The queue with TLS.
    pub(super) queue_tls: Image,
    /// The queue that can be looked into.
    pub(super) queue_inspect: Image,
}

/// A guest that answers on its port 80.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) guest: Guest,
    pub(super) address: Ipv4Addr,
    pub(super) client: Client,
    /// The port of 127.0.0.1 that leads to it, if one was needed.
    port: Option<u16>,
}

impl<'x> Context<'x> {
    pub(super) fn new(xen: &'x Xen, image: Image, others: Others, soak: bool) -> Self {
        Self {
            xen,
            image,
            soak,
            others,
            shared: None,
            guests: Vec::new(),
            ports: Vec::new(),
        }
    }

    /// A guest for this test alone. Its number is part of its name: there are few names, because QEMU gives
    /// addresses to sixteen guests and never takes one back.
    pub(super) fn guest(&mut self, number: u32, settings: Settings) -> Result<Guest> {
        self.create(&self.image.clone(), named(number, settings))
    }

    fn create(&mut self, image: &Image, settings: Settings) -> Result<Guest> {
        // One of the same name may be left of a run that was cut short.
        let name = settings.name.as_deref().unwrap_or_default();
        self.xen
            .dom0()
            .run(&format!("xl destroy '{name}' 2>/dev/null || true"))?;
        let guest = Guest::create(self.xen, image, &settings)?;
        self.guests.push(guest.clone());
        Ok(guest)
    }

    /// A guest for this test alone, when it has an address.
    pub(super) fn server(&mut self, number: u32, settings: Settings) -> Result<Server> {
        let guest = self.guest(number, settings)?;
        self.await_server(guest)
    }

    /// The same with httpd as it is for a site on a disk.
    pub(super) fn server_of_disk(&mut self, number: u32, settings: Settings) -> Result<Server> {
        let guest = self.create(&self.others.disk.clone(), named(number, settings))?;
        self.await_server(guest)
    }

    /// A guest for this test alone with httpd as it is for HTTPS.
    pub(super) fn guest_of_tls(&mut self, number: u32, settings: Settings) -> Result<Guest> {
        self.create(&self.others.tls.clone(), named(number, settings))
    }

    /// The port of this machine, or the address of the guest and its port, that leads to `port` of a guest.
    pub(super) fn way(&mut self, address: Ipv4Addr, port: u16) -> Result<SocketAddr> {
        let forward = self.xen.forward(0, &format!("{address}:{port}"))?;
        self.ports.extend(forward);
        Ok(match forward {
            Some(port) => (Ipv4Addr::LOCALHOST, port).into(),
            None => (address, port).into(),
        })
    }

    /// A guest for this test alone that runs the queue.
    pub(super) fn queue(&mut self, number: u32, settings: Settings) -> Result<Guest> {
        self.create(&self.others.queue.clone(), named(number, settings))
    }

    /// The same, by HTTPS.
    pub(super) fn queue_of_tls(&mut self, number: u32, settings: Settings) -> Result<Guest> {
        self.create(&self.others.queue_tls.clone(), named(number, settings))
    }

    /// The same as can be looked into.
    pub(super) fn queue_to_look_into(&mut self, number: u32, settings: Settings) -> Result<Guest> {
        self.create(&self.others.queue_inspect.clone(), named(number, settings))
    }

    /// The words of a command line that give a guest its address at once, where DHCP would only take time.
    pub(super) fn address(&self) -> &'static str {
        match self.xen {
            Xen::Rig(_) => "ip=10.0.2.50/24 gw=10.0.2.2",
            Xen::Local => "",
        }
    }

    /// A guest when it has an address.
    pub(super) fn await_server(&mut self, guest: Guest) -> Result<Server> {
        let address = guest.address(BOOT)?;
        let server = self.serve(guest, address)?;
        self.ports.extend(server.port);
        Ok(server)
    }

    /// The way to the port 80 of a guest.
    fn serve(&self, guest: Guest, address: Ipv4Addr) -> Result<Server> {
        let port = self.xen.forward(0, &format!("{address}:80"))?;
        let client = Client::new(match port {
            Some(port) => (Ipv4Addr::LOCALHOST, port).into(),
            None => (address, 80).into(),
        });
        client
            .wait_for_answer(BOOT)
            .with_context(|| format!("{} at {address} does not answer", guest.name))?;
        Ok(Server {
            guest,
            address,
            client,
            port,
        })
    }

    /// The guest that tests share: as `unikernel.cfg` has it, and asked only what leaves it as it is.
    pub(super) fn shared(&mut self) -> Result<&Server> {
        if self.shared.is_none() {
            let settings = Settings {
                name: Some("e2e-shared".into()),
                ..Settings::default()
            };
            let guest = self.create(&self.image.clone(), settings)?; // one of the test's, until it is known to work
            let address = guest.address(BOOT)?;
            self.shared = Some(self.serve(guest, address)?);
            self.guests.pop();
        }
        self.shared.as_ref().context("there is a shared guest")
    }

    /// What all guests of the test printed.
    pub(super) fn consoles(&self) -> String {
        let mut text = String::new();
        for guest in self
            .guests
            .iter()
            .chain(self.shared.as_ref().map(|server| &server.guest))
        {
            // Writing to a string can't fail.
            let _ = writeln!(
                text,
                "--- the console of {}\n{}",
                guest.name,
                sh::tail(&guest.console.text())
            );
        }
        text
    }

    /// Removes what the test created. The shared guest goes too if the test failed: it may be the reason.
    pub(super) fn clean(&mut self, failed: bool) {
        if failed && let Some(server) = self.shared.take() {
            self.guests.push(server.guest);
            self.ports.extend(server.port);
        }
        for guest in self.guests.drain(..) {
            // It may be gone already: some tests are about that.
            let _ = guest.xl("destroy");
            let _ = self.xen.unplug(&guest.name);
        }
        for port in self.ports.drain(..) {
            let _ = self.xen.unforward(port);
        }
    }

    /// Removes everything.
    pub(super) fn end(mut self) {
        self.clean(true);
    }

    /// The files of the site that the image holds: each path as asked for, and its bytes.
    pub(super) fn site() -> Result<BTreeMap<String, Vec<u8>>> {
        let folder = Self::site_folder();
        let mut files = BTreeMap::new();
        read_files(&folder, &folder, &mut files)?;
        Ok(files)
    }

    /// The folder that they are in.
    pub(super) fn site_folder() -> PathBuf {
        project::root().join("examples").join(APP).join("site")
    }

    /// A blank disk for a test: a file of so many bytes, in the place of the one that was left the last time.
    pub(super) fn disk(name: &str, bytes: u64) -> Result<Disk> {
        let file = Self::keep(&format!("{name}.img"))?;
        let blank = File::create(&file).and_then(|made| made.set_len(bytes));
        blank.with_context(|| format!("cannot make the disk {}", file.display()))?;
        Ok(Disk::of(&file))
    }

    /// Where a test leaves something for people to look at.
    pub(super) fn keep(name: &str) -> Result<PathBuf> {
        let folder = project::target_dir().join("e2e");
        fs::create_dir_all(&folder)?;
        Ok(folder.join(name))
    }
}

/// The settings of a guest for one test.
fn named(number: u32, settings: Settings) -> Settings {
    Settings {
        name: Some(format!("e2e-{number}")),
        ..settings
    }
}

fn read_files(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?
    {
        let path = entry?.path();
        if path.is_dir() {
            read_files(root, &path, files)?;
        } else {
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            files.insert(format!("/{name}"), fs::read(&path)?);
        }
    }
    Ok(())
}
