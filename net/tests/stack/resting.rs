//! Connections whose buffers others have: they go on as if nothing had been.

use crate::addresses::lease;
use crate::frames::{Segment, mac_of_guest};
use crate::support::{check_echo, pattern, serve_echo, stats};
use embedded_io_async::{Read, Write};
use proptest::prelude::*;
use smoltcp::wire::TcpControl;
use xenlet_kernel::hosted;
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, now, sleep};
use xenlet_net::hosted::{Faults, Faulty, Peer, PeerStream};
use xenlet_net::{Error, TcpListener, TcpStream};
use xenlet_netfront::hosted as netfront;

/// Memory in which a few dozen connections have buffers that are large enough.
const LITTLE: usize = 8 << 20;

/// More connections than that.
const MANY: usize = 400;

/// An echo server in little memory, and its peer.
async fn small_echo() -> Peer {
    hosted::set_free_memory(Some(LITTLE));
    let peer = Peer::attach_default();
    serve_echo().await;
    peer
}

async fn say(stream: &mut PeerStream, word: &[u8]) {
    stream.write_all(word).await.unwrap();
    let mut back = vec![0; word.len()];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(back, word);
}

/// `count` clients that each have had an answer.
async fn clients(peer: &Peer, count: usize) -> Vec<PeerStream> {
    let mut clients = Vec::new();
    for n in 0..count {
        let mut client = peer.connect(7).await.unwrap();
        say(&mut client, format!("I am {n}").as_bytes()).await;
        clients.push(client);
        // Meanwhile the earlier ones acknowledge what they have got.
        sleep(Duration::from_millis(1)).await;
    }
    clients
}

/// The guest's and the peer's ends of `MANY` connections to port 80; most of them rest.
async fn pairs(peer: &Peer) -> Vec<(TcpStream, PeerStream)> {
    let listener = TcpListener::bind(80).await.unwrap();
    let mut pairs = Vec::new();
    for _ in 0..MANY {
        let mut client = peer.connect(80).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        server.write_all(b"welcome").await.unwrap();
        client.read_exact(&mut [0; 7]).await.unwrap();
        client.write_all(b"thanks").await.unwrap();
        server.read_exact(&mut [0; 6]).await.unwrap();
        pairs.push((server, client));
        // Meanwhile the earlier ones acknowledge what they have got.
        sleep(Duration::from_millis(1)).await;
    }
    assert!(stats().resting > 300, "{} rest", stats().resting);
    pairs
}

/// Every one of many goes on where it was, and is served as fast as the only one would be.
#[test]
fn many_go_on() {
    hosted::test(async || {
        let peer = small_echo().await;
        let mut clients = clients(&peer, MANY).await;
        assert!(stats().resting > 300, "{} rest", stats().resting);
        for (n, client) in clients.iter_mut().enumerate() {
            say(client, format!("I am still {n}").as_bytes()).await;
            say(client, &pattern(7000)).await;
        }
        for client in clients.into_iter().step_by(20) {
            check_echo(client, pattern(100_000)).await;
        }
        assert_eq!(stats().retransmissions, 0);
        sleep(Duration::from_secs(70)).await;
        assert_eq!((stats().connections, stats().resting), (0, 0));
    });
}

/// An answer to one that rested goes out in one turn, not in as many as small buffers would take.
#[test]
fn as_fast_as_alone() {
    async fn polls_of_an_answer(client: &mut PeerStream) -> u64 {
        let before = stats().polls;
        say(client, &pattern(8000)).await;
        stats().polls - before
    }
    hosted::test(async || {
        let peer = small_echo().await;
        let mut first = peer.connect(7).await.unwrap();
        say(&mut first, b"first").await;
        let alone = polls_of_an_answer(&mut first).await;
        let mut clients = clients(&peer, MANY).await;
        for client in &mut clients {
            let among_many = polls_of_an_answer(client).await;
            assert!(among_many <= alone + 2, "{among_many} looks, {alone} alone");
        }
    });
}

