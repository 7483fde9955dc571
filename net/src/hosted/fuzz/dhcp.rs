//! A DHCP server whose answers are anything: options, addresses, times, too much or nothing.

use crate::hosted::{Peer, PeerWire};
use smoltcp::wire::Ipv4Packet;
use std::cell::RefCell;
use std::rc::Rc;
use xenlet_kernel::hosted::{self, console_text, hostile::Script};
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, Instant, sleep};
use xenlet_netfront::hosted::{Config, Frame, Wire, attach};

/// Where the parts of an answer begin in its frame.
const IP: usize = 14;
const UDP: usize = IP + 20;
const DHCP: usize = UDP + 8;
const OPTIONS: usize = DHCP + 240;

/// The longest answer.
const LONGEST: usize = 1400;

/// Gives the guest answers that `data` decides, for some hours.
///
/// # Panics
/// If the guest does, takes an address that nobody can have, or talks without end.
pub fn dhcp(data: &[u8]) {
    let data = data.to_vec();
    hosted::test(async move || {
        let script = Rc::new(RefCell::new(Script::new(data)));
        let wire = Lying {
            wire: Peer::new().wire(),
            script: Rc::clone(&script),
        };
        attach(Config::default(), wire);
        spawn(crate::up());
        for hour in 0..24 {
            sleep(Duration::from_secs(3600)).await;
            for address in crate::interfaces()
                .iter()
                .filter_map(|interface| interface.address)
            {
                let ip = address.address;
                assert!(
                    !(ip.is_unspecified()
                        || ip.is_multicast()
                        || ip.is_broadcast()
                        || ip.is_loopback()),
                    "the guest took {ip}"
                );
            }
            if hour > 0 && script.borrow().is_done() {
                break;
            }
        }
        let said = console_text().lines().count();
        assert!(said < 4000, "{said} lines in a day");
    });
}

/// A wire on which answers of DHCP become something else.
struct Lying {
    wire: PeerWire,
    script: Rc<RefCell<Script>>,
}

impl Wire for Lying {
    fn send(&mut self, frame: Frame) {
        self.wire.send(frame);
    }

    fn recv(&mut self) -> Option<Frame> {
        let mut frame = self.wire.recv()?;
        let mut script = self.script.borrow_mut();
        let to_client = frame.bytes.get(UDP + 2..UDP + 4) == Some(&[0, 68]);
        if to_client && frame.bytes.len() > OPTIONS && !script.is_done() {
            for _ in 0..=script.byte() % 4 {
                change(&mut frame.bytes, &mut script);
            }
            mend(&mut frame.bytes);
        }
        Some(frame)
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.wire.next_deadline()
    }
}

/// Makes something else of an answer.
fn change(frame: &mut Vec<u8>, script: &mut Script) {
    match script.byte() % 8 {
        // The addresses in it: the client's, its own, the server's, the relay's.
        0 => {
            let at = DHCP + 12 + usize::from(script.byte() % 4) * 4;
            let address = script.long().to_le_bytes();
            if let Some(place) = frame.get_mut(at..at + 4) {
                place.copy_from_slice(&address);
            }
        }
        1 => {
            let at = UDP + usize::from(script.word()) % (frame.len() - UDP);
            frame[at] = script.byte();
        }
        2 => frame.truncate(DHCP + usize::from(script.word()) % (frame.len() - UDP)),
        // An option before the others, or in the place of all.
        kind => {
            let at = OPTIONS.min(frame.len());
            if kind == 3 {
                frame.truncate(at);
            }
            let code = script.one_of(&[1, 3, 6, 51, 53, 54, 58, 59, 0, 255, 12, 52, 82]);
            let (len, said) = (script.byte() % 16, script.byte() % 16);
            let mut option = vec![code, said];
            option.extend((0..len).map(|_| script.byte()));
            frame.splice(at..at, option);
        }
    }
    frame.truncate(LONGEST);
}

/// Makes lengths and checksums right.
fn mend(frame: &mut Vec<u8>) {
    // Its own header is not what is lied about.
    if frame.len() < DHCP {
        frame.resize(DHCP, 0);
    }
    let len = u16::try_from(frame.len() - UDP).unwrap_or(0);
    frame[UDP + 4..UDP + 6].copy_from_slice(&len.to_be_bytes());
    // None, which may be.
    frame[UDP + 6..DHCP].fill(0);
    let mut ip = Ipv4Packet::new_unchecked(&mut frame[IP..]);
    ip.set_total_len(len + 20);
    ip.fill_checksum();
}
