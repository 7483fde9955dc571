//! One guest, from `xl create` to its end.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::console::{self, Console};
use super::{Disk, Dom0, Xen, as_root};
use crate::image::Image;
use crate::interrupt;

/// A function of the shell. `again CHECK COMMAND…` runs the command once more where it, or a program that it started, died by a signal:
/// of the programs of an emulated dom0 one in some hundreds does, busybox's own as they start among them. CHECK comes before each repetition and may clear up; if it fails there is nothing left to do.
const AGAIN: &str = r#"again() {
    local check=$1 said status n
    shift
    for n in 1 2 3 4 5; do
        said=$("$@" 2>&1)
        status=$?
        case $status,$said in
        0,*) break ;;
        13[0-9],*|*'Segmentation fault'*|*'died due to fatal signal'*)
            echo "once more, because of status $status: $*" >/dev/kmsg
            eval "$check" || { status=0; break; } ;;
        *) break ;;
        esac
    done
    printf '%s\n' "$said"
    return $status
}"#;

/// What differs from the image's `unikernel.cfg`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    /// The guest's name; the application's if none.
    pub(crate) name: Option<String>,
    /// MiB.
    pub(crate) memory: Option<u64>,
    /// The command line.
    pub(crate) extra: Option<String>,
    /// No network interface at all.
    pub(crate) no_vif: bool,
    /// Its disks, in order.
    pub(crate) disks: Vec<Disk>,
    /// The file with its key, which is its boot module.
    pub(crate) key: Option<PathBuf>,
    /// What becomes of it when it crashes.
    pub(crate) on_crash: Option<&'static str>,
}

impl Settings {
    /// The words for `xl create`, in its own syntax; `xl` makes up a hardware address if there is none; `disks` are in
    /// its words already. Quotes can't be escaped in it, hence the error.
    fn words(&self, name: &str, mac: Option<&str>, disks: &[String]) -> Result<String> {
        let mut words = format!(" 'name=\"{name}\"'");
        if let Some(memory) = self.memory {
            words += &format!(" 'memory={memory}'");
        }
        if let Some(extra) = &self.extra {
            if extra.contains(['"', '\'', '\n']) {
                bail!(
                    "the command line `{extra}` has a quote or a line's end in it: xl can't take that"
                );
            }
            words += &format!(" 'extra=\"{extra}\"'");
        }
        if self.no_vif {
            words += " 'vif=[]'";
        } else if let Some(mac) = mac {
            words += &format!(" 'vif=[\"bridge=xenbr0,mac={mac}\"]'");
        }
        if !disks.is_empty() {
            words += &format!(" 'disk=[\"{}\"]'", disks.join("\",\""));
        }
        if let Some(what) = self.on_crash {
            words += &format!(" 'on_crash=\"{what}\"'");
        }
        Ok(words)
    }
}

/// A guest that was created. Dropping it leaves the guest alone.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    dom0: Dom0,
    /// Its name in `xl list`.
    pub(crate) name: String,
    /// What it prints.
    pub(crate) console: Console,
}

