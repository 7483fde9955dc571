//! The network's words on the command line.
//!
//! | word | what it does |
//! | --- | --- |
//! | `ip=10.0.0.2/24`, `ip1=…` | a static address for the first vif, the second, and so on; without it, DHCP |
//! | `gw=10.0.0.1`, `gw1=…` | with `ip=`: the router that leads out of the subnet |
//! | `dns=10.0.0.3,10.0.0.4`, `dns1=…` | with `ip=`: name servers |
//! | `tcp_rx=8192`, `tcp_tx=16384` | bytes of each connection's buffers; without it, by how much memory is free |

use crate::{Cidr, Error};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use xenlet_kernel::cmdline;

/// What a buffer may have in bytes: a segment at least, and no more than a window can be.
const BUFFER: core::ops::RangeInclusive<usize> = 2048..=16 << 20;

/// An address from the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Static {
    pub(crate) address: Cidr,
    pub(crate) gateway: Option<Ipv4Addr>,
    pub(crate) dns: Vec<Ipv4Addr>,
}

/// What the command line says of vif `number`; `None` is DHCP.
///
/// # Errors
/// [`Error::Word`] names a word that can't be used.
pub(crate) fn address(number: u32) -> Result<Option<Static>, Error> {
    parse_address(number, cmdline::get)
}

/// Checks all the network's words.
///
/// # Errors
/// [`Error::Word`] names the first that can't be used.
pub(crate) fn check() -> Result<(), Error> {
    sizes()?;
    let keys = cmdline::line()
        .split_ascii_whitespace()
        .filter_map(|word| word.split_once('='));
    for (key, _) in keys {
        let number = ["ip", "gw", "dns"]
            .iter()
            .find_map(|name| key.strip_prefix(name));
        // What is not followed by a number is another word that begins like one of ours.
        if let Some(digits) = number
            && let Ok(number) = if digits.is_empty() {
                Ok(0)
            } else {
                digits.parse()
            }
        {
            address(number)?;
        }
    }
    Ok(())
}

/// Bytes of each connection's buffers, receiving and sending, where the command line says how many.
///
/// # Errors
/// [`Error::Word`] when it says something else.
pub(crate) fn sizes() -> Result<(Option<usize>, Option<usize>), Error> {
    let size = |key: &str| {
        let Some(text) = cmdline::get(key) else {
            return Ok(None);
        };
        let bytes = text.parse().ok().filter(|bytes| BUFFER.contains(bytes));
        bytes.map(Some).ok_or_else(|| {
            let (least, most) = (BUFFER.start(), BUFFER.end());
            Error::Word(format!("{key}={text}: not a number of bytes from {least} to {most}; write it as {key}=16384"))
        })
    };
    Ok((size("tcp_rx")?, size("tcp_tx")?))
}

/// The word `name` of vif `number`: the first vif's words have no number.
pub(crate) fn key(name: &str, number: u32) -> String {
    match number {
        0 => String::from(name),
        n => format!("{name}{n}"),
    }
}

fn parse_address<'a>(
    number: u32,
    get: impl Fn(&str) -> Option<&'a str>,
) -> Result<Option<Static>, Error> {
    let (ip, gw, dns) = (key("ip", number), key("gw", number), key("dns", number));
    let Some(text) = get(&ip) else {
        return match get(&gw).map(|_| &gw).or(get(&dns).map(|_| &dns)) {
            None => Ok(None),
            Some(word) => Err(Error::Word(format!(
                "{word}= says nothing without {ip}=: DHCP gives both or neither"
            ))),
        };
    };
    let wrong =
        |what: &str| Error::Word(format!("{ip}={text}: {what}; write it as {ip}=10.0.0.2/24"));
    let (address, prefix_len) = text
        .split_once('/')
        .ok_or_else(|| wrong("the subnet's bits are missing"))?;
    let address: Ipv4Addr = address.parse().map_err(|_| wrong("not an IPv4 address"))?;
    let prefix_len: u8 = prefix_len
        .parse()
        .map_err(|_| wrong("the subnet's bits are not a number"))?;
    if prefix_len > 32 {
        return Err(wrong("a subnet has 32 bits at most"));
    }
    let address = Cidr {
        address,
        prefix_len,
    };
    if !usable(address) {
        return Err(wrong("not an address that a guest can have"));
    }
    let gateway = match get(&gw) {
        None => None,
        Some(text) => Some(parse_gateway(&gw, text, address)?),
    };
    let dns = match get(&dns) {
        None => Vec::new(),
        Some(text) => parse_dns(&dns, text)?,
    };
    Ok(Some(Static {
        address,
        gateway,
        dns,
    }))
}

fn parse_gateway(key: &str, text: &str, own: Cidr) -> Result<Ipv4Addr, Error> {
    let wrong =
        |what: &str| Error::Word(format!("{key}={text}: {what}; write it as {key}=10.0.0.1"));
    let gateway: Ipv4Addr = text.parse().map_err(|_| wrong("not an IPv4 address"))?;
    if !usable(Cidr {
        address: gateway,
        ..own
    }) || gateway == own.address
    {
        return Err(wrong("not an address that a router can have"));
    }
    if !own.contains(gateway) {
        return Err(wrong(&format!("not in the subnet of {own}")));
    }
    Ok(gateway)
}

