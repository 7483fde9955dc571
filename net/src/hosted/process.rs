//! A process that is a guest by itself: what its vif is connected to.

use super::Peer;
use crate::{Error, forward};
use async_io::Async;
use core::net::Ipv4Addr;
use embedded_io_async::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::rc::Rc;
use xenlet_kernel::hosted::is_process;
use xenlet_kernel::{cmdline, run::spawn};
use xenlet_netfront::hosted::{self as netfront, Tap, Tee, Wire};

/// Gives this process a vif, if it is a guest by itself: to the TAP device of `tap=`, or else to a peer that forwards
/// the ports of `forward=`. `pcap=FILE` keeps a copy of all frames.
///
/// # Errors
/// A word that can't be used, or what the host says no to.
pub fn attach() -> Result<(), Error> {
    if !is_process() {
        return Ok(());
    }
    if let Some(name) = cmdline::get("tap") {
        let tap = Tap::open(name).map_err(|e| {
            Error::Host(format!(
                "tap={name}: {e}; make one by: ip tuntap add dev {name} mode tap user $USER"
            ))
        })?;
        return connect(tap);
    }
    let peer = Peer::with_offloads();
    connect(peer.wire())?;
    for (guest, host) in forward::forwards(cmdline::line())? {
        let listener = Async::<TcpListener>::bind((Ipv4Addr::LOCALHOST, host)).map_err(|e| {
            Error::Host(format!(
                "forward={guest}:{host}: the host does not give 127.0.0.1:{host}: {e}"
            ))
        })?;
        spawn(serve(peer.clone(), guest, listener));
    }
    Ok(())
}

/// Attaches the wire, with a copy to `pcap=` if that is there.
fn connect(wire: impl Wire + 'static) -> Result<(), Error> {
    let config = netfront::Config::default();
    match cmdline::get("pcap") {
        None => netfront::attach(config, wire),
        Some(path) => {
            let tee =
                Tee::create(wire, path).map_err(|e| Error::Host(format!("pcap={path}: {e}")))?;
            netfront::attach(config, tee)
        }
    };
    Ok(())
}

/// Hands the host's connections to the guest.
async fn serve(peer: Peer, port: u16, listener: Async<TcpListener>) {
    loop {
        match listener.accept().await {
            Ok((host, _)) => drop(spawn(forward_one(peer.clone(), port, Rc::new(host)))),
            Err(e) => log::warn!(target: "net", "forward: the host cannot accept: {e}"),
        }
    }
}

/// Copies both ways until both are over. Whatever goes wrong on one side ends the other.
async fn forward_one(peer: Peer, port: u16, host: Rc<Async<TcpStream>>) {
    let Ok(guest) = peer.connect(port).await else {
        log::debug!(target: "net", "forward: the guest refuses port {port}");
        return;
    };
    let guest = Rc::new(guest);
    let up = spawn({
        let (host, guest) = (Rc::clone(&host), Rc::clone(&guest));
        async move {
            let mut bytes = vec![0; 16 * 1024];
            while let Ok(count @ 1..) = host.read_with(|mut host| host.read(&mut bytes)).await {
                if (&*guest).write_all(&bytes[..count]).await.is_err() {
                    break;
                }
            }
            guest.shutdown_write();
        }
    });
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = embedded_io_async::Read::read(&mut &*guest, &mut bytes).await {
        let mut sent = 0;
        while sent < count {
            match host
                .write_with(|mut host| host.write(&bytes[sent..count]))
                .await
            {
                Ok(more @ 1..) => sent += more,
                _ => return up.cancel(),
            }
        }
    }
    let _ = host.get_ref().shutdown(Shutdown::Write);
    up.await;
}
