//! A page that a peer can reach, and the way there and back.

use super::{OutOfPages, Page, Window, leak};
use crate::addr::{DomId, GrantRef, PAGE_SIZE};
use crate::grant::{self, Access};
use crate::platform;

impl Page {
    /// Lets `peer` read the page, or read and write it.
    ///
    /// # Errors
    /// The page itself, when the grant table is full.
    pub fn share(self, peer: DomId, access: Access) -> Result<SharedPage, Self> {
        match grant::grant(peer, platform::frame_of(self.0), access) {
            Ok(gref) => Ok(SharedPage {
                window: Window::new(self.0, PAGE_SIZE),
                page: Some(self),
                gref,
            }),
            Err(OutOfPages) => Err(self),
        }
    }
}

/// A page that a peer can read, and write where it was told so.
#[derive(Debug)]
pub struct SharedPage {
    /// `None` only on the way out, in `reclaim` and `drop`.
    page: Option<Page>,
    window: Window,
    gref: GrantRef,
}

impl SharedPage {
    /// The grant that the peer uses.
    pub fn gref(&self) -> GrantRef {
        self.gref
    }

    /// Whether the peer has the page mapped.
    pub fn is_held(&self) -> bool {
        grant::is_held(self.gref)
    }

    /// Takes the page back.
    ///
    /// # Errors
    /// The page itself, while the peer has it mapped.
    pub fn reclaim(mut self) -> Result<Page, Self> {
        if grant::revoke(self.gref).is_err() {
            return Err(self);
        }
        match self.page.take() {
            Some(page) => Ok(page),
            None => Err(self),
        }
    }
}

impl AsRef<Window> for SharedPage {
    fn as_ref(&self) -> &Window {
        &self.window
    }
}

impl Drop for SharedPage {
    fn drop(&mut self) {
        if let Some(page) = self.page.take()
            && grant::revoke(self.gref).is_err()
        {
            leak(page.0, 1);
            core::mem::forget(page);
        }
    }
}
