//! What the hostile backends of all devices have in common.
//!
//! Each begins as an honest one, so that the guest connects, and then each byte of a script is something that a backend
//! could do, honest or not. With the script used up it does nothing any more but let go of what it holds when the guest
//! closes.

use super::{
    Backend, Ends, MappedPage, add_backend, assert_wiped, console_text, map_grant, ports, store,
};
use crate::addr::GrantRef;
use crate::time::{Duration, Instant, now};
use crate::xenbus::State;
use crate::{grant, page};
use std::cell::{RefCell, RefMut};
use std::collections::BTreeSet;
use std::rc::Rc;

/// How long a pause in the script lets the guest run.
const PAUSE: Duration = Duration::from_millis(1);

/// What is said under keys that are lied about.
const NONSENSE: [&str; 24] = [
    "",
    "0",
    "1",
    "2",
    "3",
    "200",
    "511",
    "513",
    "2048",
    "4096",
    "8192",
    "65535",
    "65536",
    "2147483648",
    "4294967295",
    "4294967296",
    "36028797018963968",
    "18446744073709551615",
    "18446744073709551616",
    "-1",
    "+1",
    "x",
    "1 ",
    "00:16:3e:00:00:02",
];

/// Keys of the frontend's directory that the toolstack writes.
const FRONT_KEYS: [&str; 5] = ["backend-id", "backend", "mac", "mtu", "state"];

/// A device whose backend lies.
pub trait Device {
    /// Where it is in xenstore.
    fn ends(&self) -> Ends;

    /// Writes what the toolstack writes for a new device.
    fn create(&mut self);

    /// Writes what is offered at `InitWait`.
    fn offer(&mut self, script: &mut Script);

    /// Takes what the guest shared, and writes what is said at `Connected`.
    fn connect(&mut self, script: &mut Script);

    /// The grants of the rings; none before it is connected.
    fn rings(&self) -> Vec<GrantRef>;

    /// Lets go of the rings.
    fn disconnect(&mut self);

    /// Does one thing of the script.
    fn step(&mut self, script: &mut Script);
}

/// What a hostile backend is to do, and what it holds that it should have let go of.
#[derive(Debug)]
pub struct Script {
    bytes: Vec<u8>,
    at: usize,
    pause: Option<Instant>,
    kept: Vec<MappedPage>,
    ever: BTreeSet<GrantRef>,
}

impl Script {
    /// One that does what `bytes` say.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            at: 0,
            pause: None,
            kept: Vec::new(),
            ever: BTreeSet::new(),
        }
    }

    /// Whether it is used up.
    pub fn is_done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// The next byte; 0 when there is none.
    pub fn byte(&mut self) -> u8 {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte
    }

    /// The next two.
    pub fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// The next four.
    pub fn long(&mut self) -> u32 {
        u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// One of `choices`.
    ///
    /// # Panics
    /// If there are none.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// Up to three of the backend's `keys` that make no sense, in half of all cases.
    pub fn lie_about(&mut self, ends: Ends, keys: &[&str]) {
        for _ in 0..self.byte().saturating_sub(128) / 32 {
            let (key, value) = (self.one_of(keys), self.one_of(&NONSENSE));
            ends.write_back(key, value);
        }
    }

    /// Does something to a key that the guest may read: a state, one of the toolstack's, or one of the backend's `keys`.
    pub fn disturb(&mut self, ends: Ends, keys: &[&str]) {
        let (front, back) = (ends.front(), ends.back());
        let path = match self.byte() % 8 {
            0..=3 => format!("{back}/state"),
            4 => format!("{front}/{}", self.one_of(&FRONT_KEYS)),
            5 => format!("{back}/online"),
            _ => format!("{back}/{}", self.one_of(keys)),
        };
        match self.byte() {
            0xff => store::remove(if self.byte() & 1 == 0 { &front } else { &back }),
            // Toolstacks have removed one key alone.
            0xfe => store::remove(&path),
            0xfd => store::write(&path, &"9".repeat(4000)),
            value @ 0xe0..=0xfc => store::write_bytes(&path, &[value; 3]),
            0x80..=0xdf => store::write(&path, self.one_of(&NONSENSE)),
            value => store::write(&path, &(value % 16).to_string()),
        }
    }

    /// Lets the guest run before the next step.
    pub fn pause(&mut self) {
        self.pause = Some(now() + PAUSE);
    }

    /// Maps a page of the guest's and keeps it.
    pub fn keep(&mut self, gref: GrantRef) {
        if let Ok(page) = map_grant(gref, false) {
            self.kept.push(page);
            self.ever.insert(gref);
        }
    }

    /// Lets go of all pages that were kept.
    pub fn release(&mut self) {
        self.kept.clear();
    }
}

