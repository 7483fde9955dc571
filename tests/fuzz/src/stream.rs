//! A connection in memory, of which what the peer sends may arrive as something else.

use embedded_io_async::{ErrorType, Read, Write};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::rc::Rc;
use xenlet_kernel::run::Notify;

/// One direction.
#[derive(Default)]
struct Flow {
    bytes: RefCell<VecDeque<u8>>,
    closed: Cell<bool>,
    came: Notify,
}

/// What becomes of the bytes of one write.
pub(crate) type Tamper = Rc<dyn Fn(&mut Vec<u8>)>;

/// One end of a connection. Dropping it closes it.
pub(crate) struct End {
    from: Rc<Flow>,
    to: Rc<Flow>,
    tamper: Option<Tamper>,
}

/// Both ends of a connection, of which `tamper` changes what either sends.
pub(crate) fn connection(tamper: Option<Tamper>) -> (End, End) {
    let (a, b) = (Rc::<Flow>::default(), Rc::<Flow>::default());
    let end = |from: &Rc<Flow>, to: &Rc<Flow>| End {
        from: Rc::clone(from),
        to: Rc::clone(to),
        tamper: tamper.clone(),
    };
    (end(&a, &b), end(&b, &a))
}

impl End {
    /// Puts bytes on the way to the other end, as they are.
    pub(crate) fn send(&self, bytes: &[u8]) {
        self.to.bytes.borrow_mut().extend(bytes);
        self.to.came.notify();
    }

    /// What came from the other end and was not read.
    pub(crate) fn received(&self) -> Vec<u8> {
        self.from.bytes.take().into()
    }

    /// Sends nothing more; what comes is still read.
    pub(crate) fn finish(&self) {
        self.to.closed.set(true);
        self.to.came.notify();
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.finish();
    }
}

impl ErrorType for End {
    type Error = Infallible;
}

impl Read for End {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
        assert!(!into.is_empty(), "reading into nothing looks like the end");
        while self.from.bytes.borrow().is_empty() && !self.from.closed.get() {
            self.from.came.notified().await;
        }
        let mut bytes = self.from.bytes.borrow_mut();
        let count = into.len().min(bytes.len());
        for (place, byte) in into.iter_mut().zip(bytes.drain(..count)) {
            *place = byte;
        }
        Ok(count)
    }
}

impl Write for End {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let mut arriving = bytes.to_vec();
        if let Some(tamper) = &self.tamper {
            tamper(&mut arriving);
        }
        self.send(&arriving);
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
