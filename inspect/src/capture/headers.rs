//! How far the headers of a frame go, and whose it is.

use xenlet_net::tap::Way;

const ETHERNET: usize = 14;
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const TCP: u8 = 6;

/// Bytes of a UDP header, and of what ICMP has before its content.
const SHORT: usize = 8;

/// What the first bytes of a frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Headers {
    /// Bytes up to where somebody's content begins.
    pub(super) len: usize,
    /// The guest's port, of a TCP segment.
    pub(super) tcp_port: Option<u16>,
}

/// Looks at a frame. What it says of itself is nobody's promise: headers go no further than the frame, and where it is unclear what is a
/// header nothing is.
pub(super) fn look(way: Way, frame: &[u8]) -> Headers {
    let (len, tcp_port) = find(way, frame).unwrap_or((ETHERNET, None));
    Headers {
        len: len.min(frame.len()),
        tcp_port,
    }
}

fn find(way: Way, frame: &[u8]) -> Option<(usize, Option<u16>)> {
    match word(frame, 12)? {
        // All of it is addresses.
        ARP => return Some((frame.len(), None)),
        IPV4 => {}
        _ => return None,
    }
    let begin = *frame.get(ETHERNET)?;
    let ip = usize::from(begin & 15) * 4;
    if begin >> 4 != 4 || ip < 20 {
        return None;
    }
    let above = ETHERNET + ip;
    // Only the first fragment has more headers.
    if word(frame, ETHERNET + 6)? & 0x1fff != 0 {
        return Some((above, None));
    }
    match *frame.get(ETHERNET + 9)? {
        TCP => {
            let port = match way {
                Way::In => word(frame, above + 2),
                Way::Out => word(frame, above),
            };
            let tcp = frame
                .get(above + 12)
                .map(|offset| usize::from(offset >> 4) * 4);
            Some((above + tcp.unwrap_or(20).max(20), port))
        }
        _ => Some((above + SHORT, None)),
    }
}

fn word(frame: &[u8], at: usize) -> Option<u16> {
    let bytes = frame.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An IPv4 frame of `protocol` whose IP header has `words` words, with this behind it.
    fn frame(words: u8, protocol: u8, rest: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([8, 0, 0x40 | words, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol]);
        frame.resize(ETHERNET + usize::from(words) * 4, 0);
        frame.extend(rest);
        frame
    }

    fn tcp(from: u16, to: u16, words: u8) -> Vec<u8> {
        let mut tcp = [from.to_be_bytes(), to.to_be_bytes()].concat();
        tcp.resize(12, 0);
        tcp.push(words << 4);
        tcp.resize(usize::from(words) * 4, 0);
        tcp.extend(b"content");
        tcp
    }

    #[test]
    fn content_is_behind_the_headers() {
        for (ip, words) in [(5, 5), (15, 5), (5, 8), (6, 15)] {
            let frame = frame(ip, TCP, &tcp(80, 4000, words));
            for (way, port) in [(Way::Out, 80), (Way::In, 4000)] {
                let headers = look(way, &frame);
                assert_eq!(&frame[headers.len..], b"content");
                assert_eq!(headers.tcp_port, Some(port));
            }
        }
        let udp = frame(5, 17, b"headers.content");
        assert_eq!(&udp[look(Way::In, &udp).len..], b"content");
        let ping = frame(5, 1, b"headers.content");
        assert_eq!(&ping[look(Way::In, &ping).len..], b"content");
    }

    #[test]
    fn a_later_fragment_has_no_headers_of_what_is_in_it() {
        let mut fragment = frame(5, TCP, &tcp(80, 80, 5));
        fragment[ETHERNET + 7] = 1;
        let headers = look(Way::In, &fragment);
        assert_eq!((headers.len, headers.tcp_port), (ETHERNET + 20, None));
    }

    #[test]
    fn where_it_is_unclear_what_is_a_header_nothing_is() {
        for (at, byte) in [(12, 0x86), (ETHERNET, 0x65), (ETHERNET, 0x44)] {
            let mut other = frame(5, TCP, &tcp(80, 80, 5));
            other[at] = byte;
            assert_eq!(look(Way::In, &other).len, ETHERNET, "{byte:x} at {at}");
        }
        // A TCP header that says it is shorter than it can be.
        let mut short = frame(5, TCP, &tcp(80, 80, 5));
        short[ETHERNET + 20 + 12] = 0x10;
        assert_eq!(look(Way::In, &short).len, ETHERNET + 20 + 20);
    }

    proptest! {
        #[test]
        fn of_any_frame_no_more_than_there_is(mut frame in prop::collection::vec(any::<u8>(), 0..100), ip: bool, protocol in 0_u8..20) {
            if ip && frame.len() > 23 {
                frame[12..15].copy_from_slice(&[8, 0, 0x45]);
                frame[23] = protocol;
            }
            for way in [Way::In, Way::Out] {
                prop_assert!(look(way, &frame).len <= frame.len());
            }
        }
    }
}
