//! Another key while the guest runs: what the host writes to `data/tls` in xenstore, in PEM, or the name of the disk that has it.
//! It is taken away from there when it was read. Connections that there are go on; with a key that can't be used, the former
//! one stays, and so do tokens and the CAs of clients.

use super::source::Source;
use super::text;
use crate::{Identities, TlsAcceptor, check};
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use xenlet_kernel::{run, xenstore};
use zeroize::Zeroizing;

/// Relative to the domain's own.
const PATH: &str = "data/tls";

/// Follows the path as long as the guest runs.
pub(super) fn follow(acceptor: &Rc<TlsAcceptor>) {
    let acceptor = Rc::clone(acceptor);
    run::spawn(async move {
        // Without the watch, or when xenstored is gone, things stay as they are.
        let Ok(mut watch) = xenstore::watch(PATH).await else {
            return;
        };
        while watch.changed().await.is_ok() {
            match take().await {
                Ok(Some(text)) => match read(&text).await {
                    Ok(identities) => {
                        log::info!(target: "tls", "from now on the certificate is for {identities}");
                        acceptor.replace(identities);
                    }
                    Err(why) => log::error!(
                        target: "tls",
                        "the new key of xenstore, {PATH}: {why}; the former one stays"
                    ),
                },
                Ok(None) => {}
                Err(error) => {
                    log::warn!(target: "tls", "the key stays in xenstore, {PATH}: {error}")
                }
            }
        }
    });
}

/// What is at the path, if anything is, and no more after this. In one step: what the host writes meanwhile is not lost.
async fn take() -> Result<Option<Zeroizing<String>>, xenstore::Error> {
    xenstore::transaction(async |tx| {
        let text = match tx.read(PATH).await {
            Ok(text) => text,
            // No text, so no PEM either; but a key it may be, which is not to stay there.
            Err(xenstore::Error::Unexpected) => String::from("?"),
            Err(_) => return Ok(None),
        };
        let text = Zeroizing::new(text);
        tx.remove(PATH).await.map(|()| Some(text))
    })
    .await
}

async fn read(text: &str) -> Result<Identities, String> {
    let now = check().map_err(|why| why.to_string())?;
    let read = |text: &[u8]| text::own(text, now);
    match Source::disk(text.trim_ascii()) {
        Some(disk) => disk.lend(read).await,
        None => read(text.as_bytes()),
    }
}
