//! A second attempt beside one that takes long: where the operator says after how long, the call
//! may be repeated, and nothing that bounds repeats is against it. Else the first is waited for.

use super::{Begun, Call, Opening, Unsettled, begin};
use crate::config::model::Protocol;
use crate::exchange::refusal::Reason;
use crate::exchange::view::Inbound;
use crate::proxy::bridge::Upstream;
use crate::proxy::http2_client;
use crate::proxy::pool::NoConnection;
use crate::proxy::worker::Worker;
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

/// Where an attempt stands, for whoever may have to give it up whatever it waits for.
#[derive(Default)]
pub struct Seat {
    begun: Cell<Option<Begun>>,
    call: OnceCell<Call>,
    taken: Cell<bool>,
}

impl Seat {
    /// Whether there is, or was, an attempt.
    pub fn is_taken(&self) -> bool {
        self.taken.get()
    }

    /// The call, once it has its connection.
    pub fn call(&self) -> Option<&Call> {
        self.call.get()
    }

    /// The same, for good.
    pub fn into_call(self) -> Option<Call> {
        self.call.into_inner()
    }

    /// Gives the attempt up, because the other is answered: its one outcome, and no fault of whom
    /// it went to.
    pub fn cancel(self) {
        let Self { begun, call, .. } = self;
        begun.into_inner().into_iter().for_each(|begun| begun.recorded.cancel());
        call.into_inner().into_iter().for_each(Call::cancel);
    }
}

impl Call {
    /// Milliseconds after which another attempt is to be made beside it.
    pub fn hedge_ms(&self) -> Option<u64> {
        self.aside.hedge_ms
    }

    /// As [`Seat::cancel`].
    pub fn cancel(self) {
        self.recorded.cancel();
    }
}

/// Decides on an attempt beside this one, and records it; `None` where none is made.
fn begins(
    worker: &Worker,
    opening: &mut Opening,
    view: &impl Inbound,
    first: &Call,
) -> Option<Begun> {
    if first.recorded.is_lost() {
        return None;
    }
    let (tried, taken) = opening.hedges(worker, view)?;
    opening.tried = tried;
    opening.taken.get_or_insert_default().add(taken);
    opening.hedged();
    match begin(worker, opening, view) {
        Ok(Unsettled(begun)) if !begun.recorded.is_lost() => Some(begun),
        // The first has what follows it on record, or nobody could say what does.
        Ok(_) | Err(_) => {
            opening.ends_here();
            None
        }
    }
}

/// Makes an attempt beside this one as far as its connection; `None` where that does not come
/// about. It is in its seat from its decision on.
pub async fn beside(
    worker: &Rc<Worker>,
    opening: &RefCell<&mut Opening>,
    view: &impl Inbound,
    first: &Call,
    seat: &Seat,
) -> Option<Upstream> {
    let begun = begins(worker, &mut opening.borrow_mut(), view, first)?;
    seat.taken.set(true);
    let position = begun.recorded.position();
    seat.begun.set(Some(begun));
    if let Some(durability) = &worker.durability
        && !durability.wait(worker, position).await
    {
        let reason = Reason::AuditUnavailable;
        seat.begun.take()?.recorded.refuse(reason.row().status, reason.number());
        return None;
    }
    let mut begun = seat.begun.take()?;
    let endpoint = begun.endpoint(worker, &opening.borrow())?;
    let (protocol, beyond) = (begun.protocol(), begun.is_beyond());
    seat.begun.set(Some(begun));
    let connected = match protocol {
        _ if beyond => Err(NoConnection::Full),
        Protocol::Http1 => match worker.pool.idle(&endpoint, worker.clock.now_ms()) {
            Some(connection) => Ok(connection),
            None => worker.pool.connect(worker, &endpoint, false).await,
        }
        .map(|connection| Upstream::Http1(Box::new(connection))),
        Protocol::Http2 => {
            // On its own: others may wait for the same connection, and this one be given up.
            let worker = Rc::clone(worker);
            let ticket = async move { http2_client::ticket(&worker, &endpoint).await };
            monoio::spawn(ticket).await.map(Upstream::Http2)
        }
    };
    let begun = seat.begun.take()?;
    match connected {
        Ok(upstream) => {
            let call = begun.into_call(worker, &mut opening.borrow_mut(), None);
            seat.call.get_or_init(|| call);
            Some(upstream)
        }
        Err(why) => {
            begun.counts(worker, &opening.borrow(), &why);
            None
        }
    }
}
