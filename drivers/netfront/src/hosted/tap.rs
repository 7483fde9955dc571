//! A TAP device of the host (Linux): the guest is a machine on the host's network.

use super::{Frame, Wire, offload};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle, Thread};
use tun_rs::{DeviceBuilder, InterruptEvent, Layer, SyncDevice};
use xenlet_kernel::hosted;

/// Frames from the host that wait for the guest; with more, the host's own queue fills and drops.
const QUEUE: usize = 256;
/// More than any frame that the host gives: it cuts large segments itself, and no link of it is longer than this.
const LONGEST: usize = 65_536;

/// A wire that ends in a TAP device.
///
/// The host's network code is not asked to do the guest's work: large segments are cut and blank checksums are worked
/// out on the way out.
pub struct Tap {
    device: Arc<SyncDevice>,
    frames: Receiver<Vec<u8>>,
    stop: Arc<InterruptEvent>,
    reader: Option<JoinHandle<()>>,
}

impl Tap {
    /// Opens the TAP device `name`, made if there is none, and brings it up if this process may.
    ///
    /// To make one that a user may open: `ip tuntap add dev NAME mode tap user USER`, and `ip link set NAME up`. Called
    /// on the thread of the domain that the wire is for, which is woken by what comes.
    ///
    /// # Errors
    /// As the host gives them: `PermissionDenied` without CAP_NET_ADMIN where the device is not this user's;
    /// `Unsupported` in a domain whose time is the test's.
    pub fn open(name: &str) -> io::Result<Self> {
        if !hosted::is_real_time() {
            let text = "a TAP device needs a domain that goes by the host's clock";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let device = DeviceBuilder::new()
            .name(name)
            .layer(Layer::L2)
            .inherit_enable_state()
            .build_sync()?;
        if let Err(e) = device.enabled(true) {
            log::warn!("{name} may not be up ({e}); if nothing comes: ip link set {name} up");
        }
        let device = Arc::new(device);
        let stop = Arc::new(InterruptEvent::new()?);
        let (sender, frames) = sync_channel(QUEUE);
        let reader = thread::Builder::new().name(format!("tap {name}")).spawn({
            let (device, stop) = (Arc::clone(&device), Arc::clone(&stop));
            let domain = thread::current();
            move || read(&device, &stop, &sender, &domain)
        })?;
        Ok(Self {
            device,
            frames,
            stop,
            reader: Some(reader),
        })
    }
}

/// Hands over what the device has until told to stop, or until nobody is there to take it.
fn read(device: &SyncDevice, stop: &InterruptEvent, frames: &SyncSender<Vec<u8>>, domain: &Thread) {
    let mut bytes = vec![0; LONGEST];
    while let Ok(len) = device.recv_intr(&mut bytes, stop) {
        if frames.send(bytes[..len].to_vec()).is_err() {
            return;
        }
        domain.unpark();
    }
}

impl Wire for Tap {
    fn send(&mut self, frame: Frame) {
        for frame in offload::finish(frame) {
            // A device that is down or full loses frames, as cables do.
            let _ = self.device.send(&frame.bytes);
        }
    }

    fn recv(&mut self) -> Option<Frame> {
        self.frames.try_recv().ok().map(Frame::from)
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        // Nobody takes frames any more, so a reader that waits to hand one over goes on.
        drop(core::mem::replace(&mut self.frames, sync_channel(0).1));
        if self.stop.trigger().is_ok()
            && let Some(reader) = self.reader.take()
        {
            let _ = reader.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tap;
    use crate::hosted::{Config, attach};
    use crate::{Netfront, RxFrame, TxMeta};
    use std::io::ErrorKind;
    use xenlet_kernel::hosted;
    use xenlet_kernel::time::{Duration, timeout};

    const GUEST: [u8; 4] = [10, 213, 77, 2];
    const HOST: [u8; 4] = [10, 213, 77, 1];

    /// Who has the host's address?
    fn arp_request(mac: [u8; 6]) -> Vec<u8> {
        let mut frame = [[0xff; 6], mac].concat();
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        frame.extend(mac);
        frame.extend(GUEST);
        frame.extend([0; 6]);
        frame.extend(HOST);
        frame
    }

    /// The host's answer to [`arp_request`].
    fn is_answer(frame: &[u8], mac: [u8; 6]) -> bool {
        frame.len() >= 42
            && frame[..6] == mac
            && frame[12..22] == [8, 6, 0, 1, 8, 0, 6, 4, 0, 2]
            && frame[28..32] == HOST
            && frame[38..42] == GUEST
    }

    async fn answer(vif: &mut Netfront) -> RxFrame {
        loop {
            // The host says other things on a link too.
            while let Some(frame) = vif.receive() {
                if is_answer(&frame, vif.mac()) {
                    return frame;
                }
            }
            core::future::poll_fn(|cx| vif.poll_ready(cx)).await;
        }
    }

    #[test]
    fn the_host_answers() {
        let config = hosted::Config {
            real_time: true,
            ..hosted::Config::default()
        };
        let ended = hosted::run(config, async || {
            let tap = match Tap::open("xenlet-test") {
                Ok(tap) => tap,
                Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound) => {
                    eprintln!("not tested: no TAP device here ({e})");
                    return;
                }
                Err(e) => panic!("{e}"),
            };
            let address = ["address", "add", "10.213.77.1/24", "dev", "xenlet-test"];
            let ip = std::process::Command::new("ip").args(address).status();
            if !ip.is_ok_and(|status| status.success()) {
                eprintln!("not tested: no `ip` to give the device an address by");
                return;
            }
            attach(Config::default(), tap);
            let mut vif = Netfront::connect(0).await.unwrap();
            let request = arp_request(vif.mac());
            for _ in 0..50 {
                vif.transmit(request.len(), TxMeta::default(), |into| {
                    into.copy_from_slice(&request);
                });
                // The link takes a moment to be up.
                if timeout(Duration::from_millis(200), answer(&mut vif))
                    .await
                    .is_ok()
                {
                    return;
                }
            }
            panic!("the host did not answer");
        });
        assert!(ended.value.is_some(), "{}", ended.console);
    }

    #[test]
    fn not_by_the_tests_clock() {
        hosted::test(async || {
            let error = Tap::open("xenlet-test").err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
        });
    }
}
