//! One device from its handshake to its farewell, for every driver.
//!
//! ```text
//!   Opening::new ─► what is offered ─► Opening::connect ─► Device ─► close, drop, a lie, or the backend leaves
//!   (InitWait)       (the driver)       (Connected)                   (Closing, Closed, memory back)
//! ```

use super::attend::{Claim, Control, attend, release};
use super::{DeviceError, Failure, Frontend, State};
use crate::addr::PAGE_SIZE;
use crate::run::{self, JoinHandle};
use crate::suspend::{self, Hold};
use crate::time::{Duration, timeout};
use crate::xenstore::{self, Errno};
use crate::{memory, page};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{Debug, Display};
use core::task::{Context, Poll};

/// How long the backend has for each step: its domain may be busy starting others.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a driver says of its kind of device.
pub trait Class: Debug + 'static {
    /// Its name in xenstore, such as `vif`.
    const NAME: &'static str;
    /// What the guest's configuration calls it, such as `vif` or `disk`.
    const CONFIG: &'static str;
    /// Linux's driver of its other half, such as `xen-netback`.
    const BACKEND: &'static str;
    /// The state with which our keys are shown, which is what the other half waits for.
    const PUBLISH_AT: State;
    /// What is shared with the backend: rings, pages, event channels. Dropping it takes all of it back.
    type Shared: Debug + 'static;
    /// How a backend breaks the protocol.
    type Lie: Copy + Debug + Display + 'static;

    /// Whether the backend has any page of it mapped: then it may still be doing what it was asked.
    fn is_held(shared: &Self::Shared) -> bool;
}

/// Whether a device works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link<L> {
    /// It does.
    Up,
    /// It does not, and this connection never will again.
    Down(Why<L>),
}

/// Why a device is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why<L> {
    /// The backend left `Connected` for this state.
    Backend(State),
    /// The backend lied, and we closed.
    Lied(L),
    /// The domain was restored: the backend was that of the domain it was before.
    Restored,
}

impl<L: Display> Display for Why<L> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Backend(State::Unknown) => f.write_str("the backend is gone"),
            Self::Backend(state) => write!(f, "the backend went to {state:?}"),
            Self::Restored => f.write_str("the domain was restored"),
            Self::Lied(lie) => write!(f, "the backend broke the protocol: {lie}"),
        }
    }
}

/// Pages that backends may keep of closed devices before none is opened any more: an eighth of the memory. Each
/// device gives its backend the chance to keep some hundreds.
fn most_kept() -> usize {
    memory::stats().map_or(1024, |stats| stats.total / PAGE_SIZE / 8)
}

/// A device that is ours to connect, whose backend waits for our keys.
#[derive(Debug)]
pub struct Opening<C: Class> {
    /// A handshake is not to be cut in two.
    whole: Hold,
    claim: Claim,
    frontend: Frontend,
    control: Rc<Control<C>>,
}

impl<C: Class> Opening<C> {
    /// Claims device `number` of its class and waits until its backend has said what it offers.
    ///
    /// # Errors
    /// As [`Failure`] says.
    pub async fn new(number: u32) -> Result<Self, DeviceError> {
        let device = format!("{}{number}", C::NAME);
        let failed = |why| DeviceError {
            device: device.clone(),
            why,
        };
        let store = |e| {
            failed(match e {
                xenstore::Error::Refused(Errno::ENOENT) => Failure::NoDevice { config: C::CONFIG },
                e => Failure::Store(e),
            })
        };
        let whole = suspend::hold();
        let claim = Claim::new(C::NAME, number).ok_or_else(|| failed(Failure::InUse))?;
        let kept = page::leaked();
        if kept > most_kept() {
            return Err(failed(Failure::PagesKept(kept)));
        }
        let mut frontend = Frontend::open(C::NAME, number).await.map_err(store)?;
        // What the toolstack takes away may still be there for a while. To begin again with it would keep it there.
        let online = frontend.offer::<u32>("online");
        let state = frontend.read::<String>("state").await;
        if online.await == Some(0) {
            return Err(failed(Failure::NoDevice { config: C::CONFIG }));
        }
        // It may not be where a handshake begins, but where an earlier life of ours left it.
        if state.as_deref() != Some(State::Initialising.text()) {
            frontend
                .publish(&[], State::Initialising)
                .await
                .map_err(store)?;
        }
        reach::<C>(&mut frontend, State::InitWait)
            .await
            .map_err(failed)?;
        Ok(Self {
            whole,
            claim,
            frontend,
            control: Rc::new(Control::new(device)),
        })
    }

    /// The device in xenstore, to read what is offered.
    pub fn frontend(&self) -> &Frontend {
        &self.frontend
    }

