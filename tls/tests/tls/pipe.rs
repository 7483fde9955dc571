//! A pipe in memory, with a buffer of a given size in each direction, and a recorder of what went through.

use embedded_io_async::{ErrorType, Read, Write};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// One direction.
#[derive(Default)]
pub(crate) struct Flow {
    bytes: VecDeque<u8>,
    size: usize,
    closed: bool,
    waker: Vec<Waker>,
    /// All that ever went through.
    pub(crate) seen: Vec<u8>,
}

impl Flow {
    fn wake(&mut self) {
        self.waker.drain(..).for_each(Waker::wake);
    }
}

/// One end of a pipe. Dropping it closes both directions.
pub(crate) struct End {
    pub(crate) from: Rc<RefCell<Flow>>,
    pub(crate) to: Rc<RefCell<Flow>>,
    /// How much one read or write moves at most.
    pub(crate) piece: Rc<Cell<usize>>,
}

/// Both ends of a pipe that holds `size` bytes in each direction.
pub(crate) fn pipe(size: usize) -> (End, End) {
    let flow = || {
        Rc::new(RefCell::new(Flow {
            size,
            ..Flow::default()
        }))
    };
    let (a, b, piece) = (flow(), flow(), Rc::new(Cell::new(usize::MAX)));
    let near = End {
        from: Rc::clone(&a),
        to: Rc::clone(&b),
        piece: Rc::clone(&piece),
    };
    let far = End {
        from: b,
        to: a,
        piece,
    };
    (near, far)
}

impl End {
    fn poll_read(&self, into: &mut [u8], cx: &mut Context<'_>) -> Poll<usize> {
        assert!(!into.is_empty(), "reading into nothing looks like the end");
        let mut flow = self.from.borrow_mut();
        if flow.bytes.is_empty() && !flow.closed {
            flow.waker.push(cx.waker().clone());
            return Poll::Pending;
        }
        let count = into.len().min(flow.bytes.len()).min(self.piece.get());
        for (place, byte) in into.iter_mut().zip(flow.bytes.drain(..count)) {
            *place = byte;
        }
        flow.wake();
        Poll::Ready(count)
    }

    fn poll_write(&self, bytes: &[u8], cx: &mut Context<'_>) -> Poll<usize> {
        let mut flow = self.to.borrow_mut();
        if flow.closed {
            return Poll::Ready(bytes.len());
        }
        let room = flow.size - flow.bytes.len();
        if room == 0 {
            flow.waker.push(cx.waker().clone());
            return Poll::Pending;
        }
        let count = room.min(bytes.len()).min(self.piece.get());
        flow.bytes.extend(&bytes[..count]);
        flow.seen.extend(&bytes[..count]);
        flow.wake();
        Poll::Ready(count)
    }
}

impl End {
    /// Whether the other end is gone.
    pub(crate) fn to_closed(&self) -> bool {
        self.to.borrow().closed
    }
}

impl Drop for End {
    fn drop(&mut self) {
        for flow in [&self.from, &self.to] {
            let mut flow = flow.borrow_mut();
            flow.closed = true;
            flow.wake();
        }
    }
}

impl ErrorType for End {
    type Error = Infallible;
}

impl Read for End {
    async fn read(&mut self, into: &mut [u8]) -> Result<usize, Infallible> {
        Ok(poll_fn(|cx| self.poll_read(into, cx)).await)
    }
}

impl Write for End {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        Ok(poll_fn(|cx| self.poll_write(bytes, cx)).await)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
