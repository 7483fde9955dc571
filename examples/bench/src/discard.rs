//! The discard service (RFC 863): what uploads cost without anybody looking at them.

use alloc::vec;
use embedded_io_async::Read;
use xenlet_kernel::{run, time};
use xenlet_net::{TcpListener, TcpStream};

/// Bytes read at once.
const BUFFER: usize = 16 * 1024;

/// Takes connections, for ever.
pub(crate) async fn serve(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(run::spawn(discard(stream))),
            // The host's, where its sockets are used: it may be out of them for a moment.
            Err(error) => {
                log::warn!(target: "bench", "cannot accept a connection: {error}");
                time::sleep(time::Duration::from_millis(100)).await;
            }
        }
    }
}

async fn discard(mut stream: TcpStream) {
    let mut buffer = vec![0; BUFFER];
    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
}
