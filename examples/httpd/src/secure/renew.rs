//! Another key while the guest runs: what the host writes to `data/tls` in xenstore, in PEM. It is taken away from there when
//! it was read. Connections that there are go on; with a key that can't be used, the former one stays.

use alloc::rc::Rc;
use xenlet_kernel::{run, xenstore};
use xenlet_tls::{Identities, TlsAcceptor, Zeroizing, check};

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
            let Ok(text) = xenstore::read(PATH).await.map(Zeroizing::new) else {
                continue;
            };
            if let Err(error) = xenstore::remove(PATH).await {
                log::warn!(target: "httpd", "the key stays in xenstore, {PATH}: {error}");
            }
            take(&acceptor, text.as_bytes());
        }
    });
}

fn take(acceptor: &TlsAcceptor, text: &[u8]) {
    let now = match check() {
        Ok(now) => now,
        Err(error) => return log::error!(target: "httpd", "{error}"),
    };
    match Identities::from_pem(text, now) {
        Ok(identities) => {
            log::info!(target: "httpd", "HTTPS: from now on {identities}");
            acceptor.replace(identities);
        }
        Err(why) => log::error!(
            target: "httpd",
            "the new key in xenstore, {PATH}: {why}; the former one stays"
        ),
    }
}
