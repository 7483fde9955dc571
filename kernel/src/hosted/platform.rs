//! The seam, hosted: what are hypercalls on Xen are calls into the thread's `Machine` here.

use super::{machine, stale};
use crate::abi::grant_table::EntryV1;
use crate::addr::{DomId, Mfn, PAGE_SIZE, Port};
use crate::memory::Stats;
use crate::page::Window;
use crate::suspend::Resumed;
use crate::time::{Duration, Instant};
use crate::{abi, event, run};
use std::ptr::NonNull;

/// How the executor wakes this thread.
pub(crate) struct ThreadWaker(std::thread::Thread);

impl ThreadWaker {
    pub(crate) fn wake(&self) {
        self.0.unpark();
    }
}

pub(crate) fn thread_waker() -> ThreadWaker {
    ThreadWaker(std::thread::current())
}

pub(crate) fn monotonic_ns() -> u64 {
    machine(|m| match m.real.get() {
        Some(start) => u64::try_from(start.elapsed().as_nanos())
            .unwrap_or(u64::MAX)
            .saturating_add(1_000_000_000),
        None => m.now.get().as_nanos(),
    })
}

pub(crate) fn wall() -> Option<Duration> {
    machine(|m| {
        if m.real.get().is_some() {
            return std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .ok();
        }
        m.config
            .borrow()
            .wall
            .map(|wall| wall + m.now.get().since(Instant::from_nanos(1_000_000_000)))
    })
}

pub(crate) fn command_line() -> String {
    machine(|m| m.config.borrow().command_line.clone())
}

pub(crate) fn random() -> Option<u64> {
    machine(|m| {
        if m.config.borrow().no_entropy {
            return None;
        }
        if m.real.get().is_some() {
            return getrandom::u64().ok();
        }
        // A test's randomness repeats: a counter, stirred (splitmix64).
        m.drawn
            .set(m.drawn.get().wrapping_add(0x9e37_79b9_7f4a_7c15));
        let mut z = m.drawn.get();
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(z ^ (z >> 31))
    })
}

/// The test's boot module, or the file that is one.
pub(crate) fn take_boot_module() -> Result<Option<&'static mut [u8]>, String> {
    match machine(|m| m.config.borrow_mut().boot_module.take()) {
        None => crate::boot_module::file::read(),
        Some(module) => Ok(Some(module.leak())),
    }
}

pub(crate) fn take_computed() -> Option<&'static mut [u64]> {
    None
}

pub(crate) fn memory_stats() -> Option<Stats> {
    let absent = machine(|m| m.absent.get()) * PAGE_SIZE;
    let free = machine(|m| m.free.get())?.saturating_sub(absent);
    Some(Stats {
        total: free,
        free,
        ..Stats::default()
    })
}

/// Gives pages to Xen: what is read there from now on is nonsense.
///
/// # Safety
/// Nobody may reach the pages before [`take_pages`] is true.
pub(crate) unsafe fn give_pages(base: NonNull<u8>, count: usize) -> bool {
    // SAFETY: the caller's promise.
    let wiped = unsafe { core::slice::from_raw_parts(base.as_ptr(), count * PAGE_SIZE) };
    assert!(
        wiped.iter().all(|byte| *byte == 0),
        "what Xen gets is wiped"
    );
    // SAFETY: as above.
    unsafe { base.write_bytes(0xdb, count * PAGE_SIZE) };
    machine(|m| m.absent.set(m.absent.get() + count));
    true
}

/// Has pages in their place again, with what others left in them.
pub(crate) fn take_pages(_base: NonNull<u8>, count: usize) -> bool {
    machine(|m| {
        if m.scarce.get() {
            return false;
        }
        m.absent.set(m.absent.get() - count);
        true
    })
}

/// Marks pages that nobody owns, so that a peer which is shown one is noticed.
pub(crate) fn pages_freed(base: NonNull<u8>, count: usize) {
    if cfg!(debug_assertions) {
        stale::mark(base, count);
    }
}

/// Remembers pages that a peer has for ever: they go with the domain.
pub(crate) fn pages_leaked(base: NonNull<u8>, count: usize) {
    machine(|m| m.leaked.borrow_mut().push((base, count)));
}

pub(crate) fn frame_of(page: NonNull<u8>) -> Mfn {
    machine(|m| m.grants.borrow_mut().frame_of(page))
}

