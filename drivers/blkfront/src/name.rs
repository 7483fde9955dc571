//! Disk names and numbers, as toolstacks have them (Xen's `docs/man/xen-vbd-interface.7`).
//!
//! ```text
//!   xvda … xvdp, partitions to 15    202 << 8 | disk << 4 | partition
//!   xvdq … , partitions to 255       1 << 28  | disk << 8 | partition
//!   sda … sdp, partitions to 15        8 << 8 | disk << 4 | partition
//!   hda hdb, partitions to 63          3 << 8 | disk << 6 | partition      hdc hdd: 22 << 8
//! ```

use alloc::format;
use alloc::string::String;

/// Disks of the extended numbering.
const MAX_DISKS: u32 = 1 << 20;

/// The number of the disk called `name`, such as `xvda` or `sdb1`; `None` for anything else.
pub(crate) fn number(name: &str) -> Option<u32> {
    let (kind, rest) =
        name.split_at_checked(name.len().min(if name.starts_with('x') { 3 } else { 2 }))?;
    let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
    let (letters, digits) = rest.split_at(letters);
    let disk = disk_of(letters)?;
    let partition = partition_of(digits)?;
    match kind {
        "xvd" if disk < 16 && partition < 16 => Some(202 << 8 | disk << 4 | partition),
        "xvd" if partition < 256 => Some(1 << 28 | disk << 8 | partition),
        "sd" if disk < 16 && partition < 16 => Some(8 << 8 | disk << 4 | partition),
        "hd" if disk < 2 && partition < 64 => Some(3 << 8 | disk << 6 | partition),
        "hd" if disk < 4 && partition < 64 => Some(22 << 8 | (disk - 2) << 6 | partition),
        _ => None,
    }
}

/// What disk `number` is called in messages: its name and its directory in xenstore, such as `xvda (vbd51712)`.
pub(crate) fn describe(number: u32) -> String {
    match name(number) {
        Some(name) => format!("{name} (vbd{number})"),
        None => format!("vbd{number}"),
    }
}

/// The name of disk `number`; `None` for a number that has none.
pub(crate) fn name(number: u32) -> Option<String> {
    let of = |kind: &str, disk, partition| {
        let mut name = format!("{kind}{}", letters_of(disk));
        if partition > 0 {
            name.push_str(&format!("{partition}"));
        }
        name
    };
    let minor = number & 0xff;
    match number >> 8 {
        202 => Some(of("xvd", minor >> 4, minor & 15)),
        8 => Some(of("sd", minor >> 4, minor & 15)),
        3 if minor < 128 => Some(of("hd", minor >> 6, minor & 63)),
        22 if minor < 128 => Some(of("hd", 2 + (minor >> 6), minor & 63)),
        _ if number >> 28 == 1 => Some(of("xvd", (number >> 8) & (MAX_DISKS - 1), minor)),
        _ => None,
    }
}

/// `a` is 0, `z` is 25, `aa` is 26.
fn disk_of(letters: &str) -> Option<u32> {
    let count = letters.bytes().try_fold(0_u32, |count, letter| {
        let next = count
            .checked_mul(26)?
            .checked_add(u32::from(letter - b'a') + 1)?;
        (next <= MAX_DISKS).then_some(next)
    })?;
    count.checked_sub(1)
}

fn letters_of(disk: u32) -> String {
    let mut letters = String::new();
    let mut count = disk + 1;
    while count > 0 {
        let digit = u8::try_from((count - 1) % 26).unwrap_or(0);
        letters.insert(0, char::from(b'a' + digit));
        count = (count - 1) / 26;
    }
    letters
}

/// Nothing is the whole disk.
fn partition_of(digits: &str) -> Option<u32> {
    if digits.is_empty() {
        return Some(0);
    }
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (said, is) in [
            ("xvda", 51712),
            ("xvdb", 51728),
            ("xvda1", 51713),
            ("xvdp15", 51967),
            ("xvdq", 268_439_552),
            ("xvda16", 268_435_472),
            ("xvdaa", 268_442_112),
            ("sda", 2048),
            ("sdb3", 2067),
            ("hda", 768),
            ("hdb2", 834),
            ("hdc", 5632),
            ("hdd", 5696),
        ] {
            assert_eq!(number(said), Some(is), "{said}");
            assert_eq!(name(is).as_deref(), Some(said), "{is}");
        }
        assert_eq!(describe(51712), "xvda (vbd51712)");
        assert_eq!(describe(7), "vbd7");
    }

    #[test]
    fn other_words() {
        for bad in [
            "",
            "x",
            "xvd",
            "xvd1",
            "xvda0",
            "xvda01",
            "xvda-1",
            "xvda256",
            "XVDA",
            "xvdä",
            "sdq",
            "sda16",
            "hde",
            "hda64",
            "vda",
            "51712",
            "xvda ",
            " xvda",
            "xvdzzzzzzzzz",
            "ä",
            "xä",
        ] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
        for bad in [0, 1, 51, 896, u32::MAX] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn there_and_back(disk in 0_u32..MAX_DISKS, partition in 0_u32..256) {
            let is = if disk < 16 && partition < 16 {
                202 << 8 | disk << 4 | partition
            } else {
                1 << 28 | disk << 8 | partition
            };
            let said = name(is).unwrap();
            proptest::prop_assert_eq!(number(&said), Some(is), "{}", said);
        }
    }
}
