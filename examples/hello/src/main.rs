//! Says hello to whoever connects to port 80.
#![cfg_attr(xenlet = "xen", no_std, no_main)]
#![forbid(unsafe_code)]

use embedded_io_async::Write;
use xenlet_kernel::run::spawn;
use xenlet_net::{Error, TcpListener};

xenlet_kernel::main!(run);

async fn run() -> Result<(), Error> {
    let listener = TcpListener::bind(80).await?;
    loop {
        let (mut stream, peer) = listener.accept().await?;
        spawn(async move {
            let hello = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nhello\n";
            if let Err(e) = stream.write_all(hello).await {
                log::warn!("{peer}: {e}");
            }
        });
    }
}
