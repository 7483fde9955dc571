//! Tasks and the queue of those that are ready, on the `async-task` crate.

use crate::trace;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::rc::Rc;
use alloc::sync::Arc;
use async_task::{Runnable, Task};
use core::cell::{Cell, OnceCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use spin::Mutex;

/// The ready queue. Behind a lock because a `Waker` may be used from any thread: on the host's targets a reactor
/// thread does; on Xen the lock is never contended and costs one store.
#[derive(Default)]
struct Ready {
    queue: Mutex<VecDeque<Runnable>>,
}

impl Ready {
    fn pop(&self) -> Option<Runnable> {
        self.queue.lock().pop_front()
    }
}

local! {
    static READY: OnceCell<Arc<Ready>> = OnceCell::new();
}

fn ready() -> Arc<Ready> {
    READY.with(|r| Arc::clone(r.get_or_init(Arc::default)))
}

/// Starts a task that runs beside the caller. It goes on when the handle is dropped.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    spawn_named(core::any::type_name::<F>(), future)
}

/// The same, for a task that is called `name` on a [trace](crate::trace); others are called after their future's type.
pub fn spawn_named<F>(name: &'static str, future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    let place = Rc::new(Cell::new(None));
    let result = Rc::clone(&place);
    #[cfg(feature = "inspect")]
    let alive = super::turns::Alive::new();
    let future = Box::pin(async move {
        #[cfg(feature = "inspect")]
        let _alive = alive;
        result.set(Some(future.await));
    });
    let traced = trace::Task::new(name);
    let task = start(traced.clone(), future);
    JoinHandle {
        task: Some(task),
        traced,
        result: place,
    }
}

/// The one kind of task there is, so that its code is in the image once and not for each future.
pub(crate) type Boxed = Pin<Box<dyn Future<Output = ()>>>;

fn start(traced: trace::Task, future: Boxed) -> Task<()> {
    let future = traced.clone().follow(future);
    #[cfg(not(any(xenlet = "xen", xenlet = "unix")))]
    let future = crate::hosted::track(future);
    let queue = ready();
    let waker = crate::platform::thread_waker();
    let schedule = move |runnable| {
        traced.woken();
        queue.queue.lock().push_back(runnable);
        waker.wake();
    };
    // SAFETY: the future is `'static`. It need not be `Send`: runnables are only run and dropped by `run_ready`,
    // on the thread whose queue they are in, which is the thread that called `spawn`. `schedule` is `Send` and
    // `Sync`: `Arc`s of a lock and of atomics, and a thread handle.
    let (runnable, task) = unsafe { async_task::spawn_unchecked(future, schedule) };
    runnable.schedule();
    task
}

/// Runs the tasks that are ready now, and says how many that were. What they wake runs in the next round.
pub(super) fn run_ready() -> usize {
    READY.with(|r| {
        let Some(ready) = r.get() else { return 0 };
        let count = ready.queue.lock().len();
        for _ in 0..count {
            let Some(runnable) = ready.pop() else { break };
            runnable.run();
        }
        count
    })
}

/// Drops what is ready, at the end of a hosted domain: a task in the queue has the queue, too.
#[cfg(not(any(xenlet = "xen", xenlet = "unix")))]
pub(crate) fn teardown() {
    let ready = ready();
    while let Some(runnable) = ready.pop() {
        drop(runnable);
    }
}

/// How many tasks are ready.
#[cfg(feature = "inspect")]
pub(super) fn count_ready() -> usize {
    READY.with(|r| r.get().map_or(0, |ready| ready.queue.lock().len()))
}

/// True when no task is ready.
pub(crate) fn idle() -> bool {
    READY.with(|r| r.get().is_none_or(|ready| ready.queue.lock().is_empty()))
}

/// A task's result to come. Dropping it lets the task go on by itself.
pub struct JoinHandle<T> {
    task: Option<Task<()>>,
    traced: trace::Task,
    result: Rc<Cell<Option<T>>>,
}

impl<T> JoinHandle<T> {
    /// Ends the task at the point where it waits, and drops what it held.
    pub fn cancel(mut self) {
        drop(self.task.take());
    }
}

impl<T> core::fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("JoinHandle")
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let ended = self
            .task
            .as_mut()
            .is_some_and(|task| Pin::new(task).poll(cx).is_ready());
        match ended.then(|| self.result.take()).flatten() {
            Some(result) => Poll::Ready(result),
            None => {
                self.traced.awaited();
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.detach();
        }
    }
}

/// Lets the other ready tasks, events and timers go first.
pub async fn yield_now() {
    let mut yielded = false;
    core::future::poll_fn(|cx| {
        if core::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
