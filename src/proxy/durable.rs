//! Waiting until a decision is durable, where nothing may be forwarded before.
//!
//! ```text
//!   worker   record ─▶ ring      bell.ring() ──unpark──▶ writer: commit, settle
//!            durable().await ◀── wakers ◀── listen ◀── a byte on a socket
//! ```
//! A worker and the writer share the ring and these two signals; neither ever waits for the other
//! in a call.

use super::worker::Worker;
use crate::wire::limits::DURABLE_WAIT_MS;
use monoio::io::AsyncReadRent;
use monoio::net::UnixStream;
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::thread::Thread;

/// Wakes the writer: there is something to make durable.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<OnceLock<Thread>>);

impl Bell {
    /// Says whom to wake, once.
    pub fn hang(&self, thread: &Thread) {
        // It is said once only, by whoever starts the thread.
        let _ = self.0.set(thread.clone());
    }

    /// Wakes the writer, or lets it find work before it next sleeps.
    pub fn ring(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}

/// A lane's end of the signals.
pub struct Signals {
    /// To the writer.
    pub bell: Bell,
    /// A byte comes whenever more is durable, or nothing can be made durable.
    pub news: std::os::unix::net::UnixStream,
}

/// A worker's exchanges that wait for their records.
pub struct Durability {
    bell: Bell,
    waiting: RefCell<Vec<Waker>>,
}

impl Durability {
    /// Listens on the worker's runtime for as long as that runs. Where it hears nothing, what waits
    /// is refused when its time is over: nothing is forwarded that is not durable.
    pub fn listen(signals: Signals) -> Rc<Self> {
        let own = Rc::new(Self { bell: signals.bell, waiting: RefCell::default() });
        let nonblocking = signals.news.set_nonblocking(true);
        let Ok(mut news) = nonblocking.and_then(|()| UnixStream::from_std(signals.news)) else {
            return own;
        };
        let kept = Rc::clone(&own);
        monoio::spawn(async move {
            let mut buffer = Vec::with_capacity(NEWS_BYTES);
            loop {
                buffer.clear();
                let (result, back) = news.read(buffer).await;
                buffer = back;
                kept.waiting.take().into_iter().for_each(Waker::wake);
                // The writer is gone: it has said before that it is stalled, and what waits ends.
                if matches!(result, Ok(0) | Err(_)) {
                    return;
                }
            }
        });
        own
    }

    /// Whether the record that ends there became durable; not, when the writer says that it cannot,
    /// or does not say anything for too long.
    pub async fn wait(&self, worker: &Worker, position: u64) -> bool {
        if worker.lane.durable() >= position {
            return true;
        }
        self.bell.ring();
        let settled = poll_fn(|cx| {
            if worker.lane.durable() >= position {
                return Poll::Ready(true);
            }
            if worker.lane.is_stalled() {
                return Poll::Ready(false);
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        });
        let until_ms = worker.clock.now_ms().saturating_add(DURABLE_WAIT_MS);
        let timer = worker.timer();
        super::timed::until(&timer, until_ms, settled).await.unwrap_or(false)
    }
}

/// Signals read at once: they all mean the same.
const NEWS_BYTES: usize = 64;
