//! Frames of any kind, with checksums that are right, from somebody who hears what the guest says.

use crate::hosted::{Peer, PeerStream};
use crate::{TcpListener, TcpStream, UdpSocket};
use core::net::Ipv4Addr;
use core::num::NonZeroU16;
use embedded_io_async::{Read, Write};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, Icmpv4Packet, IpProtocol, Ipv4Packet,
    Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, UdpPacket,
};
use xenlet_kernel::hosted::{self, hostile::Script};
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, sleep, timeout};
use xenlet_netfront::hosted::Frame;
use xenlet_netfront::{Checksum, Gso, GsoKind};

const MOMENT: Duration = Duration::from_millis(1);
/// Who the frames are from: somebody behind the peer, which would reset what it has not begun.
const STRANGER: Ipv4Addr = Ipv4Addr::new(100, 64, 0, 1);
const ECHO: u16 = 7;
/// Where an IP packet begins in a frame.
const IP: usize = 14;

/// Sends the guest, which serves, the frames that `data` says.
///
/// # Panics
/// If the guest does, or does not serve others afterwards.
pub fn frames(data: &[u8]) {
    let data = data.to_vec();
    hosted::test(async move || {
        let peer = Peer::attach_default();
        let served = serve().await;
        assert!(served.is_ok(), "{served:?}");
        let _udp = UdpSocket::bind(53).await;
        let mut stranger = Stranger::new(&peer, Script::new(data));
        while !stranger.script.is_done() {
            stranger.step().await;
        }
        sleep(Duration::from_secs(90)).await;
        for _ in 0..3 {
            if let Ok(stream) = peer.connect(ECHO).await
                && echoes(stream).await
            {
                return;
            }
            // A neighbour that was lied about is asked again.
            sleep(Duration::from_secs(90)).await;
        }
        panic!("nobody is served any more");
    });
}

async fn serve() -> Result<(), crate::Error> {
    let listener = TcpListener::bind(ECHO).await?;
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            spawn(echo(stream));
        }
    });
    crate::up().await
}

async fn echo(mut stream: TcpStream) {
    let mut bytes = [0; 2048];
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        if stream.write_all(&bytes[..count]).await.is_err() {
            break;
        }
    }
}

/// Whether what is sent comes back.
async fn echoes(mut stream: PeerStream) -> bool {
    let sent = [0x5a; 3000];
    let mut back = [0; 3000];
    let exchange = async {
        stream.write_all(&sent).await.is_ok() && stream.read_exact(&mut back).await.is_ok()
    };
    timeout(Duration::from_secs(60), exchange).await == Ok(true) && back == sent
}

/// Who sends frames.
struct Stranger<'p> {
    peer: &'p Peer,
    script: Script,
    /// The guest's hardware address.
    mac: [u8; 6],
    /// The last frame.
    last: Vec<u8>,
    /// What comes next of a connection's bytes: the stranger's, and the guest's as far as it was heard.
    seq: i32,
    ack: i32,
    port: u16,
}

impl<'p> Stranger<'p> {
    fn new(peer: &'p Peer, script: Script) -> Self {
        peer.heard();
        Self {
            peer,
            script,
            mac: crate::interfaces()
                .first()
                .map_or([0; 6], |interface| interface.mac),
            last: Vec::new(),
            seq: 1000,
            ack: 0,
            port: 9,
        }
    }

    async fn step(&mut self) {
        let script = &mut self.script;
        let frame = match script.byte() % 12 {
            0 => return sleep(MOMENT).await,
            1 => return sleep(Duration::from_millis(200) * u32::from(script.byte())).await,
            2 => bytes(script),
            3 => self.ethernet(EthernetProtocol::Arp),
            4 => self.arp(),
            5 => self.ethernet(EthernetProtocol::Ipv4),
            6 => self.ip(),
            7 => self.change(),
            _ => self.segment(),
        };
        self.send(frame);
        sleep(MOMENT).await;
        self.listen();
    }

