//! A call that takes long, with a second attempt beside it.
//!
//! ```text
//!   first ──request──▶ ……………………………………… head? ─┐ the first head that is an answer goes to the
//!            └ after `hedge` ▶ second ─ head? ─┘ caller, the other attempt is given up
//! ```
//! Only of requests all of which is here. Until it is known whose answer is relayed, interim ones
//! wait. An attempt that fails while the other runs is as if it had never been made; an answer of
//! 502, 503 or 504 is kept for the case that the other brings nothing better.

use super::{
    Answer, End, Interims, Received, Shared, Step, Upstream, aborted, answer_of, concluded,
    deliver, deliver_whole, interim_flood, receive_head, refused, relay_http1, send_http2,
};
use crate::exchange::refusal::{Reason, Refusal};
use crate::exchange::view::{Http1View, Inbound};
use crate::http1::Framing;
use crate::http1::request::{Method, RequestHead};
use crate::io::clock::sleep_ms;
use crate::io::deadline::Overdue;
use crate::proxy::accept::Downstream;
use crate::proxy::answering::Reply;
use crate::proxy::call::{self, Call, Discards, Opening, Seat, Towards};
use crate::proxy::counters::Hedged as Count;
use crate::proxy::headers;
use crate::proxy::http1_relay::RelayEnd;
use crate::proxy::http2_client::Ticket;
use crate::proxy::pieces::{Http2Sink, Tell};
use crate::proxy::pool::Connection;
use crate::proxy::tenure::Judge;
use crate::proxy::timed::{Elapsed, until};
use crate::proxy::worker::Worker;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

/// What is to be sent, once or twice.
pub struct Hedged<'a, V> {
    /// Whose it is.
    pub worker: &'a Rc<Worker>,
    /// The request as decisions see it.
    pub view: &'a V,
    /// All of its content.
    pub body: Bytes,
    /// Its method, target and final fields for one attempt.
    pub request: &'a dyn Fn(&Call) -> Result<Request<()>, Refusal>,
    /// The time by which all of it must have ended.
    pub until_ms: u64,
    /// Milliseconds after which a second attempt is made.
    pub after_ms: u64,
}

/// Which of both attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    First,
    Second,
}

/// What an attempt came to, the better the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// It was never made.
    Nothing,
    /// No answer.
    Failure,
    /// An answer of 502, 503 or 504: something on the way there failed.
    Poor,
    Answer,
}

/// Which attempt's end is the request's.
#[derive(Debug, Default)]
struct Race {
    first: Option<Worth>,
    second: Option<Worth>,
}

impl Race {
    fn runs(&self, which: Which) -> bool {
        match which {
            Which::First => self.first.is_none(),
            Which::Second => self.second.is_none(),
        }
    }

    /// One has ended so, and the other is, or is not, under way; whose end it is to be, once that
    /// is known: the better one's, and of two alike the last.
    fn ended(&mut self, which: Which, worth: Worth, other_runs: bool) -> Option<Which> {
        let (own, (other, its)) = match which {
            Which::First => (&mut self.first, (Which::Second, self.second)),
            Which::Second => (&mut self.second, (Which::First, self.first)),
        };
        *own = Some(worth);
        match its {
            _ if worth == Worth::Answer => Some(which),
            None if other_runs => None,
            Some(its) if its > worth => Some(other),
            _ => Some(which),
        }
    }
}

/// How an attempt went as far as its answer's head.
type Ended = Result<Headed, End>;

/// The head of a final answer, and what came before it.
struct Headed {
    interims: Vec<(StatusCode, HeaderMap)>,
    from: From,
}

enum From {
    Http1(Connection, Received),
    Http2(Box<Answer<'static>>, Http2Sink, Ticket),
}

impl Headed {
    fn status(&self) -> u16 {
        match &self.from {
            From::Http1(_, received) => received.status.as_u16(),
            From::Http2(answer, ..) => answer.status.as_u16(),
        }
    }

