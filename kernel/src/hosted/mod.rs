//! A small Xen in ordinary memory: what `cargo test` runs a whole unikernel on.
//!
//! One thread is one domain. Everything above the hypercalls is the same code as on Xen: the guest writes real grant
//! entries, real ring bytes and real xenstore messages, and here is what answers them. Backends of devices
//! ([`Backend`]) run when the guest would sleep, so a run is deterministic. Time is the test's: it stands still while
//! anything can be done and jumps to the next deadline when nothing can. A process that serves a real network runs by
//! the host's clock instead.

mod ends;
mod events;
pub mod fuzz;
mod grants;
pub mod hostile;
mod life;
pub(crate) mod platform;
mod stale;
pub mod store;
mod tasks;

pub use ends::Ends;
pub use events::{BackendPort, ports};
pub use grants::{GrantError, MappedPage, assert_wiped, map_grant};
pub use life::{checkpoint, restore};
pub use platform::{lie_about_keys, type_keys};
pub use stale::mark_secret;
pub(crate) use tasks::track;

use crate::addr::DomId;
use crate::shutdown::Reason;
use crate::time::{Duration, Instant};
use crate::{run, timeline};
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

/// The domain in which the hosted backends are.
pub const DOM0: DomId = DomId(0);

/// The other side of a device.
pub trait Backend {
    /// Does what can be done now, without waiting. True if there was anything.
    fn poll(&mut self) -> bool;

    /// When to be polled again if nothing happens before.
    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Whether it will never do anything again, so that it can be dropped.
    fn is_gone(&self) -> bool {
        false
    }
}

/// What a hosted domain starts with.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Its command line.
    pub command_line: String,
    /// Whether time is the host's instead of the test's.
    pub real_time: bool,
    /// Whether there is no source of entropy.
    pub no_entropy: bool,
    /// What the wall clock said when the domain started, since the Unix epoch.
    pub wall: Option<Duration>,
    /// Its boot module, instead of the file that its command line names.
    pub boot_module: Option<Vec<u8>>,
}

/// How a hosted domain ended.
#[derive(Debug)]
pub struct Ended<T> {
    /// Why.
    pub reason: Reason,
    /// What its main returned, if it came to that.
    pub value: Option<T>,
    /// What it wrote to its console.
    pub console: String,
}

pub(crate) struct Machine {
    pub(crate) now: Cell<Instant>,
    pub(crate) real: Cell<Option<std::time::Instant>>,
    pub(crate) config: RefCell<Config>,
    pub(crate) process: Cell<bool>,
    pub(crate) free: Cell<Option<usize>>,
    /// How many pages the guest has given back, and whether there are none for it.
    pub(crate) absent: Cell<usize>,
    pub(crate) scarce: Cell<bool>,
    /// Pages that peers kept, each run with its length.
    leaked: RefCell<Vec<(NonNull<u8>, usize)>>,
    /// When the domain ends unless it says again that it lives.
    pub(crate) watchdog: Cell<Option<Instant>>,
    /// State of the test's randomness.
    pub(crate) drawn: Cell<u64>,
    backends: RefCell<Vec<Box<dyn Backend>>>,
    pub(crate) events: RefCell<events::Ports>,
    pub(crate) grants: RefCell<grants::Tables>,
    pub(crate) console: RefCell<platform::Console>,
    /// How often it was restored, and what is to happen when it is suspended.
    pub(crate) life: Cell<u32>,
    next_life: RefCell<Option<life::Prepare>>,
}

local! {
    static MACHINE: std::cell::OnceCell<Machine> = std::cell::OnceCell::new();
}

pub(crate) fn machine<R>(f: impl FnOnce(&Machine) -> R) -> R {
    MACHINE.with(|m| f(m.get_or_init(Machine::new)))
}

impl Machine {
    fn new() -> Self {
        Self {
            // Not zero: nothing may take the clock's zero for "never".
            now: Cell::new(Instant::from_nanos(1_000_000_000)),
            real: Cell::new(None),
            config: RefCell::default(),
            process: Cell::new(false),
            free: Cell::new(None),
            absent: Cell::new(0),
            scarce: Cell::new(false),
            leaked: RefCell::default(),
            watchdog: Cell::new(None),
            drawn: Cell::new(0),
            backends: RefCell::default(),
            events: RefCell::default(),
            grants: RefCell::default(),
            console: RefCell::default(),
            life: Cell::new(0),
            next_life: RefCell::default(),
        }
    }
}

