//! A console whose reader writes any index and any byte of its page, at any moment, or nothing at all.

use crate::abi::console::{IN_SIZE, OUT_SIZE};
use crate::hosted::hostile::Script;
use crate::hosted::{self, checkpoint, platform};
use crate::page::Window;
use crate::time::{Duration, sleep};

/// Offsets of the indices in `struct xencons_interface`.
const INDICES: [usize; 4] = [3072, 3076, OUT_CONS, OUT_PROD];
const IN_PROD: usize = INDICES[1];
const OUT_CONS: usize = 3080;
const OUT_PROD: usize = 3084;

const MOMENT: Duration = Duration::from_millis(1);

/// Runs a guest that logs, with a console that does what `data` says.
///
/// # Panics
/// If the guest does, or if the console does not work any more once its reader does what it should.
pub fn console(data: &[u8]) {
    let data = data.to_vec();
    hosted::test(async move || {
        let mut script = Script::new(data);
        sleep(MOMENT).await;
        let Some(reader) = Reader::take() else { return };
        #[cfg(feature = "inspect")]
        crate::run::spawn(async {
            loop {
                let key = crate::console::key().await;
                crate::console::print(&format!("key {key}\n").repeat(300)).await;
            }
        });
        let mut number = 0;
        while !script.is_done() {
            match script.byte() % 8 {
                0 => sleep(MOMENT).await,
                1 => reader.index(&mut script),
                2 => reader.page.write(
                    usize::from(script.word()) % reader.page.len_bytes(),
                    &[script.byte()],
                ),
                3 => (0..script.byte()).for_each(|_| reader.event()),
                4 => reader.type_in(&mut script),
                5 => drop(reader.read()),
                6 => checkpoint(),
                _ => {
                    for _ in 0..script.byte() {
                        number += 1;
                        log::info!("line {number}");
                    }
                }
            }
        }
        // What was lost is said, and what comes then is read.
        let mut text = Vec::new();
        for turn in 0..60 {
            log::info!("turn {turn}");
            text.extend(reader.read());
            sleep(MOMENT).await;
        }
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("turn 50\r\n"), "{text}");
    });
}

/// Who has the other end of the console.
struct Reader {
    page: Window,
    event: Box<dyn Fn()>,
}

impl Reader {
    fn take() -> Option<Self> {
        let (page, event) = platform::take_console()?;
        Some(Self {
            page,
            event: Box::new(event),
        })
    }

    fn event(&self) {
        (self.event)();
    }

    /// Writes an index: anything, or near what it is.
    fn index(&self, script: &mut Script) {
        let (at, value) = (script.one_of(&INDICES), script.long());
        let value = match value & 1 {
            0 => value >> 1,
            _ => self.page.load_acquire(at).wrapping_add(value >> 24),
        };
        self.page.store_release(at, value);
    }

    /// Types some of any byte.
    fn type_in(&self, script: &mut Script) {
        let (count, byte) = (script.byte(), script.byte());
        let prod = self.page.load_acquire(IN_PROD);
        for i in 0..u32::from(count) {
            let at = prod.wrapping_add(i) as usize % IN_SIZE;
            self.page.write(at, &[byte]);
        }
        self.page
            .store_release(IN_PROD, prod.wrapping_add(count.into()));
        self.event();
    }

    /// Takes all that there is, as xenconsoled does.
    fn read(&self) -> Vec<u8> {
        let (cons, prod) = (
            self.page.load_acquire(OUT_CONS),
            self.page.load_acquire(OUT_PROD),
        );
        let count = (prod.wrapping_sub(cons) as usize).min(OUT_SIZE);
        let mut bytes = vec![0; count];
        for (i, byte) in (0..).zip(&mut bytes) {
            let at = IN_SIZE + cons.wrapping_add(i) as usize % OUT_SIZE;
            self.page.read(at, std::slice::from_mut(byte));
        }
        self.page.store_release(OUT_CONS, prod);
        self.event();
        bytes
    }
}