    /// Any bytes behind a header that is right.
    fn ethernet(&mut self, kind: EthernetProtocol) -> Vec<u8> {
        let payload = bytes(&mut self.script);
        let mut frame = vec![0; IP + payload.len()];
        let mut ethernet = EthernetFrame::new_unchecked(&mut frame);
        ethernet.set_src_addr(EthernetAddress(self.peer.mac()));
        ethernet.set_dst_addr(EthernetAddress(self.mac));
        ethernet.set_ethertype(kind);
        ethernet.payload_mut().copy_from_slice(&payload);
        frame
    }

    /// What somebody says of an address, or asks.
    fn arp(&mut self) -> Vec<u8> {
        let (operation, from, to) = (
            self.script.byte() % 3,
            self.script.byte(),
            self.script.byte(),
        );
        let mut frame = self.ethernet(EthernetProtocol::Arp);
        frame.truncate(IP);
        frame.extend([0, 1, 8, 0, 6, 4, 0, operation]);
        frame.extend([0x52, 0x54, 0, 0, 0, from, 10, 0, 2, from]);
        frame.extend([0, 0, 0, 0, 0, 0, 10, 0, 2, to]);
        frame
    }

    /// Any bytes in a packet of any protocol.
    fn ip(&mut self) -> Vec<u8> {
        let protocol = self.script.one_of(&[1, 2, 6, 17, 17, 58, 255]);
        let payload = bytes(&mut self.script);
        self.packet(protocol.into(), payload.len(), |place| {
            place.copy_from_slice(&payload)
        })
    }

    fn packet(
        &self,
        next_header: IpProtocol,
        payload_len: usize,
        emit: impl FnOnce(&mut [u8]),
    ) -> Vec<u8> {
        let ip = Ipv4Repr {
            src_addr: STRANGER,
            dst_addr: Peer::GUEST,
            next_header,
            payload_len,
            hop_limit: 64,
        };
        let mut frame = vec![0; IP + ip.buffer_len() + payload_len];
        let mut ethernet = EthernetFrame::new_unchecked(&mut frame);
        ethernet.set_src_addr(EthernetAddress(self.peer.mac()));
        ethernet.set_dst_addr(EthernetAddress(self.mac));
        ethernet.set_ethertype(EthernetProtocol::Ipv4);
        let mut packet = Ipv4Packet::new_unchecked(ethernet.payload_mut());
        ip.emit(&mut packet, &ChecksumCapabilities::default());
        emit(packet.payload_mut());
        frame
    }

    /// A segment that has to do with a connection, or nearly.
    fn segment(&mut self) -> Vec<u8> {
        let script = &mut self.script;
        let what = script.byte();
        let control = [
            TcpControl::None,
            TcpControl::Psh,
            TcpControl::Syn,
            TcpControl::Fin,
            TcpControl::Rst,
        ][usize::from(what % 5)];
        // Mostly what is next.
        let off = |script: &mut Script| match script.byte() {
            0xc0.. => script.long().cast_signed(),
            byte @ 0x80.. => i32::from(byte.cast_signed()) + 64,
            _ => 0,
        };
        if control == TcpControl::Syn && what & 0x80 != 0 {
            // Another connection.
            self.port = 9 + u16::from(what % 3);
            (self.seq, self.ack) = (1000, 0);
        }
        let seq = self.seq.wrapping_add(off(script));
        let ack = self.ack.wrapping_add(off(script));
        let (window, options) = (script.word(), script.byte());
        let payload = vec![what; usize::from(script.word() % 1461)];
        let syn = control == TcpControl::Syn;
        let tcp = TcpRepr {
            src_port: self.port,
            dst_port: ECHO + u16::from(options & 1),
            control,
            seq_number: TcpSeqNumber(seq),
            ack_number: (!syn || options & 2 != 0).then_some(TcpSeqNumber(ack)),
            window_len: window,
            window_scale: (syn && options & 4 != 0).then_some(options >> 4),
            max_seg_size: (syn && options & 8 != 0).then_some(script.word()),
            sack_permitted: syn && options & 16 != 0,
            sack_ranges: match options & 32 {
                0 => [None; 3],
                _ => [0, 100, 5000]
                    .map(|at| Some((ack.wrapping_add(at).cast_unsigned(), ack.cast_unsigned()))),
            },
            timestamp: None,
            payload: &payload,
        };
        let len = i32::try_from(payload.len()).unwrap_or(0);
        let flags = i32::from(matches!(control, TcpControl::Syn | TcpControl::Fin));
        self.seq = seq.wrapping_add(len + flags);
        self.packet(IpProtocol::Tcp, tcp.buffer_len(), |place| {
            tcp.emit(
                &mut TcpPacket::new_unchecked(place),
                &STRANGER.into(),
                &Peer::GUEST.into(),
                &ChecksumCapabilities::default(),
            );
        })
    }