/// Whether the domain has a watchdog.
#[cfg(test)]
pub(crate) fn watchdog_is_set() -> bool {
    machine(|m| m.watchdog.get().is_some())
}

/// Has [`memory::stats`](crate::memory::stats) say that so many bytes are free, whatever is allocated; `None`, as at first,
/// is to say nothing.
pub fn set_free_memory(bytes: Option<usize>) {
    machine(|m| m.free.set(bytes));
}

/// Has Xen refuse pages to the domain, or not any more.
pub fn set_scarce(scarce: bool) {
    machine(|m| m.scarce.set(scarce));
}

/// Adds the other side of a device to this thread's domain.
pub fn add_backend(backend: Box<dyn Backend>) {
    machine(|m| m.backends.borrow_mut().push(backend));
}

/// Polls every backend once. True if any of them had something to do.
fn poll_backends() -> bool {
    // Taken out while they run: one may add another.
    let mut backends = machine(|m| m.backends.take());
    let mut progress = store::serve() | platform::serve_console();
    for backend in &mut backends {
        progress |= backend.poll();
    }
    backends.retain(|backend| !backend.is_gone());
    machine(|m| {
        let mut place = m.backends.borrow_mut();
        backends.append(&mut place);
        *place = backends;
    });
    progress
}

fn next_backend_deadline() -> Option<Instant> {
    machine(|m| {
        m.backends
            .borrow()
            .iter()
            .filter_map(|b| b.next_deadline())
            .min()
    })
}

/// True when this domain is a process by itself (`main!`), not part of a test.
pub fn is_process() -> bool {
    machine(|m| m.process.get())
}

/// True when time is the host's, so that a backend may wait for the outside.
pub fn is_real_time() -> bool {
    machine(|m| m.real.get().is_some())
}

/// What the domain has written to its console so far.
pub fn console_text() -> String {
    crate::console::flush();
    machine(|m| m.console.borrow_mut().text())
}

/// Runs `main` as a domain of its own, on a thread of its own, to its end.
///
/// # Panics
/// If the domain panics: its panic goes on here.
pub fn run<T: Send + 'static>(
    config: Config,
    main: impl AsyncFnOnce() -> T + Send + 'static,
) -> Ended<T> {
    let domain = move || {
        let life = std::panic::AssertUnwindSafe(|| live(config, main));
        let ended = std::panic::catch_unwind(life);
        if ended.is_err() {
            eprintln!("the domain's console:\n{}", console_text());
        }
        // Now, while the thread's state is whole: a page or a port dropped later would not find its tables.
        teardown();
        ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    };
    match std::thread::Builder::new()
        .name("domain".into())
        .spawn(domain)
        .map(std::thread::JoinHandle::join)
    {
        Ok(Ok(ended)) => ended,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(e) => panic!("no thread for a hosted domain: {e}"),
    }
}

/// A domain's life, on the thread that it has to itself.
fn live<T: 'static>(config: Config, main: impl AsyncFnOnce() -> T + 'static) -> Ended<T> {
    boot(config);
    let value = std::rc::Rc::new(Cell::new(None));
    let place = std::rc::Rc::clone(&value);
    let reason = run::run(async move { place.set(Some(main().await)) });
    crate::console::drain();
    Ended {
        reason,
        value: value.take(),
        console: console_text(),
    }
}

/// Runs a test's body as a domain, by the test's clock, and gives what it returns.
///
/// # Panics
/// If the body panics, or waits for what can never come. The console is in the message.
pub fn test<T: Send + 'static>(body: impl AsyncFnOnce() -> T + Send + 'static) -> T {
    let ended = run(Config::default(), body);
    match ended.value {
        Some(value) => value,
        None => panic!(
            "the domain ended ({:?}) before the test did; its console:\n{}",
            ended.reason, ended.console
        ),
    }
}

fn boot(config: Config) {
    machine(|m| {
        if config.real_time {
            m.real.set(Some(std::time::Instant::now()));
        }
        *m.config.borrow_mut() = config;
    });
    timeline::start(crate::time::now());
    store::start();
    crate::console::start();
    crate::xenstore::start();
    timeline::mark("kernel");
}

/// Drops what the domain's tasks hold while the thread's state is still there.
fn teardown() {
    tasks::drop_all();
    run::teardown();
    machine(|m| drop(m.backends.take()));
    crate::page::teardown(machine(|m| m.leaked.take()));
}
