//! One connection of those who ask for changes: requests one after the other, each read whole
//! before it is answered, within bounds of size and time.

use super::Room;
use super::answers::{Answered, Reply, problem};
use super::door::{Caller, Door};
use super::requests::Request;
use super::watching::watch;
use super::way::{Timed, Way};
use crate::http1::body::{Decoder, Event};
use crate::http1::request::{self, RequestHead};
use crate::http1::write::{self, Persistence};
use crate::http1::{Cursor, Framing, HeadLimits, Parsed};
use crate::io::clock::{Clock, monotonic_ns};
use crate::wire::limits::{CONTROL_IDLE_MS, CONTROL_REQUEST_MS, DISCOVERY_ANSWER_BYTES_MAX};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 16 << 10,
    line_bytes_max: 8 << 10,
    target_bytes_max: 4 << 10,
    fields_max: 64,
};

/// Bytes that are read at once.
const PART_BYTES: usize = 16 << 10;

/// Answers one request after the other.
pub(super) fn talk(way: &mut dyn Way, door: &Door, room: &Room) {
    let mut line = Line { way, input: Vec::new(), whole: Vec::new() };
    // A connection that fails has nobody to be told.
    let _ = line.serve(door, room);
    line.way.end();
}

struct Line<'a> {
    way: &'a mut dyn Way,
    /// What was read and not used yet.
    input: Vec<u8>,
    /// The request as it came, where it may have to be said again.
    whole: Vec<u8>,
}

/// A request, and what is to become of it.
struct Asked {
    request: Request,
    /// Who asks, or what they are told instead of an answer.
    caller: Result<Caller, Reply>,
    /// Whether another request may follow.
    keep: bool,
}

/// Why a request was not read.
enum Unread {
    /// The connection has ended, or is of no use any more.
    Gone,
    /// It is refused, and the connection ends.
    Refused(Reply),
}

impl From<io::Error> for Unread {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

impl Line<'_> {
    fn serve(&mut self, door: &Door, room: &Room) -> io::Result<()> {
        loop {
            self.wait(CONTROL_IDLE_MS);
            let Asked { request, caller, keep } = match self.request(door) {
                Ok(asked) => asked,
                Err(Unread::Gone) => return Ok(()),
                Err(Unread::Refused(reply)) => return self.reply(&reply, false, false),
            };
            let caller = match caller {
                Ok(caller) => caller,
                Err(reply) => return self.reply(&reply, request.method == "HEAD", false),
            };
            let is_handed_over = || room.desk.readiness.is_handed_over();
            let moved = || {
                let what = "another process has taken over: ask again, on another connection";
                Answered::Whole(problem(503, "moved", what))
            };
            let answered = match is_handed_over() {
                true => moved(),
                false => door.answer(&request, &caller, room),
            };
            match answered {
                Answered::Whole(reply) => {
                    // It may have come to be so while this one waited for its place on record.
                    if reply.status == 503
                        && is_handed_over()
                        && let Some(address) = door.onward()
                        // The first may still come to this process, which takes nobody by then.
                        && let Some(answer) = self.onward(address).or_else(|| self.onward(address))
                    {
                        return self.say(&answer);
                    }
                    let keep = keep && !is_handed_over();
                    self.reply(&reply, request.method == "HEAD", keep)?;
                    if !keep {
                        return Ok(());
                    }
                }
                Answered::Watch(watching) => {
                    // Whoever is let no more is told nothing more.
                    let still = || {
                        !is_handed_over()
                            && door.caller(&request).is_ok_and(|now| now.may == caller.may)
                    };
                    return watch(self.way, watching, room, &still);
                }
            }
        }
    }

    fn wait(&mut self, ms: u64) {
        self.way.until(monotonic_ns().saturating_add(ms.saturating_mul(1_000_000)));
    }

    fn read(&mut self, door: &Door) -> Result<(), Unread> {
        let mut part = [0; PART_BYTES];
        let count = self.way.read(&mut part)?;
        if count == 0 {
            return Err(Unread::Gone);
        }
        let part = part.get(..count).unwrap_or_default();
        self.input.extend_from_slice(part);
        if door.onward().is_some() {
            self.whole.extend_from_slice(part);
        }
        Ok(())
    }