impl Guest {
    /// Copies the image to where dom0 sees it and creates a guest of it.
    ///
    /// # Errors
    /// If `xl create` fails; the error holds what it said.
    pub(crate) fn create(xen: &Xen, image: &Image, settings: &Settings) -> Result<Self> {
        let name = settings.name.clone().unwrap_or_else(|| image.name.clone());
        let mac = matches!(xen, Xen::Rig(_)).then(|| hardware_address(&name));
        let (here, there) = xen.images();
        let (here, there) = (here.join(&name), format!("{there}/{name}"));
        fs::create_dir_all(&here)?;
        let mut files = vec![
            (image.packed(), "unikernel.gz"),
            (image.config(), "unikernel.cfg"),
        ];
        files.extend(settings.key.clone().map(|key| (key, "tls.pem")));
        for (file, name) in files {
            let to = here.join(name);
            fs::copy(&file, &to)
                .with_context(|| format!("cannot copy {} to {}", file.display(), to.display()))?;
        }
        let disks = xen.plug(&name, &settings.disks)?;
        let words = settings.words(&name, mac.as_deref(), &disks)?;
        let log = xen.console_file(&name);
        let console = Console::new(log.clone());
        let dom0 = xen.dom0();
        // xl maps the image's file, and what the rig's dom0 maps of a folder that it shares may be of an older file:
        // it gets a copy of its own.
        let (folder, fetch) = match xen {
            Xen::Rig(_) => {
                let folder = format!("/run/guests/{name}");
                let fetch =
                    format!("again : mkdir -p '{folder}' && again : cp '{there}'/* '{folder}' && ");
                (folder, fetch)
            }
            Xen::Local => (there, String::new()),
        };
        // The whole path of the image: after `xl reboot`, xl looks for it from /.
        let key = match settings.key {
            Some(_) => format!(" 'ramdisk=\"{folder}/tls.pem\"'"),
            None => String::new(),
        };
        let create =
            format!("xl create unikernel.cfg 'kernel=\"{folder}/unikernel.gz\"'{key}{words}");
        // A watcher that died with xl's own work done leaves a guest without one: it is made anew, too.
        dom0.run(&format!(
            "{AGAIN}\n{fetch}cd '{folder}' || exit 1\nagain \"xl destroy '{name}'; true\" {create}"
        ))
        .with_context(|| format!("cannot create the guest {name}"))?;
        if matches!(xen, Xen::Local) {
            // Here xenconsoled may keep no logs: a console of our own does.
            let log = fs::File::create(log)?;
            as_root(&format!("exec xl console '{name}'"))?
                .stdin(Stdio::null())
                .stdout(log)
                .spawn()?;
        }
        Ok(Self {
            dom0,
            name,
            console,
        })
    }

    /// Waits until the console satisfies `done`, and returns what that found.
    ///
    /// # Errors
    /// If it doesn't within `timeout`, or the guest crashes first; `what` is named then.
    pub(crate) fn wait<T>(
        &self,
        what: &str,
        timeout: Duration,
        mut done: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + timeout;
        loop {
            let text = self.console.text();
            if let Some(found) = done(&text) {
                return Ok(found);
            }
            if let Some(report) = console::report(&text) {
                bail!("waiting for {what}, {} crashed:\n{report}", self.name);
            }
            if Instant::now() > deadline {
                bail!("{}: no {what} within {} s", self.name, timeout.as_secs());
            }
            interrupt::check()?;
            sleep(Duration::from_millis(50));
        }
    }

    /// Waits for the guest's address.
    ///
    /// # Errors
    /// As [`Guest::wait`].
    pub(crate) fn address(&self, timeout: Duration) -> Result<Ipv4Addr> {
        self.wait("address", timeout, console::address)
    }

