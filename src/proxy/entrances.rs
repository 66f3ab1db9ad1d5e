//! A worker's own part of the listeners: it takes up new ones, and leaves those that are gone.
//!
//! ```text
//!   gates ─ look, every tick ─▶ new: adopt, accept
//!                            ├▶ as before, or on the same sockets: callers come by the new gate
//!                            └▶ gone: accept who waits, close ─▶ HTTP/2 is told, HTTP/1.1 with
//!                               its next answer ─▶ who is silent ends ─▶ what runs ends by itself
//! ```
//! Nothing that is asked on a connection of a listener which is gone fails for that: it is served
//! as it would have been, and told that it ends.

use super::accept;
use super::gates::{Gate, Gates};
use super::handing::Bound;
use super::secure::Guard;
use super::worker::Worker;
use crate::config::settings::Listener as Settings;
use crate::io::deadline::Idle;
use crate::io::listener::Listener;
use crate::wire::limits::{HAND_OVER_IDLE_MS, LISTENER_LEAVES_MS};
use monoio::task::JoinHandle;
use std::cell::{Cell, RefCell};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;

/// How callers come in by a gate, in one worker; each connection holds the one it came by.
pub struct Passage {
    number: u32,
    gate: RefCell<Arc<Gate>>,
    stage: Cell<Stage>,
}

/// How far its callers are on their way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// They stay.
    Open,
    /// They are told that their connections end.
    Leaving,
    /// Those that are kept and idle end.
    Over,
}

impl Passage {
    fn new(gate: &Arc<Gate>) -> Rc<Self> {
        let (number, gate) = (gate.number, RefCell::new(Arc::clone(gate)));
        Rc::new(Self { number, gate, stage: Cell::new(Stage::Open) })
    }

    /// The number of its gate.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What its connections are secured with.
    pub fn guard(&self) -> Option<Arc<Guard>> {
        self.gate.borrow().guard.clone()
    }

    /// Whether nobody is served here who has shown no certificate.
    pub fn requires_certificates(&self) -> bool {
        self.gate.borrow().guard.as_ref().is_some_and(|guard| guard.requires_certificates())
    }

    /// What the settings say of the listener, or said last.
    pub fn with<T>(&self, with: impl FnOnce(&Settings) -> T) -> T {
        with(&self.gate.borrow().listener)
    }

    /// Whether connections end with what they do now.
    pub fn is_leaving(&self) -> bool {
        self.stage.get() != Stage::Open
    }

    /// Whether a kept connection on which nothing has come ends now.
    pub fn is_over(&self) -> bool {
        self.stage.get() == Stage::Over
    }
}

impl std::fmt::Debug for Passage {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Passage {{ number: {}, stage: {:?} }}", self.number, self.stage.get())
    }
}

/// A socket that this worker accepts from.
pub struct Entrance {
    listener: Listener,
    /// Where it is from: which sockets, and which of them.
    source: (Arc<Bound>, RawFd),
    passage: RefCell<Rc<Passage>>,
    accepted: Cell<u64>,
    closed: Cell<bool>,
}

impl Entrance {
    fn open(bound: &Arc<Bound>, socket: &TcpListener, passage: &Rc<Passage>) -> io::Result<Self> {
        Ok(Self {
            listener: Listener::adopt(socket.try_clone()?)?,
            source: (Arc::clone(bound), socket.as_raw_fd()),
            passage: RefCell::new(Rc::clone(passage)),
            accepted: Cell::new(0),
            closed: Cell::new(false),
        })
    }

    /// Where to accept.
    pub fn listener(&self) -> &Listener {
        &self.listener
    }

    /// By which gate whoever was just accepted has come.
    pub fn entered(&self) -> Rc<Passage> {
        self.accepted.set(self.accepted.get().wrapping_add(1));
        Rc::clone(&self.passage.borrow())
    }

    /// Whether nobody comes any more.
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    fn is_of(&self, bound: &Arc<Bound>) -> bool {
        Arc::ptr_eq(&self.source.0, bound)
    }

    fn close(&self) {
        self.closed.set(true);
        self.listener.close();
    }
}

/// A socket that is about to be closed.
struct Closing {
    entrance: Rc<Entrance>,
    /// Not before.
    until_ms: u64,
    /// How many it had accepted when it was looked at last.
    accepted: u64,
}

/// See the module's text.
pub struct Entrances {
    /// Which of so many workers this is.
    place: (usize, usize),
    /// The version that was looked at last, and its gates once all of them are taken up.
    seen: u64,
    gates: Option<Arc<Gates>>,
    open: Vec<Rc<Entrance>>,
    passages: Vec<Rc<Passage>>,
    closing: Vec<Closing>,
    /// Those with connections of gates that are gone, and when the idle ones of these end.
    left: Vec<(Rc<Passage>, u64)>,
    accepting: Vec<JoinHandle<()>>,
}

