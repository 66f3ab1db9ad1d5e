//! One connection of the control socket: requests one after the other, each read whole before it is
//! answered, within bounds of size and time.

use super::Room;
use super::answers::{Answered, Reply, problem};
use super::operations::dispatch;
use super::requests::Request;
use super::watching::watch;
use crate::admin::desk::Who;
use crate::http1::body::{Decoder, Event};
use crate::http1::request::{self, RequestHead};
use crate::http1::write::{self, Persistence};
use crate::http1::{Cursor, Framing, HeadLimits, Parsed};
use crate::io::clock::{Clock, monotonic_ns};
use crate::io::local::UnixStream;
use crate::wire::limits::{CONTROL_IDLE_MS, CONTROL_REQUEST_MS, REGISTERED_BYTES_MAX};
use std::io::{self, Read, Write};
use std::time::Duration;

const LIMITS: HeadLimits = HeadLimits {
    head_bytes_max: 16 << 10,
    line_bytes_max: 8 << 10,
    target_bytes_max: 4 << 10,
    fields_max: 64,
};

/// Bytes that are read at once.
const PART_BYTES: usize = 16 << 10;

/// Answers one request after the other; the first with `refused`, where that is given, and then no
/// more.
pub(super) fn talk(stream: UnixStream, who: Option<Who>, refused: Option<Reply>, room: &Room) {
    let mut line = Line { stream, input: Vec::new(), until_ns: 0 };
    // A connection that fails has nobody to be told.
    let _ = line.serve(who, refused, room);
}

struct Line {
    stream: UnixStream,
    /// What was read and not used yet.
    input: Vec<u8>,
    /// Until when what is waited for must be there.
    until_ns: u64,
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

impl Line {
    fn serve(
        &mut self,
        who: Option<Who>,
        mut refused: Option<Reply>,
        room: &Room,
    ) -> io::Result<()> {
        self.stream.set_write_timeout(Some(Duration::from_millis(CONTROL_REQUEST_MS)))?;
        loop {
            self.wait(CONTROL_IDLE_MS);
            let (request, keep) = match self.request() {
                Ok(read) => read,
                Err(Unread::Gone) => return Ok(()),
                Err(Unread::Refused(reply)) => return self.reply(&reply, false, false),
            };
            if let Some(reply) = refused.take() {
                return self.reply(&reply, false, false);
            }
            let Some(who) = &who else { return Ok(()) };
            match dispatch(&request, who, room) {
                Answered::Whole(reply) => {
                    self.reply(&reply, request.method == "HEAD", keep)?;
                    if !keep {
                        return Ok(());
                    }
                }
                Answered::Watch(watching) => return watch(&mut self.stream, watching, room),
            }
        }
    }

    fn wait(&mut self, ms: u64) {
        self.until_ns = monotonic_ns().saturating_add(ms.saturating_mul(1_000_000));
    }

    fn read(&mut self) -> Result<(), Unread> {
        let left = self.until_ns.saturating_sub(monotonic_ns());
        if left == 0 {
            return Err(Unread::Gone);
        }
        self.stream.set_read_timeout(Some(Duration::from_nanos(left)))?;
        let mut part = [0; PART_BYTES];
        let count = self.stream.read(&mut part)?;
        if count == 0 {
            return Err(Unread::Gone);
        }
        self.input.extend_from_slice(part.get(..count).unwrap_or_default());
        Ok(())
    }

    /// One whole request, and whether another may follow.
    fn request(&mut self) -> Result<(Request, bool), Unread> {
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
            self.read()?;
            if begins {
                self.wait(CONTROL_REQUEST_MS);
            }
        };
        let mut request = Request::of(&head, &self.input);
        if matches!(head.framing, Framing::Length(length) if length > REGISTERED_BYTES_MAX as u64) {
            return Err(Unread::Refused(too_large()));
        }
        self.input.drain(..length);
        if head.expect_continue && self.input.is_empty() {
            self.stream.write_all(write::CONTINUE)?;
        }
        let mut decoder = Decoder::new(head.framing);
        loop {
            let step = decoder.next(&self.input);
            let (used, event) =
                step.map_err(|fault| Unread::Refused(problem(400, "malformed", fault.what())))?;
            match event {
                Event::Data(range) => {
                    request.body.extend_from_slice(self.input.get(range).unwrap_or_default());
                }
                Event::NeedMore => {}
                Event::End => {
                    self.input.drain(..used);
                    return Ok((request, head.keep_alive));
                }
            }
            self.input.drain(..used);
            if request.body.len() > REGISTERED_BYTES_MAX {
                return Err(Unread::Refused(too_large()));
            }
            if self.input.is_empty() && !decoder.is_done() {
                self.read()?;
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
        self.stream.write_all(&out)
    }
}

fn too_large() -> Reply {
    problem(413, "too-large", &format!("a document has at most {REGISTERED_BYTES_MAX} bytes"))
}