    /// Nobody gets it. A connection with nothing else on its way may serve another exchange.
    fn let_go(self, worker: &Worker) {
        match self.from {
            From::Http1(connection, received) => {
                if received.head.keep_alive && received.whole().is_some() {
                    let now_ms = worker.clock.now_ms();
                    worker.pool.put_back(connection, worker.buffers.take(), now_ms);
                }
            }
            From::Http2(_, mut sink, _) => sink.reset(h2::Reason::CANCEL),
        }
    }
}

fn worth(ended: &Ended) -> Worth {
    match ended {
        Ok(headed) if matches!(headed.status(), 502..=504) => Worth::Poor,
        Ok(_) => Worth::Answer,
        Err(_) => Worth::Failure,
    }
}

/// Runs one exchange; the call whose end it is, and how it ended. The other call has ended then.
pub async fn run<V: Inbound>(
    hedged: &Hedged<'_, V>,
    opening: &mut Opening,
    (call, upstream): (Call, Upstream),
    reply: &mut Reply<'_>,
) -> (Call, End) {
    let worker = hedged.worker;
    let (opening, seat) = (RefCell::new(opening), Seat::default());
    let raced = race(hedged, &opening, (&call, upstream, &seat), reply).await;
    let made = u64::from(seat.is_taken());
    let count = |what| worker.counters.hedges.add(what, made);
    let Some((which, first, second)) = raced else {
        count(Count::Neither);
        return (call, End::Broken);
    };
    match which {
        Which::First => {
            count(if matches!(first, Some(Ok(_))) { Count::Lost } else { Count::Neither });
            match second {
                None => seat.cancel(),
                Some(ended) => {
                    if let Some(other) = seat.into_call() {
                        lose(worker, other, ended);
                    }
                }
            }
            settle(hedged, &opening, (call, first), reply).await
        }
        Which::Second => {
            count(if matches!(second, Some(Ok(_))) { Count::Won } else { Count::Neither });
            let Some(other) = seat.into_call() else { return (call, End::Refuse(lost())) };
            match first {
                Some(ended) => lose(worker, call, ended),
                None => call.cancel(),
            }
            settle(hedged, &opening, (other, second), reply).await
        }
    }
}

fn lost() -> Refusal {
    Refusal::new(Reason::Internal, "an attempt was lost")
}

/// Runs both attempts as far as needed; `None` where the caller has left meanwhile. What still runs
/// then is dropped.
async fn race<V: Inbound>(
    hedged: &Hedged<'_, V>,
    opening: &RefCell<&mut Opening>,
    (call, upstream, seat): (&Call, Upstream, &Seat),
    reply: &mut Reply<'_>,
) -> Option<(Which, Option<Ended>, Option<Ended>)> {
    let mut one = Box::pin(attempt(hedged, opening, call, upstream));
    let mut two = Box::pin(async {
        sleep_ms(hedged.after_ms).await;
        let (timer, until_ms) = (hedged.worker.timer(), hedged.until_ms);
        let upstream = call::beside(hedged.worker, opening, hedged.view, call, seat);
        // The first may have failed meanwhile: its end waits no longer than the call may last.
        let upstream = until(&timer, until_ms, upstream).await.ok()??;
        Some(attempt(hedged, opening, seat.call()?, upstream).await)
    });
    let (mut race, mut first, mut second) = (Race::default(), None, None);
    let which = poll_fn(|cx| {
        if reply.poll_gone(cx).is_ready() {
            return Poll::Ready(None);
        }
        if race.runs(Which::First)
            && let Poll::Ready(ended) = one.as_mut().poll(cx)
        {
            let (worth, runs) = (worth(&ended), seat.is_taken() && race.runs(Which::Second));
            first = Some(ended);
            if let Some(which) = race.ended(Which::First, worth, runs) {
                return Poll::Ready(Some(which));
            }
        }
        if race.runs(Which::Second)
            && let Poll::Ready(ended) = two.as_mut().poll(cx)
        {
            let worth = ended.as_ref().map_or(Worth::Nothing, worth);
            second = ended;
            let runs = race.runs(Which::First);
            if let Some(which) = race.ended(Which::Second, worth, runs) {
                return Poll::Ready(Some(which));
            }
        }
        Poll::Pending
    });
    Some((which.await?, first, second))
}

/// Ends a call that failed, or was answered poorly, while the other's end is the request's.
fn lose(worker: &Worker, call: Call, ended: Ended) {
    match ended {
        Ok(headed) => {
            let status = headed.status();
            headed.let_go(worker);
            call.discard(status);
        }
        Err(End::Refuse(refusal)) => call.fail(&refusal),
        Err(_) => call.finish(0),
    }
}

/// Goes on with the attempt whose end is the request's.
async fn settle<V: Inbound>(
    hedged: &Hedged<'_, V>,
    opening: &RefCell<&mut Opening>,
    (own, ended): (Call, Option<Ended>),
    reply: &mut Reply<'_>,
) -> (Call, End) {
    let Hedged { worker, view, .. } = hedged;
    let end = match ended {
        Some(Ok(headed)) => {
            let judge = || call::judge(worker, &opening.borrow(), *view, own.service());
            let discards = |status| call::discards(worker, &opening.borrow(), *view, status);
            let shared = shared(hedged, &own, &judge, &discards);
            relay(&shared, headed, reply).await
        }
        // It would follow a decision that nothing may follow.
        Some(Err(End::Again)) if !opening.borrow().may_follow() => End::Refuse(aborted()),
        Some(Err(end)) => end,
        None => End::Refuse(lost()),
    };
    (own, end)
}

fn shared<'s, V: Inbound>(
    hedged: &'s Hedged<'_, V>,
    call: &'s Call,
    judge: Judge<'s>,
    discards: Discards<'s>,
) -> Shared<'s> {
    Shared {
        worker: hedged.worker,
        call,
        uploaded: Cell::new(true),
        answered: Cell::new(false),
        receiving: Cell::new(false),
        heard: Cell::new(false),
        fault: Cell::new(None),
        method: Method::of(hedged.view.method().as_bytes()),
        grpc: false,
        until_ms: hedged.until_ms,
        judge,
        discards,
        replying: Cell::new(false),
    }
}