impl Entrances {
    /// Those of one of so many workers; none yet.
    pub fn new(place: (usize, usize)) -> Self {
        Self {
            place,
            seen: 0,
            gates: None,
            open: Vec::new(),
            passages: Vec::new(),
            closing: Vec::new(),
            left: Vec::new(),
            accepting: Vec::new(),
        }
    }

    /// Takes up the listeners of the landscape of this moment, and goes on with leaving others.
    pub fn look(worker: &Rc<Worker>) {
        Self::take_up(worker);
        worker.entrances.borrow_mut().leave(worker);
    }

    /// Takes up the listeners of the landscape of this moment.
    pub fn take_up(worker: &Rc<Worker>) {
        let version = worker.landscape().version;
        let mut entrances = worker.entrances.borrow_mut();
        if version != entrances.seen || entrances.gates.is_none() {
            entrances.seen = version;
            let gates = worker.gates();
            if entrances.gates.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &gates)) {
                entrances.adopt(worker, &gates);
            }
        }
    }

    fn adopt(&mut self, worker: &Rc<Worker>, gates: &Arc<Gates>) {
        let mut whole = true;
        let mut passages = Vec::new();
        for (gate, bound) in gates.iter() {
            let known = self.passages.iter().find(|known| known.number == gate.number);
            let passage = match known {
                Some(known) => {
                    known.gate.replace(Arc::clone(gate));
                    Rc::clone(known)
                }
                None => Passage::new(gate),
            };
            for entrance in self.open.iter().filter(|entrance| entrance.is_of(bound)) {
                entrance.passage.replace(Rc::clone(&passage));
            }
            let (index, workers) = self.place;
            for socket in bound.of(index, workers) {
                let is_own =
                    |it: &Rc<Entrance>| it.is_of(bound) && it.source.1 == socket.as_raw_fd();
                if self.open.iter().any(is_own) {
                    continue;
                }
                match Entrance::open(bound, socket, &passage).map(Rc::new) {
                    Ok(entrance) => {
                        let accept = accept::accept(Rc::clone(worker), Rc::clone(&entrance));
                        self.accepting.push(monoio::spawn(accept));
                        self.open.push(entrance);
                    }
                    // Out of descriptors: who comes waits in the queue, and the next look may do.
                    Err(_) => whole = false,
                }
            }
            passages.push(passage);
        }
        let now_ms = worker.clock.now_ms();
        let stays = |entrance: &Rc<Entrance>| gates.iter().any(|(_, bound)| entrance.is_of(bound));
        let (open, gone) = std::mem::take(&mut self.open).into_iter().partition(stays);
        self.open = open;
        self.closing.extend(gone.into_iter().map(|entrance: Rc<Entrance>| Closing {
            accepted: entrance.accepted.get(),
            until_ms: now_ms.saturating_add(LISTENER_LEAVES_MS),
            entrance,
        }));
        let idle_ms = HAND_OVER_IDLE_MS.min(worker.bounds().timeouts.drain_ms / 2);
        let stays = |passage: &Rc<Passage>| gates.iter().any(|(it, _)| it.number == passage.number);
        for passage in std::mem::replace(&mut self.passages, passages) {
            if !stays(&passage) {
                passage.stage.set(Stage::Leaving);
                self.left.push((passage, now_ms.saturating_add(idle_ms)));
            }
        }
        self.gates = whole.then(|| Arc::clone(gates));
    }

    fn leave(&mut self, worker: &Worker) {
        let now_ms = worker.clock.now_ms();
        self.closing.retain_mut(|closing| {
            let accepted = closing.entrance.accepted.get();
            let quiet = std::mem::replace(&mut closing.accepted, accepted) == accepted;
            // Somebody who came since the last look may not have been the last in the queue.
            let done = now_ms >= closing.until_ms && quiet;
            if done {
                closing.entrance.close();
            }
            !done
        });
        for (passage, over_ms) in &self.left {
            let idle = if now_ms >= *over_ms { Idle::All } else { Idle::Told };
            if idle == Idle::All {
                passage.stage.set(Stage::Over);
            }
            worker.deadlines.end_idle(idle, Some(passage.number));
        }
        // Each of its connections holds it, and so does a socket that is not closed yet.
        self.left.retain(|(passage, _)| Rc::strong_count(passage) > 1);
        self.accepting.retain(|accepting| !accepting.is_finished());
    }

    /// Stops accepting, because the process goes away; what ends once nobody comes any more.
    pub fn stop(&mut self, handed_over: bool) -> Vec<JoinHandle<()>> {
        for entrance in self.open.drain(..) {
            // Another process has these sockets, and whoever waits in their queues.
            if handed_over { entrance.listener.leave() } else { entrance.close() }
        }
        self.closing.drain(..).for_each(|closing| closing.entrance.close());
        std::mem::take(&mut self.accepting)
    }
}