    /// Shows the backend our keys, which say where `shared` is, and waits for it to connect.
    ///
    /// # Errors
    /// As [`Failure`] says. Then all that was shared is taken back, so that it can be tried again.
    pub async fn connect(
        self,
        keys: Vec<(&'static str, String)>,
        shared: C::Shared,
    ) -> Result<Device<C>, DeviceError> {
        let _whole = self.whole;
        let control = self.control;
        let backend = String::from(self.frontend.backend());
        let task = run::spawn(attend(self.claim, self.frontend, keys, Rc::clone(&control)));
        // From here on the backend may have our pages: whichever way this ends, the task takes them back.
        let device = Device {
            backend,
            shared: Some(shared),
            control,
            task: Some(task),
        };
        match device.control.agreed().await {
            Ok(()) => Ok(device),
            Err(why) => {
                let device_name = device.control.name().into();
                device.close().await;
                Err(DeviceError {
                    device: device_name,
                    why,
                })
            }
        }
    }
}

/// Waits for the backend to come to `wanted`.
pub(super) async fn reach<C: Class>(frontend: &mut Frontend, wanted: State) -> Result<(), Failure> {
    // Before `InitWait` it may still be on its way out from an earlier life.
    let refused = |s| {
        wanted == State::Connected && matches!(s, State::Closing | State::Closed | State::Unknown)
    };
    let reached = frontend.wait_backend(|s| s == wanted || refused(s));
    match timeout(PATIENCE, reached).await {
        Ok(Ok(state)) if state == wanted => Ok(()),
        Ok(Ok(state)) => Err(Failure::BackendRefused(state)),
        Ok(Err(e)) => Err(Failure::Store(e)),
        Err(_elapsed) => Err(Failure::BackendStuck {
            state: frontend.backend_state().await,
            driver: C::BACKEND,
        }),
    }
}

/// A connected device.
///
/// Dropping it closes it in the background; [`close`](Self::close) waits for that.
#[derive(Debug)]
pub struct Device<C: Class> {
    /// The backend's directory in xenstore.
    backend: String,
    /// `None` once the link is down.
    shared: Option<C::Shared>,
    control: Rc<Control<C>>,
    /// `None` only on the way out.
    task: Option<JoinHandle<()>>,
}

impl<C: Class> Device<C> {
    /// What it is called in messages, such as `vif0`.
    pub fn name(&self) -> &str {
        self.control.name()
    }

    /// Whether it works. Once down, this connection stays down: drop it and connect again.
    pub fn link(&self) -> Link<C::Lie> {
        self.control.link()
    }

    /// What is shared with the backend; `None` once it is handed back.
    pub fn shared(&self) -> Option<&C::Shared> {
        self.shared.as_ref()
    }

    /// What is shared with the backend, to use it; `None` once it is handed back.
    pub fn shared_mut(&mut self) -> Option<&mut C::Shared> {
        self.shared.as_mut()
    }

    /// The value of the backend's key `key`; `None` when it is missing or is not a `T`. The request goes out with the
    /// call.
    pub fn offer<T: core::str::FromStr>(
        &self,
        key: &str,
    ) -> impl Future<Output = Option<T>> + use<T, C> {
        let answer = xenstore::read(&format!("{}/{key}", self.backend));
        async move { answer.await.ok()?.parse().ok() }
    }

    /// Takes the device down for a lie, with one line in the log.
    pub fn fail(&mut self, lie: C::Lie) {
        self.control.fail(lie);
        self.retire();
    }

    /// Hands what is shared over to be taken back, once the backend had the chance to let go of it.
    pub fn retire(&mut self) {
        if let Some(shared) = self.shared.take() {
            self.control.retire(shared);
        }
    }

    /// Ready once after the link may have gone down; otherwise whoever waits is woken when it does.
    pub fn poll_changed(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.control.changed.poll_notified(cx)
    }

    /// Closes the device and waits until its backend has let go of everything, or had its time to.
    pub async fn close(mut self) {
        self.retire();
        self.closed().await;
    }

    /// As [`close`](Self::close), and calls `f` with what was shared, if it still was, before it is dropped.
    pub async fn close_with(mut self, f: impl FnOnce(&mut C::Shared)) {
        self.control.want();
        self.retire();
        self.closed().await;
        let mut shared = self.control.take_back();
        if let Some(shared) = &mut shared {
            f(shared);
        }
        release(self.name(), shared);
    }

    async fn closed(&mut self) {
        if let Some(task) = self.task.take() {
            task.await;
        }
    }
}

impl<C: Class> Drop for Device<C> {
    fn drop(&mut self) {
        self.retire();
    }
}
