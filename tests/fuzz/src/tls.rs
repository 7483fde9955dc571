//! TLS with somebody in between, or with a peer that never spoke it.

use crate::stream::{End, Tamper, connection};
use embedded_io_async::{Read, Write};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::LazyLock;
use xenlet_kernel::hosted::hostile::Script;
use xenlet_kernel::hosted::{self, Config};
use xenlet_kernel::run::spawn;
use xenlet_kernel::time::{Duration, timeout};
use xenlet_tls::{
    Identities, Options, Role, Roots, TlsAcceptor, TlsConnector, TlsStream, Versions,
};

/// In October 2026, when rcgen's certificates are valid.
const NOW: Duration = Duration::from_secs(1_792_000_000);
const PATIENCE: Duration = Duration::from_secs(60);
const NAME: &str = "guest.test";

/// What each end says, over and over.
const SAID: &[u8] = b"All of this, in this order, or nothing: that is what TLS promises. ";

/// The certificate of a CA, and a key with its certificate, in PEM.
static KEYS: LazyLock<(String, String)> = LazyLock::new(|| make_keys().expect("keys"));

fn make_keys() -> Result<(String, String), rcgen::Error> {
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (ca_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let root = ca.self_signed(&ca_key)?.pem();
    let certificate = CertificateParams::new(vec![NAME.into()])?
        .signed_by(&key, &Issuer::new(ca, ca_key))?
        .pem();
    Ok((root, key.serialize_pem() + &certificate))
}

/// Has a client and a server speak by what `data` says: the first byte decides which versions, and whether somebody in between changes
/// what they send, or one of them is a peer that sends the rest of `data` as it is.
///
/// # Panics
/// If either does, waits for ever, or reads what the other did not say.
pub(crate) fn tls(data: &[u8]) {
    let (how, rest) = data.split_first().unwrap_or((&0, &[]));
    let versions = match how & 1 {
        0 => Versions::Tls13,
        _ => Versions::Tls12,
    };
    let (kind, rest) = (how >> 1 & 3, rest.to_vec());
    let config = Config {
        wall: Some(NOW),
        ..Config::default()
    };
    let ended = hosted::run(config, async move || {
        let (root, identity) = &*KEYS;
        let identities = Identities::from_pem(identity.as_bytes(), NOW).expect("a key");
        let options = Options {
            versions,
            ..Options::default()
        };
        let acceptor = Rc::new(TlsAcceptor::new(identities, &options).expect("an acceptor"));
        let roots = Roots::from_pem(root.as_bytes()).expect("a root");
        let connector = TlsConnector::new(&roots, &[], versions).expect("a connector");
        match kind {
            0 => {
                let (near, far) = connection(None);
                far.send(&rest);
                far.finish();
                assert!(
                    acceptor.accept(near).await.is_err(),
                    "nobody has spoken TLS"
                );
            }
            1 => {
                let (near, far) = connection(None);
                far.send(&rest);
                far.finish();
                assert!(
                    connector.connect(NAME, near).await.is_err(),
                    "nobody has spoken TLS"
                );
            }
            _ => between(&acceptor, &connector, rest).await,
        }
    });
    assert!(
        ended.value.is_some(),
        "it waits for ever:\n{}",
        ended.console
    );
}

/// A conversation with somebody in between.
async fn between(acceptor: &Rc<TlsAcceptor>, connector: &TlsConnector, script: Vec<u8>) {
    let script = RefCell::new(Script::new(script));
    let tamper: Tamper = Rc::new(move |bytes| change(bytes, &mut script.borrow_mut()));
    let (near, far) = connection(Some(tamper));
    let acceptor = Rc::clone(acceptor);
    let server = spawn(async move {
        if let Ok(Ok(stream)) = timeout(PATIENCE, acceptor.accept(near)).await {
            speak(stream).await;
        }
    });
    if let Ok(Ok(stream)) = timeout(PATIENCE, connector.connect(NAME, far)).await {
        speak(stream).await;
    }
    server.await;
}

/// Says something, and hears what the other one says.
async fn speak<R: Role>(mut stream: TlsStream<End, R>) {
    let (mut heard, mut buffer) = (0, [0; 50]);
    for _ in 0..8 {
        if stream.write_all(SAID).await.is_err() {
            break;
        }
        let Ok(Ok(count @ 1..)) = timeout(PATIENCE, stream.read(&mut buffer)).await else {
            break;
        };
        for byte in &buffer[..count] {
            assert_eq!(*byte, SAID[heard % SAID.len()], "at {heard}");
            heard += 1;
        }
    }
    let _ = timeout(PATIENCE, stream.close()).await;
}

/// Changes what is on its way.
fn change(bytes: &mut Vec<u8>, script: &mut Script) {
    if script.is_done() || bytes.is_empty() {
        return;
    }
    match script.byte() % 16 {
        8 | 9 => {
            let at = usize::from(script.word()) % bytes.len();
            bytes[at] ^= script.byte();
        }
        10 => {
            let [high, low] = script.word().to_be_bytes();
            if let Some(place) = bytes.get_mut(3..5) {
                place.copy_from_slice(&[high, low]);
            }
        }
        11 => bytes.truncate(usize::from(script.word()) % bytes.len()),
        12 => bytes.extend(bytes.clone()),
        13 => {
            // A record of any kind before this one.
            let (kind, count) = (20 + script.byte() % 5, script.byte() % 64);
            let mut record = vec![kind, 3, 3, 0, count];
            record.extend((0..count).map(|_| script.byte()));
            bytes.splice(0..0, record);
        }
        14 => bytes[0] = 20 + script.byte() % 6,
        15 => {
            let at = usize::from(script.word()) % bytes.len();
            let end = bytes.len().min(at + 8);
            bytes[at..end].fill(script.byte());
        }
        _ => {}
    }
}
