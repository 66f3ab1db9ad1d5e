//! One call to a governance hook.
//!
//! Connections to services are opened for certified and recorded decisions alone. A hook is asked
//! before there is a decision, so its connections come from a pool of their own, and a [`HookCall`]
//! is all that goes over them: it is made from a [`Question`], which is made from a hook and a
//! request by `governance`, and it ends with that question's answer. It cannot carry a request to a
//! service.

use super::http2_client::{self, Ticket};
use super::pool::{Connection, Endpoint, HEAD_ROOM, Pool};
use super::unary::{self, Called, NoAnswer, nonsense};
use super::worker::Worker;
use crate::config::hook::Hook;
use crate::governance::question::Question;
use crate::http1::body::{Decoder, Event};
use crate::http1::request::Method;
use crate::http1::response::{self, ResponseHead};
use crate::http1::{Cursor, Parsed};
use crate::io::clock::within_ms;
use crate::io::deadline::Overdue;
use crate::wire::limits::HOOK_ANSWER_BYTES_MAX;
use bytes::Bytes;
use h2::client::ResponseFuture;
use std::future::poll_fn;
use std::rc::Rc;

/// A question on its way to a hook.
pub struct HookCall<'a> {
    /// Who is asked.
    pub hook: &'a Hook,
    question: Question,
}

/// A whole answer over HTTP.
pub struct HttpAnswer {
    /// Its status.
    pub status: u16,
    /// Its fields as received.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl<'a> HookCall<'a> {
    /// A call that carries this question.
    pub fn new(hook: &'a Hook, question: Question) -> Self {
        Self { hook, question }
    }

    /// Asks over gRPC: the body of the answer, which holds one message if the hook is sensible.
    ///
    /// # Errors
    /// Silence, an error or nonsense.
    pub async fn grpc(
        self,
        worker: &Rc<Worker>,
        endpoint: &Rc<Endpoint>,
    ) -> Result<Bytes, NoAnswer> {
        let (limit, begun_ms) = (self.hook.timeout_ms, worker.clock.now_ms());
        let mut taken = None;
        let sent = within_ms(limit, self.unary(worker, endpoint, &mut taken)).await;
        let answered = match sent.unwrap_or(Err(NoAnswer::Silent)) {
            Ok(response) => {
                let past = worker.clock.now_ms().saturating_sub(begun_ms);
                let left = limit.saturating_sub(past).max(1);
                within_ms(left, unary::receive(response)).await.unwrap_or(Err(NoAnswer::Silent))
            }
            Err(why) => Err(why),
        };
        if let (Err(NoAnswer::Gone | NoAnswer::Silent), Some(ticket)) = (&answered, &taken) {
            // It may be dead without a word, or take no question: the next goes by another
            // connection.
            ticket.retire();
        }
        answered
    }

    /// Sends the question over a connection, which is left in `taken`.
    async fn unary(
        self,
        worker: &Rc<Worker>,
        endpoint: &Rc<Endpoint>,
        taken: &mut Option<Ticket>,
    ) -> Result<ResponseFuture, NoAnswer> {
        let (authority, timeout_ms) = (self.authority(endpoint), self.hook.timeout_ms);
        let secure = endpoint.is_secure();
        let request = unary::head(Called { authority: &authority, secure, timeout_ms })?;
        let mut refused = false;
        loop {
            let ticket = http2_client::ticket(worker, endpoint).await;
            let ticket = taken.insert(ticket.map_err(|_| NoAnswer::Gone)?);
            let sender = &mut ticket.sender;
            let ready = poll_fn(|cx| sender.poll_ready(cx)).await;
            let sent = ready.and_then(|()| ticket.sender.send_request(request.clone(), false));
            match sent {
                Ok((response, mut stream)) => {
                    let question = Bytes::from(self.question.into_bytes());
                    unary::send_all(&mut stream, question).await?;
                    return Ok(response);
                }
                // It is going away, and has not begun with this: one more connection is tried.
                Err(_) if !refused => {
                    refused = true;
                    ticket.retire();
                }
                Err(_) => return Err(NoAnswer::Gone),
            }
        }
    }

    fn authority(&self, endpoint: &Endpoint) -> String {
        self.hook.authority.clone().unwrap_or_else(|| endpoint.address.to_string())
    }

    /// Asks over HTTP/1.1.
    ///
    /// # Errors
    /// Silence, an error or nonsense.
    pub async fn http(
        self,
        worker: &Rc<Worker>,
        pool: &Pool,
        endpoint: &Rc<Endpoint>,
    ) -> Result<HttpAnswer, NoAnswer> {
        let until_ms = worker.clock.now_ms().saturating_add(self.hook.timeout_ms);
        let word = self.question.bytes().split(|byte| *byte == b' ').next();
        let method = Method::of(word.unwrap_or_default());
        let bytes = self.question.into_bytes();
        let idle = pool.idle(endpoint, worker.clock.now_ms());
        if let Some(idle) = idle {
            match exchange(worker, pool, idle, bytes.clone(), method, until_ms).await {
                // The hook closed it while the question was on its way: a question may be repeated.
                Err(NoAnswer::Gone) => {}
                answered => return answered,
            }
        }
        let left = until_ms.saturating_sub(worker.clock.now_ms());
        let connecting = within_ms(left, pool.connect(worker, endpoint, true)).await;
        let connection = connecting.ok_or(NoAnswer::Silent)?.map_err(|_| NoAnswer::Gone)?;
        exchange(worker, pool, connection, bytes, method, until_ms).await
    }
}

