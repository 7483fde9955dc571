//! `unikernel.cfg`, what `xl create` reads. Its syntax is xl.cfg(5)'s.

use std::path::Path;

use super::{Image, Key};

/// What is said of the boot module of a guest that speaks TLS.
const MODULE: &str = r#"# The key and the certificates for HTTPS, in PEM: the server's private key, its certificate and that certificate's issuers',
# in one file, found from the folder in which xl is started. They are in no image; the guest wipes what it was given.
ramdisk = "tls.pem"

"#;

/// What a guest sees the disk with its key as.
const KEY: &str = "xvdk";

/// The configuration of an image's guest, which serves the site on the disk `site` if there is one; every word is
/// explained where it stands.
pub(crate) fn text(image: &Image, site: Option<&Path>, key: Option<Key>) -> String {
    let name = &image.name;
    let module = match key {
        Some(Key::Module) => MODULE,
        _ => "",
    };
    let key = (key == Some(Key::Disk)).then(|| image.folder.join("key.img"));
    let disks = [(site, "xvda", "site"), (key.as_deref(), KEY, "tls")];
    let (mut disk, mut words) = (String::new(), Vec::new());
    for (file, vdev, word) in disks {
        let Some(file) = file else { continue };
        disk += &format!(
            "'format=raw,vdev={vdev},access=ro,target={}', ",
            file.display()
        );
        words.push(format!("{word}={vdev}"));
    }
    let extra = words.join(" ");
    format!(
        r#"# {name} as a Xen guest. In this folder, on any Xen host: xl create unikernel.cfg
# A setting can be overridden where it is used: xl create unikernel.cfg 'memory=64' 'name="{name}-2"'

# The guest's name in `xl list`. No two guests may have the same.
name = "{name}"

# Paravirtual: no emulated devices, no firmware, and no processor features for virtualisation needed.
type = "pv"

# The image, found from the folder in which xl is started. To build the guest anew after `xl reboot`, xl looks from /:
# where that matters, write the whole path here, or: xl create unikernel.cfg "kernel='$PWD/unikernel.gz'"
kernel = "unikernel.gz"

{module}# MiB of memory. An image without a large site works in 3; more memory is more connections and larger buffers, and
# costs no time at boot.
memory = 32

# Virtual processors. A xenlet uses one.
vcpus = 1

# Network interfaces, one entry each: the bridge of the host to join. A fixed hardware address would be
# 'bridge=xenbr0,mac=00:16:3e:00:00:01'; without one, xl makes one up.
vif = [ 'bridge=xenbr0' ]

# Disks, one entry each: a file or a block device of the host (here found from /), and what the guest sees it as.
# disk = [ 'format=raw,vdev=xvda,access=rw,target=/srv/data.img' ]
# A second one would be xvdb; access=ro makes one that can't be written. `cargo xtask disk create` makes such a file.
disk = [ {disk}]

# The guest's command line. Empty: the address comes by DHCP. A static one:
# extra = "ip=192.0.2.10/24 gw=192.0.2.1 dns=192.0.2.1"
# and log=debug makes the console talkative. A server of files that was built for a disk serves what is on it with
# site=xvda, and keeps as much of it in memory as cache=4M says; tls=xvdk is the disk with its key.
extra = "{extra}"

# What becomes of the guest when it ends: on `xl shutdown`, on `xl reboot`, and when it crashes. A crash report
# is on the console then; `cargo xtask symbolize` names its functions and lines. "restart" would keep a service
# up, "preserve" keep the remains to look at.
on_poweroff = "destroy"
on_reboot = "restart"
on_crash = "destroy"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Target;

    fn demo(site: Option<&Path>, key: Option<Key>) -> String {
        text(&Image::of("demo", Target::Xen), site, key)
    }

    #[test]
    fn it_holds_what_xl_needs() {
        let text = demo(None, None);
        for line in [
            "name = \"demo\"",
            "kernel = \"unikernel.gz\"",
            "vif = [ 'bridge=xenbr0' ]",
            "vcpus = 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
    }

    #[test]
    fn a_key_is_a_boot_module_or_on_a_disk() {
        assert!(demo(None, Some(Key::Module)).contains("\nramdisk = \"tls.pem\"\n"));
        assert!(!demo(None, Some(Key::Disk)).contains("ramdisk"));
    }

    #[test]
    fn disks_are_attached_and_named() {
        let text = demo(Some(Path::new("/srv/site.img")), Some(Key::Disk));
        let disks = text
            .lines()
            .find(|line| line.starts_with("disk = "))
            .unwrap();
        assert!(
            disks.starts_with("disk = [ 'format=raw,vdev=xvda,access=ro,target=/srv/site.img', ")
                && disks.ends_with("/demo/key.img', ]")
                && disks.contains("vdev=xvdk,access=ro,"),
            "{disks}"
        );
        assert!(
            text.lines()
                .any(|line| line == "extra = \"site=xvda tls=xvdk\"")
        );
    }

    #[test]
    fn every_setting_has_a_comment_above_it_or_shares_one() {
        let mut explained = false;
        for line in demo(None, None).lines() {
            match line {
                "" => explained = false,
                line if line.starts_with('#') => explained = true,
                line => assert!(explained, "{line}"),
            }
        }
    }
}