/// Makes one attempt as far as its answer's head; one that a later landscape does not admit fails.
async fn attempt<V: Inbound>(
    hedged: &Hedged<'_, V>,
    opening: &RefCell<&mut Opening>,
    own: &Call,
    upstream: Upstream,
) -> Ended {
    let request = (hedged.request)(own).map_err(End::Refuse)?;
    let judge = || call::judge(hedged.worker, &opening.borrow(), hedged.view, own.service());
    let shared = shared(hedged, own, &judge, &|_| false);
    let mut work: Pin<Box<dyn Future<Output = Ended>>> = match upstream {
        Upstream::Http1(connection) => {
            Box::pin(head_http1(&shared, *connection, request, &hedged.body))
        }
        Upstream::Http2(ticket) => Box::pin(head_http2(&shared, ticket, request, &hedged.body)),
    };
    poll_fn(|cx| {
        if let Poll::Ready(refusal) = shared.poll_withdrawn(cx) {
            return Poll::Ready(Err(End::Refuse(refusal)));
        }
        work.as_mut().poll(cx)
    })
    .await
}

/// Dropped early it ends the connection: what is being received is called off then.
async fn head_http1(
    shared: &Shared<'_>,
    connection: Connection,
    request: Request<()>,
    body: &Bytes,
) -> Ended {
    let mut whole = headers::http1_request_head(&request, false);
    whole.extend_from_slice(body);
    connection.watch.arm(shared.response_deadline(), Overdue::StopBoth);
    let ended = |refusal: Refusal| {
        // As without a second attempt: a connection that was stale has nothing to say of it.
        let stale = connection.reused && !shared.heard.get() && shared.call.may_repeat();
        let stale = stale && refusal.reason == Reason::UpstreamAborted;
        if stale { End::Again } else { End::Refuse(refusal) }
    };
    let (sent, _) = connection.stream.write(whole, 0).await;
    if sent.is_err() {
        return Err(ended(aborted()));
    }
    shared.call.tell_content(Towards::Service, body);
    let mut interims = Interims::Keep(Vec::new());
    let received = receive_head(shared, &connection, &mut interims).await.map_err(ended)?;
    let interims = match interims {
        Interims::Keep(kept) => kept,
        Interims::Pass(_) => Vec::new(),
    };
    Ok(Headed { interims, from: From::Http1(connection, received) })
}