    /// The last frame with a few bytes changed.
    fn change(&mut self) -> Vec<u8> {
        let mut frame = self.last.clone();
        for _ in 0..=self.script.byte() % 4 {
            let (at, byte) = (usize::from(self.script.byte()), self.script.byte());
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
        }
        frame
    }

    /// Puts a frame on the wire, with what the backend says of it.
    fn send(&mut self, mut bytes: Vec<u8>) {
        mend(&mut bytes);
        self.last.clone_from(&bytes);
        let mut frame = Frame::from(bytes);
        let said = self.script.byte();
        frame.checksum = match said % 8 {
            6 => Checksum::Validated,
            7 => Checksum::Blank,
            _ => Checksum::Unknown,
        };
        frame.gso = NonZeroU16::new(u16::from(said >> 3) * 100)
            .filter(|_| said & 0x87 == 0x87)
            .map(|size| Gso {
                kind: GsoKind::TcpV4,
                size,
            });
        self.peer
            .machine
            .borrow_mut()
            .frames
            .to_guest
            .push_back(frame);
    }

    /// Notes where the guest's side of the connection is.
    fn listen(&mut self) {
        for frame in self.peer.heard() {
            let Ok(ip) = Ipv4Packet::new_checked(frame.get(IP..).unwrap_or(&[])) else {
                continue;
            };
            if ip.next_header() != IpProtocol::Tcp || ip.dst_addr() != STRANGER {
                continue;
            }
            if let Ok(tcp) = TcpPacket::new_checked(ip.payload()) {
                let len = i32::try_from(tcp.segment_len()).unwrap_or(0);
                self.ack = tcp.seq_number().0.wrapping_add(len);
            }
        }
    }
}

fn bytes(script: &mut Script) -> Vec<u8> {
    (0..script.byte()).map(|_| script.byte()).collect()
}

/// Makes the checksums of a frame right, as far as it is one.
pub fn mend(frame: &mut [u8]) {
    let Some(packet) = frame.get_mut(IP..) else {
        return;
    };
    if Ipv4Packet::new_checked(&packet[..]).is_err() {
        return;
    }
    let mut ip = Ipv4Packet::new_unchecked(packet);
    ip.fill_checksum();
    let (from, to) = (ip.src_addr().into(), ip.dst_addr().into());
    let (protocol, payload) = (ip.next_header(), ip.payload_mut());
    match protocol {
        IpProtocol::Tcp if TcpPacket::new_checked(&payload[..]).is_ok() => {
            TcpPacket::new_unchecked(payload).fill_checksum(&from, &to);
        }
        IpProtocol::Udp if UdpPacket::new_checked(&payload[..]).is_ok() => {
            UdpPacket::new_unchecked(payload).fill_checksum(&from, &to);
        }
        IpProtocol::Icmp if Icmpv4Packet::new_checked(&payload[..]).is_ok() => {
            Icmpv4Packet::new_unchecked(payload).fill_checksum();
        }
        _ => {}
    }
}