struct Liar<D> {
    device: D,
    script: Script,
    /// The change of xenstore that was last looked at.
    seen: u64,
}

impl<D: Device> Liar<D> {
    fn poll(&mut self) -> bool {
        if store::generation() != self.seen {
            self.follow();
            self.seen = store::generation();
        }
        let script = &mut self.script;
        if script.pause.is_some_and(|until| now() < until) {
            return false;
        }
        script.pause = None;
        if self.device.rings().is_empty() || script.is_done() {
            return false;
        }
        self.device.step(script);
        true
    }

    /// Follows the guest's state, mostly.
    fn follow(&mut self) {
        let Self { device, script, .. } = self;
        let ends = device.ends();
        match ends.front_state() {
            State::Initialising => {
                let ours = store::read(&format!("{}/state", ends.back()));
                if ours.as_deref() != Some(State::InitWait.text()) {
                    device.offer(script);
                    ends.switch(next(script, State::InitWait));
                }
            }
            State::Initialised | State::Connected if device.rings().is_empty() => {
                device.connect(script);
                assert_wiped();
                ends.switch(next(script, State::Connected));
            }
            State::Closing | State::Closed | State::Unknown => {
                // One in four does not let go.
                if script.is_done() || script.byte() >= 64 {
                    device.disconnect();
                    script.release();
                    ends.switch(State::Closed);
                } else {
                    script.ever.extend(device.rings());
                }
            }
            _ => {}
        }
    }
}

/// The state that is next, or, one time in eight, another.
fn next(script: &mut Script, state: State) -> State {
    match script.byte() {
        byte @ 0xe0.. => State::from_text(&(byte % 16).to_string()),
        _ => state,
    }
}

/// A hostile backend's handle.
pub struct Hostile<D>(Rc<RefCell<Liar<D>>>);

impl<D> Clone for Hostile<D> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<D: Device + 'static> Hostile<D> {
    /// Gives this thread's domain a backend for `device` that does what `bytes` say.
    pub fn attach(mut device: D, bytes: Vec<u8>) -> Self {
        device.create();
        let hostile = Self(Rc::new(RefCell::new(Liar {
            device,
            script: Script::new(bytes),
            seen: 0,
        })));
        add_backend(Box::new(hostile.clone()));
        hostile
    }

    /// Has the domain saved and restored. It finds a device like this one, with a backend that does the rest of the script.
    pub fn restore(&self) {
        let again = self.clone();
        super::restore(move || {
            let mut liar = again.0.borrow_mut();
            liar.device.disconnect();
            liar.script.release();
            liar.device.create();
            liar.seen = 0;
            drop(liar);
            add_backend(Box::new(again));
        });
    }

    /// Whether the script is used up.
    pub fn done(&self) -> bool {
        self.0.borrow().script.is_done()
    }

    /// How many of the guest's grants it ever kept mapped when it should not have: as many may be lost to the guest.
    pub fn kept(&self) -> usize {
        self.0.borrow().script.ever.len()
    }

    /// Keeps a page mapped, for a test.
    pub fn keep(&self, gref: GrantRef) {
        self.0.borrow_mut().script.keep(gref);
    }

    /// The device, for a test.
    pub fn device(&self) -> RefMut<'_, D> {
        RefMut::map(self.0.borrow_mut(), |liar| &mut liar.device)
    }

    /// Compares what the domain holds with what it held before, when the guest's half was dropped, and looks at its log.
    ///
    /// # Panics
    /// If more is lost than what the backend kept, or if there is more than a line for each of `lives` connections.
    pub fn assert_nothing_lost(&self, before: &Held, lives: usize) {
        assert_wiped();
        let after = Held::now();
        assert_eq!(
            (after.watches, after.ports),
            (before.watches, before.ports),
            "watches, ports"
        );
        let (lost, kept) = (after.grants - before.grants, self.kept());
        assert!(lost <= kept, "{lost} grants lost, {kept} ever kept");
        assert!(kept > 0 || page::leaked() == 0, "pages lost for nothing");
        let lies = console_text().matches("broke the protocol").count();
        assert!(lies <= lives, "{lies} lines for {lives} connections");
    }
}

impl<D: Device> Backend for Hostile<D> {
    fn poll(&mut self) -> bool {
        self.0.borrow_mut().poll()
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.0.borrow().script.pause
    }
}

/// What a domain holds of what there is a limited number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    grants: usize,
    watches: usize,
    ports: usize,
}

impl Held {
    /// At this moment.
    pub fn now() -> Self {
        Self {
            grants: grant::usage().0,
            watches: store::watches(),
            ports: ports(),
        }
    }
}
