//! What the toolstack says of an interface, taken strictly.

use crate::Features;
use alloc::string::String;
use xenlet_kernel::addr::PAGE_SIZE;

/// IP packet bytes without a word of the toolstack's.
const DEFAULT_MTU: usize = 1500;
/// The least that IPv4 allows a link.
const LEAST_MTU: usize = 68;
/// An Ethernet header, with a VLAN tag.
const HEADER: usize = 18;

/// Six bytes in hexadecimal, two digits each, with colons between: the address of one interface.
pub(crate) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        let part = parts.next()?;
        if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    let one = mac[0] & 1 == 0 && mac != [0; 6];
    (parts.next().is_none() && one).then_some(mac)
}

/// The bytes of an IP packet that the link takes: the toolstack's word, if it makes sense.
pub(crate) fn parse_mtu(number: u32, said: Option<String>, features: Features) -> usize {
    let most = if features.sg {
        usize::from(u16::MAX)
    } else {
        PAGE_SIZE
    } - HEADER;
    let Some(said) = said else {
        return DEFAULT_MTU;
    };
    match said.parse() {
        Ok(mtu) if (LEAST_MTU..=most).contains(&mtu) => mtu,
        _ => {
            log::warn!(
                "vif{number}: mtu is `{said}`, not {LEAST_MTU} to {most} bytes; it is {DEFAULT_MTU} here"
            );
            DEFAULT_MTU
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{parse_mac, parse_mtu};
    use crate::Features;

    #[test]
    fn mac_addresses() {
        assert_eq!(
            parse_mac("00:16:3e:AB:cd:0f"),
            Some([0, 0x16, 0x3e, 0xab, 0xcd, 0x0f])
        );
        for bad in [
            "",
            "00:16:3e:12:34",
            "00:16:3e:12:34:56:78",
            "00:16:3e:12:34:5",
            "00:16:3e:12:34:+5",
            "00:16:3e:12:34:5g",
            "00-16-3e-12-34-56",
            " 00:16:3e:12:34:56",
            "00:16:3e:12:34:56\n",
            "01:00:5e:00:00:01",
            "00:00:00:00:00:00",
            "é0:16:3e:12:34:56",
        ] {
            assert_eq!(parse_mac(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn mtus() {
        let sg = Features {
            sg: true,
            ..Features::default()
        };
        let of = |said: &str, features| parse_mtu(0, Some(said.to_string()), features);
        assert_eq!(parse_mtu(0, None, sg), 1500);
        assert_eq!(of("9000", sg), 9000);
        assert_eq!(of("9000", Features::default()), 1500, "more than a page");
        assert_eq!(of("4078", Features::default()), 4078);
        for bad in ["", "67", "-1", "65518", "4294967296", "1500 ", "0x5dc"] {
            assert_eq!(of(bad, sg), 1500, "{bad:?}");
        }
    }
}
