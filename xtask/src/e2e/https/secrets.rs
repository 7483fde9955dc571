//! What a memory image of a guest tells of its secrets.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use super::{NAME, Site, files};
use crate::e2e::context::Context;
use crate::e2e::devtools::base64;

/// A memory image of a guest that serves has its key where documentation says, and nowhere else: as ring computes with it, once.
pub(in crate::e2e) fn dump_core(context: &mut Context<'_>) -> Result<()> {
    const TOKEN: &str = "f3a1c9d07be24856f3a1c9d07be24856";
    let (ca, file) = files(&[NAME])?;
    let text = fs::read_to_string(&file)?;
    fs::write(&file, format!("{text}token operator: {TOKEN}\n"))?;
    let site = Site::boot_with(context, "", None, ca, file)?;
    for _ in 0..10 {
        site.curl("/boot/", &[])?;
    }
    let key = Secret::read(&text)?;
    let core = format!("/run/{}.core", site.guest.name);
    // In the words of `bytes.fromhex`.
    let wanted: Vec<String> = key.forms().iter().map(|(_, bytes)| hex(bytes)).collect();
    let script = format!(
        "xl dump-core {name} {core} >/dev/null && python3 -S - {core} {wanted} {token} <<'END' 2>&1
import sys
with open(sys.argv[1], 'rb') as file:
    core = file.read()
    for wanted in sys.argv[2:]:
        wanted, count, at = bytes.fromhex(wanted), 0, -1
        while (at := core.find(wanted, at + 1)) >= 0:
            count += 1
        print(count)
    print(core.find(b'xenlet') > 0 and len(core))
END
status=$?; rm -f {core}; exit $status",
        name = site.guest.name,
        wanted = wanted.join(" "),
        token = hex(TOKEN.as_bytes()),
    );
    let said = context.xen.dom0().run(&script)?;
    let mut counts = said.lines();
    for (what, _) in key.forms() {
        let count = counts.next().unwrap_or_default();
        let expected = if what == Secret::COMPUTED { "1" } else { "0" };
        ensure!(
            count == expected,
            "{what} is in {count} places of the guest's memory, not {expected}:\n{said}"
        );
    }
    ensure!(
        counts.next() == Some("0"),
        "the token is in the guest's memory"
    );
    let bytes: u64 = counts
        .next()
        .and_then(|line| line.parse().ok())
        .unwrap_or(0);
    ensure!(bytes > 16 << 20, "that was no memory image: {said}");
    Ok(())
}

/// A private key of P-256.
struct Secret {
    pem: String,
    /// The number, its highest byte first.
    scalar: [u8; 32],
}

impl Secret {
    const COMPUTED: &str = "the key as ring computes with it";

    fn read(text: &str) -> Result<Self> {
        let body = text.split("-----").nth(2).context("no PEM")?;
        let pem: String = body.split_whitespace().collect();
        let der = base64(&pem)?;
        // An OCTET STRING of 32 bytes is the number (RFC 5915).
        let at = der
            .windows(2)
            .position(|two| two == [0x04, 0x20])
            .context("no number")?;
        let scalar = der.get(at + 2..at + 34).context("no number")?.try_into()?;
        Ok(Self { pem, scalar })
    }

    /// What it may look like in memory.
    fn forms(&self) -> Vec<(&'static str, Vec<u8>)> {
        let reversed = |bytes: &[u8; 32]| bytes.iter().rev().copied().collect();
        vec![
            ("a part of the PEM", self.pem.as_bytes()[64..112].to_vec()),
            ("the number", self.scalar.to_vec()),
            ("the number, its lowest byte first", reversed(&self.scalar)),
            (Self::COMPUTED, reversed(&self.montgomery())),
        ]
    }

    /// The number times 2^256, modulo the group's order: doubled 256 times.
    fn montgomery(&self) -> [u8; 32] {
        const ORDER: [u8; 32] = *b"\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\
\xbc\xe6\xfa\xad\xa7\x17\x9e\x84\xf3\xb9\xca\xc2\xfc\x63\x25\x51";
        let mut number = self.scalar;
        for _ in 0..256 {
            let is_over = number[0] & 0x80 != 0;
            let mut low = 0;
            for byte in number.iter_mut().rev() {
                (*byte, low) = (*byte << 1 | low, *byte >> 7);
            }
            if is_over || number >= ORDER {
                let mut borrow = false;
                for (byte, order) in number.iter_mut().zip(&ORDER).rev() {
                    let (less, first) = byte.overflowing_sub(*order);
                    let (less, second) = less.overflowing_sub(u8::from(borrow));
                    (*byte, borrow) = (less, first || second);
                }
            }
        }
        number
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