async fn head_http2(
    shared: &Shared<'_>,
    mut ticket: Ticket,
    request: Request<()>,
    body: &Bytes,
) -> Ended {
    let worker = shared.worker;
    let (timer, empty) = (worker.timer(), body.is_empty());
    let sent = send_http2(shared, &mut ticket, request, &timer, empty).await?;
    let (mut response, stream) = sent;
    let mut sink = Http2Sink::new(stream, worker.timer(), Rc::clone(&ticket.frames));
    let mut interims = Vec::new();
    let head = {
        let mut sending = pin!(async {
            if !empty {
                let tell = Tell { call: shared.call, towards: Towards::Service };
                // Who does not take all of it may have answered all the same.
                let until_ms = shared.response_deadline();
                let _ = sink.data(body.clone(), true, until_ms, Some(tell)).await;
            }
        });
        let mut sent = false;
        loop {
            let step = poll_fn(|cx| {
                if !sent && sending.as_mut().poll(cx).is_ready() {
                    sent = true;
                    return Poll::Ready(Step::Uploaded);
                }
                if let Poll::Ready(Some(Ok(head))) = response.poll_informational(cx) {
                    return Poll::Ready(Step::Interim(head));
                }
                Pin::new(&mut response).poll(cx).map(Step::Final)
            });
            match until(&timer, shared.response_deadline(), step).await {
                Err(Elapsed) => return Err(End::Refuse(shared.timeout())),
                // The time for the answer begins with the request's end.
                Ok(Step::Uploaded | Step::CallerGone) => {}
                Ok(Step::Interim(head)) => {
                    interims.push((head.status(), head.into_parts().0.headers));
                    if interims.len() > worker.bounds().limits.interim_responses_max as usize {
                        return Err(End::Refuse(interim_flood()));
                    }
                }
                Ok(Step::Final(Ok(head))) => break head,
                Ok(Step::Final(Err(error))) => return Err(refused(&error, true, shared)),
            }
        }
    };
    let answer = Box::new(answer_of(shared, head)?);
    Ok(Headed { interims, from: From::Http2(answer, sink, ticket) })
}

/// Relays the answer whose head is here.
async fn relay(shared: &Shared<'_>, headed: Headed, reply: &mut Reply<'_>) -> End {
    for (status, fields) in headed.interims {
        reply.interim(shared, status, &fields).await;
    }
    match headed.from {
        From::Http1(connection, received) => {
            reply.keep(Some(connection.endpoint().kept()));
            if let Some(body) = received.whole() {
                return deliver_whole(shared, connection, (received, body), reply).await;
            }
            let (end, reusable) = relay_http1(shared, &connection, received, reply).await;
            if matches!(end, End::Done(..)) && reusable {
                let buffer = shared.worker.buffers.take();
                shared.worker.pool.put_back(connection, buffer, shared.now());
            } else if !matches!(end, End::Done(..)) {
                connection.stream.reset_on_close();
            }
            end
        }
        From::Http2(mut answer, mut sink, _ticket) => {
            let end = deliver(shared, &mut answer, reply).await;
            if !matches!(end, End::Done(..)) {
                sink.reset(h2::Reason::CANCEL);
            }
            end
        }
    }
}