    /// One whole request; of one that nobody may send nothing is kept but its head.
    fn request(&mut self, door: &Door) -> Result<Asked, Unread> {
        let (mut cursor, mut head) = (Cursor::default(), RequestHead::default());
        let length = loop {
            match request::parse(&self.input, &LIMITS, &mut cursor, &mut head) {
                Parsed::Complete(length) => break length,
                Parsed::Malformed(fault) => {
                    return Err(Unread::Refused(problem(400, "malformed", fault.what())));
                }
                Parsed::Incomplete => {}
            }
            let begins = self.input.is_empty();
            self.read(door)?;
            if begins {
                self.wait(CONTROL_REQUEST_MS);
            }
        };
        let mut request = Request::of(&head, &self.input);
        let bytes_max = door.body_bytes_max();
        if matches!(head.framing, Framing::Length(length) if length > bytes_max as u64) {
            return Err(Unread::Refused(too_large(bytes_max)));
        }
        self.input.drain(..length);
        let caller = door.caller(&request);
        let keep = head.keep_alive && door.keeps();
        if head.expect_continue && self.input.is_empty() {
            if caller.is_err() {
                return Ok(Asked { request, caller, keep });
            }
            self.way.write_all(write::CONTINUE)?;
        }
        let mut bytes = 0;
        let mut decoder = Decoder::new(head.framing);
        loop {
            let step = decoder.next(&self.input);
            let (used, event) =
                step.map_err(|fault| Unread::Refused(problem(400, "malformed", fault.what())))?;
            match event {
                Event::Data(range) => {
                    let part = self.input.get(range).unwrap_or_default();
                    bytes += part.len();
                    if caller.is_ok() {
                        request.body.extend_from_slice(part);
                    }
                }
                Event::NeedMore => {}
                Event::End => {
                    self.input.drain(..used);
                    return Ok(Asked { request, caller, keep });
                }
            }
            self.input.drain(..used);
            if bytes > bytes_max {
                return Err(Unread::Refused(too_large(bytes_max)));
            }
            if self.input.is_empty() && !decoder.is_done() {
                self.read(door)?;
            }
        }
    }

    fn reply(&mut self, reply: &Reply, head_only: bool, keep: bool) -> io::Result<()> {
        let mut out = Vec::with_capacity(512 + reply.body.len());
        let date = Clock::new().date();
        let mut fields: Vec<(&[u8], &[u8])> = vec![
            (b"Date", &date),
            (b"Content-Type", reply.kind.as_bytes()),
            (b"Cache-Control", b"no-store"),
        ];
        let more = reply.fields.iter();
        fields.extend(more.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        let persistence = if keep { Persistence::Implied } else { Persistence::Close };
        let framing = Framing::Length(reply.body.len() as u64);
        write::own_head(&mut out, reply.status, framing, persistence, &fields);
        if !head_only {
            out.extend_from_slice(reply.body.as_bytes());
        }
        self.say(&out)
    }

    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.wait(CONTROL_REQUEST_MS);
        self.way.write_all(bytes)?;
        self.way.flush()
    }

    /// What the process says that has taken over, as it says it. A call that was let through here
    /// is answered there: what is answered is on record, and only there anything comes on record.
    fn onward(&self, address: SocketAddr) -> Option<Vec<u8>> {
        let within = Duration::from_millis(CONTROL_REQUEST_MS);
        let stream = TcpStream::connect_timeout(&address, within).ok()?;
        let mut there = Timed::new(stream);
        there.until(monotonic_ns().saturating_add(CONTROL_REQUEST_MS * 1_000_000));
        there.write_all(&self.whole).ok()?;
        // It ends the connection behind its answer, as this one would.
        let mut answer = Vec::new();
        there.take(DISCOVERY_ANSWER_BYTES_MAX).read_to_end(&mut answer).ok()?;
        let whole = !answer.is_empty() && answer.len() as u64 != DISCOVERY_ANSWER_BYTES_MAX;
        whole.then_some(answer)
    }
}

fn too_large(bytes_max: usize) -> Reply {
    problem(413, "too-large", &format!("a body has at most {bytes_max} bytes here"))
}