    /// Waits for a complete crash report.
    ///
    /// # Errors
    /// If there is none within `timeout`.
    pub(crate) fn wait_report(&self, timeout: Duration) -> Result<String> {
        // Not by `wait`, to which a crash is an error.
        let deadline = Instant::now() + timeout;
        loop {
            match self.report() {
                Some(report) => return Ok(report),
                None if Instant::now() > deadline => {
                    bail!("no crash report within {} s", timeout.as_secs())
                }
                None => sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Waits until `xl list` shows a state, one letter of `rbpscd`; returns all it shows.
    ///
    /// # Errors
    /// If it doesn't within `timeout`; the error says what it shows.
    pub(crate) fn wait_state(&self, state: char, timeout: Duration) -> Result<String> {
        let deadline = Instant::now() + timeout;
        loop {
            let [.., shown, _] = &self.listed()?[..] else {
                bail!("xl list shows no state")
            };
            if shown.contains(state) {
                return Ok(shown.clone());
            }
            if Instant::now() > deadline {
                bail!(
                    "`xl list` shows {} as `{shown}`, without the `{state}`",
                    self.name
                );
            }
            sleep(Duration::from_millis(200));
        }
    }

    /// The processor time the guest has used, to the tenth of a second.
    ///
    /// # Errors
    /// If there is no such guest.
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let listed = self.listed()?;
        let time = listed.last().and_then(|time| time.parse().ok());
        time.with_context(|| format!("xl list shows no time: {}", listed.join(" ")))
    }

    /// The words of the guest's line in `xl list`: name, number, memory, processors, state, time.
    fn listed(&self) -> Result<Vec<String>> {
        let list = self.xl("list")?;
        let line = list
            .lines()
            .nth(1)
            .with_context(|| format!("no line in `{list}`"))?;
        Ok(line.split_whitespace().map(str::to_owned).collect())
    }

    /// The crash report on the console, if there is one.
    pub(crate) fn report(&self) -> Option<String> {
        console::report(&self.console.text()).map(str::to_owned)
    }

    /// `xl shutdown` or `xl reboot`, which ask, or `xl destroy`, which doesn't.
    ///
    /// # Errors
    /// If `xl` fails: there is no such guest, or it doesn't take requests.
    pub(crate) fn xl(&self, verb: &str) -> Result<String> {
        let name = &self.name;
        // Done is also what only its messenger did not live to tell.
        self.dom0.run(&format!(
            "{AGAIN}\nagain \"again : xl domid '{name}' >/dev/null\" xl {verb} '{name}'"
        ))
    }

    /// `xl sysrq`, by which the toolstack asks a guest to crash.
    ///
    /// # Errors
    /// If `xl` fails.
    pub(crate) fn ask_to_crash(&self) -> Result<()> {
        let name = &self.name;
        self.dom0
            .run(&format!("{AGAIN}\nagain : xl sysrq '{name}' c"))?;
        Ok(())
    }

    /// `xl mem-set`, and waits until the guest has so many MiB.
    ///
    /// # Errors
    /// If `xl` fails, or it hasn't within `timeout`.
    pub(crate) fn set_memory(&self, mib: u64, timeout: Duration) -> Result<()> {
        let name = &self.name;
        self.dom0
            .run(&format!("{AGAIN}\nagain : xl mem-set '{name}' {mib}m"))?;
        let deadline = Instant::now() + timeout;
        loop {
            let listed = self.listed()?;
            if listed.get(2) == Some(&mib.to_string()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{name} is to have {mib} MiB, and has: {}", listed.join(" "));
            }
            sleep(Duration::from_millis(200));
        }
    }

    /// `xl save` into a file of dom0's, then `xl restore` from it: the guest is another domain then.
    ///
    /// # Errors
    /// If `xl` fails; the error holds what it said.
    pub(crate) fn save_and_restore(&self) -> Result<()> {
        self.save("", "xl restore $file")
    }

    /// `xl save -c`: the guest goes on in its place.
    ///
    /// # Errors
    /// If `xl` fails; the error holds what it said.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        self.save("-c", ":")
    }

    /// `xl save`, then something else with the file. A program that dies leaves the guest where it was.
    fn save(&self, option: &str, then: &str) -> Result<()> {
        let Self { name, .. } = self;
        self.dom0.run(&format!(
            "{AGAIN}
             again : mkdir -p /run/guests && file='/run/guests/{name}.saved'
             again \"again : xl domid '{name}' >/dev/null\" xl save {option} '{name}' $file && {then} && rm $file"
        ))?;
        Ok(())
    }

    /// `xl block-detach` of its first disk, then `xl block-attach` of the same one.
    ///
    /// # Errors
    /// If `xl` fails; the error holds what it said.
    pub(crate) fn replug_disk(&self) -> Result<()> {
        self.replug(
            "vbd/$id/51712",
            "target=$(get params) script=$(get script)",
            "block-detach $id xvda",
            "block-attach $id format=raw,vdev=xvda,access=rw,script=$script,target=$target",
        )
    }

    /// `xl network-detach` of its first interface, then `xl network-attach` of the same one.
    ///
    /// # Errors
    /// If `xl` fails; the error holds what it said.
    pub(crate) fn replug_vif(&self) -> Result<()> {
        self.replug(
            "vif/$id/0",
            "mac=$(get mac) bridge=$(get bridge)",
            "network-detach $id 0",
            "network-attach $id bridge=$bridge mac=$mac",
        )
    }

    /// Has blkback let go of its first disk and take it again.
    ///
    /// # Errors
    /// If dom0's kernel refuses.
    pub(crate) fn rebind_disk(&self) -> Result<()> {
        self.rebind("vbd", 51712, ":")
    }

    /// Has netback let go of its first interface and take it again. The interface is a new one to dom0 then: it is put into the bridge,
    /// and netback is told, which waits for that; the toolstack's script did both for the one before.
    ///
    /// # Errors
    /// If dom0's kernel refuses.
    pub(crate) fn rebind_vif(&self) -> Result<()> {
        self.rebind(
            "vif",
            0,
            "back=/local/domain/0/backend/vif/$id/0
             bridge=$(again : xenstore-read $back/bridge)
             again : ip link set vif$id.0 master $bridge up && again : xenstore-write $back/hotplug-status connected",
        )
    }

    fn rebind(&self, class: &str, number: u32, then: &str) -> Result<()> {
        self.dom0.run(&format!(
            "{AGAIN}
             id=$(again : xl domid '{0}')
             cd /sys/bus/xen-backend/drivers/{class} || exit
             echo {class}-$id-{number} >unbind || exit
             sleep 2
             echo {class}-$id-{number} >bind || exit
             {then}",
            self.name
        ))?;
        Ok(())
    }

    /// Detaches what is at `place` among dom0's backends, once `note` has noted what it is like, and attaches its like.
    fn replug(&self, place: &str, note: &str, detach: &str, attach: &str) -> Result<()> {
        // An xl that died may have done all of it, or half: what is half attached is detached again.
        self.dom0.run(&format!(
            "{AGAIN}
             get() {{ again : xenstore-read $place/$1; }}
             there() {{ again : xenstore-list ${{place%/*}} 2>/dev/null | grep -qx ${{place##*/}}; }}
             id=$(again : xl domid '{}')
             place=/local/domain/0/backend/{place}
             {note}
             again there xl {detach} || exit
             sleep 2
             again 'xl {detach}; true' xl {attach}",
            self.name
        ))?;
        Ok(())
    }

    /// The guest's domain number, none if it is gone.
    ///
    /// # Errors
    /// If dom0 can't be reached.
    pub(crate) fn domid(&self) -> Result<Option<u32>> {
        let done = self
            .dom0
            .try_run(&format!("xl domid '{}'", self.name), super::PATIENCE)?;
        Ok(if done.status == 0 {
            done.text.trim().parse().ok()
        } else {
            None
        })
    }

    /// A flag that turns true when the guest is gone. A reboot is not an end.
    pub(crate) fn end(&self) -> Arc<AtomicBool> {
        let ended = Arc::new(AtomicBool::new(false));
        let (flag, dom0) = (Arc::clone(&ended), self.dom0.clone());
        // xenstored says when a domain is gone; during a reboot there is none of this name for a moment.
        let script = format!(
            "gone() {{ ! xl domid '{0}' >/dev/null 2>&1 && sleep 2 && ! xl domid '{0}' >/dev/null 2>&1; }}
             while ! gone; do timeout 5 xenstore-watch -n 2 @releaseDomain >/dev/null; done",
            self.name
        );
        thread::spawn(move || {
            // An error means that dom0 is gone, and with it the guest.
            let _ = dom0.try_run(&script, Duration::from_secs(365 * 86_400));
            flag.store(true, Ordering::Relaxed);
        });
        ended
    }

    /// Waits until the guest is gone.
    ///
    /// # Errors
    /// If it isn't within `timeout`.
    pub(crate) fn wait_end(&self, timeout: Duration) -> Result<()> {
        let deadline = Instant::now() + timeout;
        while self.domid()?.is_some() {
            if Instant::now() > deadline {
                bail!("{} is still there after {} s", self.name, timeout.as_secs());
            }
            sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

/// One address for each name, in Xen's range: QEMU's DHCP server knows sixteen hardware addresses at most and never
/// forgets one, so that guests that come again must be the same to it.
fn hardware_address(name: &str) -> String {
    let hash = name.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let [_, a, b, c] = hash.to_be_bytes();
    format!("00:16:3e:{:02x}:{b:02x}:{c:02x}", a & 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_words_for_xl() {
        let settings = Settings {
            memory: Some(8),
            extra: Some("log=debug".into()),
            no_vif: true,
            ..Settings::default()
        };
        assert_eq!(
            settings
                .words("a", Some("m"), &["x".into(), "y".into()])
                .unwrap(),
            " 'name=\"a\"' 'memory=8' 'extra=\"log=debug\"' 'vif=[]' 'disk=[\"x\",\"y\"]'"
        );
    }

    #[test]
    fn a_name_has_one_hardware_address() {
        assert_eq!(hardware_address("httpd"), hardware_address("httpd"));
        assert_ne!(hardware_address("e2e-1"), hardware_address("e2e-2"));
        assert!(hardware_address("httpd").starts_with("00:16:3e:"));
    }

    #[test]
    fn a_quote_in_the_command_line_is_refused() {
        let settings = Settings {
            extra: Some("a'b".into()),
            ..Settings::default()
        };
        assert!(
            settings
                .words("a", None, &[])
                .unwrap_err()
                .to_string()
                .contains("a'b")
        );
    }
}