pub(crate) fn grant_frame(index: u32) -> Option<NonNull<EntryV1>> {
    machine(|m| m.grants.borrow_mut().frame(index))
}

/// Suspends the domain, and says how it goes on.
pub(crate) fn suspend(_frames: &[NonNull<EntryV1>]) -> Resumed {
    super::life::suspend()
}

pub(crate) fn evtchn_alloc_unbound(_peer: DomId) -> Option<Port> {
    machine(|m| m.events.borrow_mut().alloc())
}

pub(crate) fn evtchn_send(port: Port) {
    machine(|m| m.events.borrow_mut().send(port));
}

pub(crate) fn evtchn_close(port: Port) {
    machine(|m| m.events.borrow_mut().close(port));
}

pub(crate) fn take_pending(port: Port) -> bool {
    machine(|m| m.events.borrow_mut().take_pending(port))
}

/// Makes this process the domain, by the host's clock, with its arguments as the command line.
pub(crate) fn enter_process() {
    let command_line = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    machine(|m| m.process.set(true));
    super::boot(super::Config {
        command_line,
        real_time: true,
        ..super::Config::default()
    });
}

/// Shows what the domain wrote last: why it ends, for one.
pub(crate) fn leave_process() {
    crate::console::drain();
}

/// Lets the backends go on between two rounds of a guest that is busy, as they would beside it.
///
/// Never inlined, as [`wait`]: a profile of the guest leaves out what is below the two.
#[inline(never)]
pub(crate) fn relax() {
    super::poll_backends();
}

/// What `SCHEDOP_poll` looks at: a pending event of a port that somebody here waits for.
fn any_pending() -> bool {
    event::with_ports(|ports| machine(|m| m.events.borrow().any_pending(ports)))
}

/// As Xen's: one watchdog a domain, which is asked for before it is fed.
pub(crate) fn watchdog(id: u32, seconds: u32) -> Option<u32> {
    let deadline = crate::time::now() + Duration::from_secs(seconds.into());
    machine(|m| {
        let fed = m.watchdog.replace(Some(deadline)).is_some();
        (fed == (id != 0)).then_some(u32::from(id == 0))
    })
}

/// Lets backends and time go on until the guest has something to do or `deadline` has come. False when neither can
/// ever be.
#[inline(never)]
pub(crate) fn wait(deadline: Option<Instant>) -> bool {
    loop {
        let progress = super::poll_backends();
        if any_pending() || !run::idle() {
            return true;
        }
        if progress {
            continue;
        }
        let now = crate::time::now();
        let next = [deadline, super::next_backend_deadline()]
            .into_iter()
            .flatten()
            .min();
        if super::is_real_time() {
            match next {
                Some(next) => std::thread::park_timeout(next.since(now)),
                None => std::thread::park(),
            }
            if next.is_some_and(|next| next <= crate::time::now()) || !run::idle() {
                return true;
            }
            continue;
        }
        let Some(next) = next else { return false };
        machine(|m| {
            m.now.set(next.max(now));
            let bites = m.watchdog.get().is_some_and(|deadline| deadline < next);
            assert!(!bites, "the watchdog ends the domain");
        });
        if deadline.is_some_and(|deadline| deadline <= next) {
            return true;
        }
    }
}

/// The console's page and what has come out of it.
pub(crate) struct Console {
    page: NonNull<u8>,
    port: Option<Port>,
    text: Vec<u8>,
    /// Whether somebody else than xenconsoled reads it.
    taken: bool,
}

impl Default for Console {
    fn default() -> Self {
        Self {
            page: NonNull::from(Box::leak(Box::new(SharedPage([0; 4096])))).cast(),
            port: None,
            text: Vec::new(),
            taken: false,
        }
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        // SAFETY: made by `Box::leak` in `default`; the domain has ended.
        drop(unsafe { Box::from_raw(self.page.cast::<SharedPage>().as_ptr()) });
    }
}

/// A page that the toolstack would have made.
#[repr(C, align(4096))]
pub(crate) struct SharedPage(pub(crate) [u8; 4096]);