/// Small buffers are for those that come while all others have something to do: nobody has to rest for them.
#[test]
fn the_busy_keep_their_buffers() {
    hosted::test(async || {
        let peer = small_echo().await;
        let tasks: Vec<_> = (0..MANY)
            .map(|n| {
                let peer = peer.clone();
                spawn(async move {
                    let client = peer.connect(7).await.unwrap();
                    check_echo(client, pattern(20_000 + n)).await;
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        assert_eq!(stats().retransmissions, 0);
    });
}

/// What the application does with a stream that rests.
#[test]
fn the_application_wakes_it() {
    hosted::test(async || {
        hosted::set_free_memory(Some(LITTLE));
        let peer = Peer::attach_default();
        xenlet_net::up().await.unwrap();
        let mut pairs = pairs(&peer).await.into_iter();

        let (mut server, mut client) = pairs.next().unwrap();
        server.write_all(&pattern(50_000)).await.unwrap();
        drop(server);
        assert_eq!(client.read_to_end().await.unwrap(), pattern(50_000));

        let (server, mut client) = pairs.next().unwrap();
        drop(server);
        assert_eq!(client.read_to_end().await.unwrap(), b"");

        let (mut server, mut client) = pairs.next().unwrap();
        server.shutdown_write().await.unwrap();
        assert_eq!(client.read_to_end().await.unwrap(), b"");
        client.write_all(b"half open").await.unwrap();
        server.read_exact(&mut [0; 9]).await.unwrap();

        let (server, mut client) = pairs.next().unwrap();
        server.abort();
        assert_eq!(client.read(&mut [0; 1]).await, Err(Error::Reset));

        let (server, mut client) = pairs.next().unwrap();
        server.set_keep_alive(Some(Duration::from_secs(5)));
        sleep(Duration::from_secs(60)).await;
        client.write_all(b"there").await.unwrap();
        let mut server = server;
        server.read_exact(&mut [0; 5]).await.unwrap();
    });
}

/// What the peer does with a connection that rests, while the application waits for something to read.
#[test]
fn the_peer_wakes_it() {
    hosted::test(async || {
        hosted::set_free_memory(Some(LITTLE));
        let peer = Peer::attach_default();
        xenlet_net::up().await.unwrap();
        let mut pairs = pairs(&peer).await.into_iter();

        let (mut server, client) = pairs.next().unwrap();
        let reader = spawn(async move { server.read(&mut [0; 8]).await });
        client.shutdown_write();
        assert_eq!(reader.await, Ok(0));

        let (mut server, client) = pairs.next().unwrap();
        let reader = spawn(async move { server.read(&mut [0; 8]).await });
        client.abort();
        assert_eq!(reader.await, Err(Error::Reset));

        let (mut server, mut client) = pairs.next().unwrap();
        let reader = spawn(async move {
            let mut buf = vec![0; 300_000];
            server.read_exact(&mut buf).await.unwrap();
            buf
        });
        client.write_all(&pattern(300_000)).await.unwrap();
        assert_eq!(reader.await, pattern(300_000));
        assert_eq!(stats().retransmissions, 0);
    });
}

/// The address goes away, and with it the connections.
#[test]
fn the_address_is_lost() {
    hosted::test(async || {
        hosted::set_free_memory(Some(LITTLE));
        let peer = Peer::attach_default();
        peer.set_lease(Some(lease(15, 60)));
        xenlet_net::up().await.unwrap();
        let mut pairs = pairs(&peer).await;
        let (mut waiting, _client) = pairs.swap_remove(0);
        let reader = spawn(async move { waiting.read(&mut [0; 8]).await });
        sleep(Duration::from_millis(1)).await;
        peer.set_lease(Some(lease(16, 60)));
        assert_eq!(reader.await, Err(Error::AddressLost));
        for (server, _) in &mut pairs {
            assert_eq!(server.write(b"hello").await, Err(Error::AddressLost));
        }
        drop(pairs);
        sleep(Duration::from_secs(200)).await;
        assert_eq!(stats().connections, 0);
    });
}

/// Without memory to wake it a segment is not taken, and is sent again until there is.
#[test]
fn no_memory_to_wake_it() {
    hosted::test(async || {
        let peer = small_echo().await;
        let mut clients = clients(&peer, MANY).await;
        // Nobody can rest: all that are awake have just had something to do.
        hosted::set_free_memory(Some(1000));
        clients[0].write_all(b"hello").await.unwrap();
        sleep(Duration::from_millis(300)).await;
        hosted::set_free_memory(Some(LITTLE));
        let mut back = [0; 5];
        clients[0].read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"hello");
    });
}

/// On the wire: numbers and windows are those that the connection had, in the scale that was told at its beginning.
#[test]
fn what_is_said() {
    hosted::test(async || {
        // Enough for large windows at first, which are told in fours.
        hosted::set_free_memory(Some(32 << 20));
        let peer = Peer::attach_default();
        serve_echo().await;
        let _first = peer.connect(7).await.unwrap();
        // Somebody behind the peer, which is the gateway.
        let (us, guest) = (([100, 64, 0, 1].into(), 4000), (Peer::GUEST, 7));
        let (own, theirs) = (peer.mac(), mac_of_guest());
        peer.heard();
        let answer = async |segment: Segment| {
            peer.inject(&segment.frame(own, theirs));
            sleep(Duration::from_millis(30)).await;
            let heard = peer.heard();
            let heard = heard.iter().filter_map(|frame| Segment::parse(frame));
            heard.filter(|segment| segment.to == us).collect::<Vec<_>>()
        };
        let syn = Segment {
            scale: Some(3),
            ..Segment::syn(us, guest)
        };
        let began = answer(syn.clone()).await.remove(0);
        assert_eq!(began.scale, Some(2));
        let mut ours = Segment {
            control: TcpControl::Psh,
            seq: syn.seq.wrapping_add(1),
            ack: Some(began.seq.wrapping_add(1)),
            window: 1000,
            scale: None,
            payload: b"hello".to_vec(),
            ..syn
        };
        let answers = answer(ours.clone()).await;
        let is_echo = |segment: &&Segment| !segment.payload.is_empty();
        let echoed = answers.iter().find(is_echo).unwrap();
        assert_eq!(echoed.payload, b"hello");
        ours.seq = ours.seq.wrapping_add(5);
        ours.ack = Some(echoed.seq.wrapping_add(5));
        ours.payload.clear();
        assert_eq!(answer(ours.clone()).await, []);
        let told = echoed.window;
        let before = stats().resting;
        let others = clients(&peer, 700).await;
        assert!(stats().resting > before + 500);
        // The same again, from where it was.
        ours.payload = b"again".to_vec();
        let answers = answer(ours.clone()).await;
        let echoed = answers.iter().find(is_echo).unwrap();
        assert_eq!(echoed.payload, b"again");
        assert_eq!(Some(echoed.seq), ours.ack);
        assert_eq!(echoed.ack, Some(ours.seq.wrapping_add(5)));
        // The peer may have sent all that it was told before.
        assert!(echoed.window >= told, "{} and {told} before", echoed.window);
        drop(others);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Some say something now and then, others come and go, and the wire loses, repeats and reorders: every byte arrives once.
    #[test]
    fn on_a_bad_wire(
        steps in prop::collection::vec((0..150_usize, 1..9000_usize), 1..60),
        seed in any::<u64>(),
    ) {
        hosted::test(async move || {
            hosted::set_free_memory(Some(2 << 20));
            let peer = Peer::new();
            let faults = Faults { lost: 5, repeated: 20, late: 20, changed: 5 };
            netfront::attach(netfront::Config::default(), Faulty::new(peer.wire(), faults, seed));
            serve_echo().await;
            let mut clients = clients(&peer, 150).await;
            let begun = now();
            for (n, len) in steps {
                say(&mut clients[n], &pattern(len)).await;
                if len % 5 == 0 {
                    clients[n] = peer.connect(7).await.unwrap();
                }
            }
            assert!(stats().resting > 50, "{} rest", stats().resting);
            assert!(begun.elapsed() < Duration::from_secs(600));
        });
    }
}