/// The content of a request all of which is here.
fn content<'i>(head: &RequestHead, input: &'i [u8]) -> Option<&'i [u8]> {
    let length = match head.framing {
        Framing::None => 0,
        Framing::Length(length) => usize::try_from(length).ok()?,
        Framing::Chunked | Framing::Close => return None,
    };
    input.get(head.len..)?.get(..length)
}

/// Whether a call of an HTTP/1.1 caller is to get a second attempt beside it.
pub fn is_for(call: &Call, head: &RequestHead, input: &[u8]) -> bool {
    call.hedge_ms().is_some() && content(head, input).is_some()
}

/// One exchange of an HTTP/1.1 caller.
pub async fn from_http1(
    worker: &Rc<Worker>,
    downstream: &Downstream,
    head: &RequestHead,
    input: Vec<u8>,
    (mut call, ticket): (Call, Option<Ticket>),
    opening: &mut Opening,
    keep: bool,
) -> RelayEnd {
    let connection = call.take_connection().map(Box::new);
    let upstream = ticket.map(Upstream::Http2).or(connection.map(Upstream::Http1));
    let (Some(upstream), Some(body)) = (upstream, content(head, &input)) else {
        call.refuse(&lost());
        return RelayEnd::Refused { refusal: lost(), input, body_taken: false };
    };
    let (view, end) = (Http1View::new(head, &input), head.len.saturating_add(body.len()));
    let hedged = Hedged {
        worker,
        view: &view,
        body: Bytes::copy_from_slice(body),
        request: &|own| headers::http2_request(head, &input, own),
        until_ms: call.until_ms(worker),
        after_ms: call.hedge_ms().unwrap_or(u64::MAX),
    };
    let mut reply = Reply::Http1(downstream, head, keep);
    let ended = run(&hedged, opening, (call, upstream), &mut reply).await;
    let rest = input.get(end..).unwrap_or_default().to_vec();
    concluded(ended, (input, rest), true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Which::{First, Second};
    use Worth::{Answer, Failure, Nothing, Poor};

    /// Whose end it is when both end so, one behind the other.
    fn both(before: (Which, Worth), after: (Which, Worth)) -> Option<Which> {
        let mut race = Race::default();
        let early = race.ended(before.0, before.1, true);
        early.or_else(|| race.ended(after.0, after.1, false))
    }

    #[test]
    fn the_first_answer_wins_and_nobody_waits_for_the_other() {
        for which in [First, Second] {
            let mut race = Race::default();
            assert_eq!(race.ended(which, Answer, true), Some(which));
        }
    }

    #[test]
    fn who_fails_is_forgotten_while_the_other_runs() {
        for (which, other) in [(First, Second), (Second, First)] {
            for worth in [Failure, Poor] {
                let mut race = Race::default();
                assert_eq!(race.ended(which, worth, true), None);
                assert!(!race.runs(which) && race.runs(other));
                assert_eq!(race.ended(other, Answer, false), Some(other));
            }
        }
    }

    #[test]
    fn of_two_that_fail_the_better_is_heard_and_of_two_alike_the_last() {
        for (which, other) in [(First, Second), (Second, First)] {
            assert_eq!(both((which, Poor), (other, Failure)), Some(which));
            assert_eq!(both((which, Failure), (other, Poor)), Some(other));
            for worth in [Failure, Poor] {
                assert_eq!(both((which, worth), (other, worth)), Some(other));
            }
        }
    }

    #[test]
    fn a_second_attempt_that_is_not_made_leaves_the_first_its_end() {
        for worth in [Failure, Poor, Answer] {
            assert_eq!(both((First, worth), (Second, Nothing)), Some(First));
            assert_eq!(both((Second, Nothing), (First, worth)), Some(First));
            // Nor is one waited for that was not begun.
            assert_eq!(Race::default().ended(First, worth, false), Some(First));
        }
    }
}