fn parse_dns(key: &str, text: &str) -> Result<Vec<Ipv4Addr>, Error> {
    let servers = text
        .split(',')
        .map(str::parse)
        .collect::<Result<Vec<Ipv4Addr>, _>>();
    servers.map_err(|_| {
        Error::Word(format!(
            "{key}={text}: not IPv4 addresses; write them as {key}=10.0.0.3,10.0.0.4"
        ))
    })
}

/// Whether a host can have this address: not the subnet's own or its broadcast, nothing special.
pub(crate) fn usable(own: Cidr) -> bool {
    let bits = u32::from(own.address);
    let host = u32::MAX.checked_shr(own.prefix_len.into()).unwrap_or(0);
    let special = own.address.is_unspecified()
        || own.address.is_broadcast()
        || own.address.is_multicast()
        || own.address.is_loopback();
    // In a subnet of two or one (RFC 3021) every address is a host's.
    !special && (own.prefix_len >= 31 || (bits & host != 0 && bits & host != host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(number: u32, words: &[(&str, &'static str)]) -> Result<Option<Static>, Error> {
        parse_address(number, |key| {
            words.iter().find_map(|(k, v)| (*k == key).then_some(*v))
        })
    }

    fn text_of(number: u32, words: &[(&str, &'static str)]) -> String {
        alloc::string::ToString::to_string(&parse(number, words).unwrap_err())
    }

    #[test]
    fn an_address_with_all_that_belongs_to_it() {
        let words = [
            ("ip", "10.0.0.2/24"),
            ("gw", "10.0.0.1"),
            ("dns", "10.0.0.3,8.8.8.8"),
        ];
        let Static {
            address,
            gateway,
            dns,
        } = parse(0, &words).unwrap().unwrap();
        assert_eq!(alloc::format!("{address}"), "10.0.0.2/24");
        assert_eq!(gateway, Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(dns, [Ipv4Addr::new(10, 0, 0, 3), Ipv4Addr::new(8, 8, 8, 8)]);
        assert_eq!(
            parse(1, &words).unwrap(),
            None,
            "the second vif has words of its own"
        );
    }

    #[test]
    fn the_second_vif() {
        let words = [("ip1", "192.168.7.9/16"), ("gw1", "192.168.0.1")];
        assert_eq!(parse(0, &words).unwrap(), None);
        let found = parse(1, &words).unwrap().unwrap();
        assert_eq!(found.gateway, Some(Ipv4Addr::new(192, 168, 0, 1)));
    }

    #[test]
    fn a_wrong_word_is_named_with_its_fix() {
        for (word, what) in [
            (
                "10.0.0.2",
                "ip=10.0.0.2: the subnet's bits are missing; write it as ip=10.0.0.2/24",
            ),
            (
                "10.0.0/24",
                "ip=10.0.0/24: not an IPv4 address; write it as ip=10.0.0.2/24",
            ),
            (
                "10.0.0.2/33",
                "ip=10.0.0.2/33: a subnet has 32 bits at most; write it as ip=10.0.0.2/24",
            ),
            (
                "10.0.0.0/24",
                "ip=10.0.0.0/24: not an address that a guest can have; write it as ip=10.0.0.2/24",
            ),
            (
                "10.0.0.255/24",
                "ip=10.0.0.255/24: not an address that a guest can have; write it as ip=10.0.0.2/24",
            ),
            (
                "0.0.0.0/0",
                "ip=0.0.0.0/0: not an address that a guest can have; write it as ip=10.0.0.2/24",
            ),
        ] {
            assert_eq!(text_of(0, &[("ip", word)]), what);
        }
        let ip = ("ip2", "10.0.0.2/24");
        assert_eq!(
            text_of(2, &[ip, ("gw2", "10.0.1.1")]),
            "gw2=10.0.1.1: not in the subnet of 10.0.0.2/24; write it as gw2=10.0.0.1"
        );
        assert!(text_of(2, &[ip, ("dns2", "10.0.0.3,")]).starts_with("dns2=10.0.0.3,: not IPv4"));
        assert_eq!(
            text_of(0, &[("gw", "10.0.0.1")]),
            "gw= says nothing without ip=: DHCP gives both or neither"
        );
    }

    #[test]
    fn subnets_of_two_and_of_one() {
        assert!(parse(0, &[("ip", "10.0.0.0/31"), ("gw", "10.0.0.1")]).is_ok());
        assert!(parse(0, &[("ip", "10.0.0.7/32")]).is_ok());
    }

    proptest! {
        #[test]
        fn no_word_panics(ip in ".{0,20}", gw in "[0-9./]{0,16}", dns in "[0-9.,]{0,24}") {
            let words = [("ip", ip), ("gw", gw), ("dns", dns)];
            let _ = parse_address(0, |key| words.iter().find_map(|(k, v)| (*k == key).then_some(v.as_str())));
        }
    }
}