/// One question and its answer on a connection, which is put back if it may be used again.
async fn exchange(
    worker: &Rc<Worker>,
    pool: &Pool,
    connection: Connection,
    question: Vec<u8>,
    method: Method,
    until_ms: u64,
) -> Result<HttpAnswer, NoAnswer> {
    // What is in flight on the ring is ended by a shutdown, not dropped.
    let left = until_ms.saturating_sub(worker.clock.now_ms());
    let stream = Rc::clone(&connection.stream);
    let done = Rc::new(std::cell::Cell::new(false));
    let over = Rc::clone(&done);
    monoio::spawn(async move {
        crate::io::clock::sleep_ms(left.max(1)).await;
        if !over.get() {
            stream.abort();
        }
    });
    connection.watch.arm(until_ms, Overdue::StopBoth);
    let answered = answer(worker, &connection, question, method).await;
    connection.watch.disarm();
    done.set(true);
    let late = worker.clock.now_ms() >= until_ms;
    match answered {
        Ok((answer, true)) => {
            pool.put_back(connection, worker.buffers.take(), worker.clock.now_ms());
            Ok(answer)
        }
        Ok((answer, false)) => Ok(answer),
        Err(_) if late => Err(NoAnswer::Silent),
        Err(why) => Err(why),
    }
}

/// Sends and receives; and whether the connection may be used again.
async fn answer(
    worker: &Worker,
    connection: &Connection,
    question: Vec<u8>,
    method: Method,
) -> Result<(HttpAnswer, bool), NoAnswer> {
    let (sent, _) = connection.stream.write(question, 0).await;
    sent.map_err(|_| NoAnswer::Gone)?;
    let (first, mut buffer) = connection.receive_first(&worker.buffers).await;
    if !matches!(first, Ok(1..)) {
        return Err(NoAnswer::Gone);
    }
    buffer.drain(..HEAD_ROOM);
    let mut head = ResponseHead::default();
    let mut cursor = Cursor::default();
    loop {
        match response::parse(&buffer, method, &worker.bounds().head, &mut cursor, &mut head) {
            Parsed::Malformed(fault) => return nonsense(fault.what()),
            Parsed::Complete(length) if head.is_interim() => {
                buffer.drain(..length);
                cursor = Cursor::default();
                if !buffer.is_empty() {
                    continue;
                }
            }
            Parsed::Complete(_) => break,
            Parsed::Incomplete => {}
        }
        let (back, ended) = more(connection, buffer).await?;
        if ended {
            return nonsense(BROKEN_OFF);
        }
        buffer = back;
    }
    let fields = head.fields.iter().filter(|field| !field.nominated);
    let fields = fields
        .map(|field| (field.name.of(&buffer).to_vec(), field.value.of(&buffer).to_vec()))
        .collect();
    let (status, reusable) = (head.status, head.keep_alive);
    let mut decoder = Decoder::new(head.framing);
    let (mut at, mut body) = (head.len, Vec::new());
    loop {
        let waiting = buffer.get(at..).unwrap_or_default();
        let (used, event) =
            decoder.next(waiting).map_err(|fault| NoAnswer::Nonsense(fault.what().to_owned()))?;
        match event {
            Event::Data(range) => {
                body.extend_from_slice(waiting.get(range).unwrap_or_default());
                at += used;
                if body.len() > HOOK_ANSWER_BYTES_MAX {
                    return nonsense("its answer is too large");
                }
            }
            Event::End => {
                at += used;
                break;
            }
            Event::NeedMore => {
                buffer.clear();
                at = 0;
                let (back, ended) = more(connection, buffer).await?;
                buffer = back;
                if ended && decoder.close().is_ok() {
                    break;
                }
                if ended {
                    return nonsense(BROKEN_OFF);
                }
            }
        }
    }
    // Bytes behind the answer answer nothing that was asked.
    let reusable = reusable && buffer.len() == at;
    worker.buffers.put(buffer);
    Ok((HttpAnswer { status, fields, body }, reusable))
}

/// Receives more; whether the hook ended the connection instead.
async fn more(connection: &Connection, mut buffer: Vec<u8>) -> Result<(Vec<u8>, bool), NoAnswer> {
    if buffer.len() > 2 * HOOK_ANSWER_BYTES_MAX {
        return nonsense("its answer is too large");
    }
    buffer.reserve(crate::io::buffers::HEAD_BYTES);
    let (result, buffer) = connection.stream.read(buffer).await;
    match result {
        Ok(1..) => Ok((buffer, false)),
        Ok(0) => Ok((buffer, true)),
        Err(_) => nonsense(BROKEN_OFF),
    }
}

/// Said of a hook that began to answer. It was there and is not asked again, as one may be that had
/// closed its connection before.
const BROKEN_OFF: &str = "its answer breaks off";