impl Console {
    /// What xenconsoled does: takes what is in the ring.
    fn drain(&mut self) -> bool {
        if self.taken {
            return false;
        }
        let window = Window::new(self.page, size_of::<abi::console::Interface>());
        let (cons, prod) = (window.load_acquire(3080), window.load_acquire(3084));
        let count = prod.wrapping_sub(cons);
        let mut fresh = Vec::new();
        for i in 0..count {
            let mut byte = [0];
            window.read(
                1024 + (cons.wrapping_add(i) as usize & (abi::console::OUT_SIZE - 1)),
                &mut byte,
            );
            fresh.extend(byte);
        }
        window.store_release(3080, prod);
        if super::is_process() {
            use std::io::Write;
            let _ = std::io::stdout().write_all(&fresh);
        }
        self.text.extend(fresh);
        count > 0
    }

    /// What xenconsoled does with what is typed: as much as the ring has room for. Returns how much that is.
    fn fill(&mut self, keys: &[u8]) -> usize {
        let window = Window::new(self.page, size_of::<abi::console::Interface>());
        let (cons, mut prod) = (window.load_acquire(3072), window.load_acquire(3076));
        let room = abi::console::IN_SIZE.saturating_sub(prod.wrapping_sub(cons) as usize);
        let keys = &keys[..room.min(keys.len())];
        for key in keys {
            window.write(prod as usize & (abi::console::IN_SIZE - 1), &[*key]);
            prod = prod.wrapping_add(1);
        }
        window.store_release(3076, prod);
        keys.len()
    }

    pub(super) fn text(&mut self) -> String {
        self.drain();
        String::from_utf8_lossy(&self.text).into_owned()
    }
}

/// The console's page, and the port that its events come by.
pub(crate) fn console() -> Option<(Window, Port)> {
    machine(|m| {
        let port = m.events.borrow_mut().alloc()?;
        let mut console = m.console.borrow_mut();
        console.port = Some(port);
        Some((
            Window::new(console.page, size_of::<abi::console::Interface>()),
            port,
        ))
    })
}

/// Lets xenconsoled take what is in the ring, and say so. True if there was anything.
pub(crate) fn serve_console() -> bool {
    machine(|m| {
        let mut console = m.console.borrow_mut();
        let taken = console.drain();
        if let Some(port) = console.port.filter(|_| taken) {
            m.events.borrow_mut().raise(port);
        }
        taken
    })
}

/// Types at the console, as far as there is room, and says so. Returns how many keys that were.
pub fn type_keys(keys: &[u8]) -> usize {
    machine(|m| {
        let mut console = m.console.borrow_mut();
        let count = console.fill(keys);
        if let Some(port) = console.port {
            m.events.borrow_mut().raise(port);
        }
        count
    })
}

/// Says of the console's input what is not so: as much was read, and as much was typed.
pub fn lie_about_keys(read: u32, typed: u32) {
    machine(|m| {
        let console = m.console.borrow();
        let window = Window::new(console.page, size_of::<abi::console::Interface>());
        window.store_release(3072, read);
        window.store_release(3076, typed);
        if let Some(port) = console.port {
            m.events.borrow_mut().raise(port);
        }
    });
}

/// Takes the console's other end from xenconsoled: its page, and what sends the guest an event.
pub(super) fn take_console() -> Option<(Window, impl Fn())> {
    machine(|m| {
        let mut console = m.console.borrow_mut();
        console.taken = true;
        let event = move || {
            machine(|m| {
                if let Some(port) = m.console.borrow().port {
                    m.events.borrow_mut().raise(port);
                }
            });
        };
        console.port?;
        Some((
            Window::new(console.page, size_of::<abi::console::Interface>()),
            event,
        ))
    })
}

/// Gives the console's reader the processor for a moment.
pub(crate) fn console_pause() {
    if !serve_console() {
        machine(|m| m.now.set(m.now.get() + Duration::from_millis(1)));
    }
}

/// Gives all backends the processor for a moment of a crash.
pub(crate) fn pause() {
    super::poll_backends();
    machine(|m| m.now.set(m.now.get() + Duration::from_millis(1)));
}

/// A line for when there is no console: for the test's own output.
pub(crate) fn early_line(text: &[u8]) {
    eprint!("{}", String::from_utf8_lossy(text));
}

/// The page shared with xenstored, and the port that its events come by.
pub(crate) fn xenstore() -> Option<(Window, Port)> {
    super::store::interface()
}
