//! The frame meter: one pass over the bytes a peer sends, one count of frames that do nothing.
//!
//! ```text
//!           24 bytes     9 bytes         ┌─ Small: the few bytes a judgement needs
//!  Preface ──────────▶ Head ────────────▶┼─ Front ─▶ Fragment: padding and priority, then
//!  (downstream only)     ▲               │           the header block, which Fields follows
//!                        └──── Skip ◀────┴─ everything else is skipped in bulk
//! ```
//! # The count
//! Each useless frame adds one. Time takes [`MeterLimits::useless_refill_per_second`] off, so a
//! client that pings every few seconds is never far from zero, and useful work takes one off each:
//! an exchange that ended well, a DATA frame that we sent, four KiB of body received. Above
//! [`MeterLimits::useless_frames_max`] the connection is told to calm down. Credit is never saved
//! up: the count does not go below zero.

use super::abuse::{Abuse, AbuseKind, Glitch};
use super::fields::{Fields, HpackFault, Seen};
use super::frame::{FrameHead, HEAD_BYTES, PREFACE, flag, kind};
use super::streams::OpenStreams;
use crate::wire::limits as limit;

/// Whose bytes a meter reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A caller's, who opens streams and begins with the preface.
    Downstream,
    /// A called service's, who answers on streams that we opened.
    Upstream,
}

/// The bounds a meter holds a peer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeterLimits {
    /// Useless frames, net of what refills, before the connection ends.
    pub useless_frames_max: u32,
    /// Useless frames forgiven per second.
    pub useless_refill_per_second: u32,
    /// CONTINUATION frames in one header block.
    pub continuations_max: u32,
    /// Compressed bytes in one header block.
    pub header_block_bytes_max: u32,
    /// The SETTINGS_HEADER_TABLE_SIZE that we announced.
    pub header_table_bytes: u32,
    /// Exchanges begun and not reported as ended before each further one counts as useless.
    pub streams_in_flight_max: u64,
}

impl Default for MeterLimits {
    fn default() -> Self {
        Self {
            useless_frames_max: limit::H2_USELESS_FRAMES_MAX,
            useless_refill_per_second: limit::H2_USELESS_REFILL_PER_SECOND,
            continuations_max: limit::H2_CONTINUATIONS_MAX,
            header_block_bytes_max: limit::H2_HEADER_BLOCK_BYTES_MAX,
            header_table_bytes: limit::H2_HEADER_TABLE_BYTES,
            streams_in_flight_max: limit::H2_STREAMS_IN_FLIGHT_MAX,
        }
    }
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Preface,
    Head,
    /// The bytes a judgement needs, then the rest of the frame.
    Small,
    /// Padding length and priority in front of a header block.
    Front,
    Fragment,
    Skip,
}

/// A header block that is not complete.
#[derive(Clone, Copy, Debug)]
struct Block {
    stream: u32,
    end_stream: bool,
    trailers: bool,
    continuations: u32,
    bytes: u32,
}

/// Reads everything one peer sends on one connection; see the module.
#[derive(Debug)]
pub struct Meter {
    limits: MeterLimits,
    role: Role,
    /// Useless frames in thousandths, so that refilling per millisecond loses nothing.
    level: u64,
    now_ms: u64,
    /// Body bytes that have not earned anything yet.
    earned_bytes: u32,
    phase: Phase,
    /// Bytes of this phase still to come.
    left: u32,
    /// Bytes to skip after it.
    then_skip: u32,
    scratch: [u8; HEAD_BYTES],
    scratch_used: usize,
    head: FrameHead,
    block: Option<Block>,
    /// The fragments of a block that did not arrive in one piece.
    fragments: Vec<u8>,
    fields: Fields,
    open: OpenStreams,
    /// The highest stream this peer began.
    highest: u32,
    begun: u64,
    ended: u64,
    settings_seen: bool,
    goaway_seen: bool,
    over: Option<AbuseKind>,
}

impl Meter {
    /// A meter for a new connection.
    pub fn new(limits: MeterLimits, role: Role) -> Self {
        let (phase, left) = match role {
            Role::Downstream => (Phase::Preface, PREFACE.len() as u32),
            Role::Upstream => (Phase::Head, HEAD_BYTES as u32),
        };
        Self {
            limits,
            role,
            level: 0,
            now_ms: 0,
            earned_bytes: 0,
            phase,
            left,
            then_skip: 0,
            scratch: [0; HEAD_BYTES],
            scratch_used: 0,
            head: FrameHead::default(),
            block: None,
            fragments: Vec::new(),
            fields: Fields::new(limits.header_table_bytes),
            open: OpenStreams::default(),
            highest: 0,
            begun: 0,
            ended: 0,
            settings_seen: false,
            goaway_seen: false,
            over: None,
        }
    }

    /// Reads the next bytes, in any split, before they are passed on. `now_ms` is any clock that
    /// does not go back. After an abuse every further call reports it again with nothing safe.
    pub fn feed(&mut self, bytes: &[u8], now_ms: u64) -> Result<(), Abuse> {
        if let Some(kind) = self.over {
            return Err(Abuse { kind, safe: 0 });
        }
        self.refill(now_ms);
        let mut safe = 0;
        self.read(bytes, &mut safe).map_err(|kind| {
            self.over = Some(kind);
            Abuse { kind, safe }
        })
    }

    /// One exchange on this connection ended with a complete response: forgives one frame. Every
    /// exchange is reported once, here or in one of the two below.
    pub fn exchange_completed(&mut self) {
        self.ended += 1;
        self.forgive(1);
    }

    /// One exchange on this connection ended in another way.
    pub fn exchange_aborted(&mut self) {
        self.ended += 1;
    }

    /// One exchange ended because `h2` reset its stream for a fault of the peer that only `h2` can
    /// see, such as content that contradicts its `content-length` (`h2::Error::is_library`). This
    /// replaces [`Self::exchange_aborted`], and counts as a useless frame.
    pub fn exchange_provoked_reset(&mut self) -> Result<(), Abuse> {
        self.ended += 1;
        let found = match self.over {
            Some(kind) => Err(kind),
            None => self.useless(Glitch::StreamError),
        };
        found.map_err(|kind| {
            self.over = Some(kind);
            Abuse { kind, safe: 0 }
        })
    }

    /// We sent `frames` DATA frames with content, or began so many exchanges towards a service:
    /// a peer may answer each with a WINDOW_UPDATE or a PING, so each forgives one frame.
    pub fn sent(&mut self, frames: u32) {
        self.forgive(frames);
    }

    /// Whether a header block has begun and is not complete.
    pub fn is_inside_block(&self) -> bool {
        self.block.is_some()
    }

    /// The highest stream that this peer began, for a GOAWAY.
    pub fn last_stream_id(&self) -> u32 {
        self.highest
    }

    /// Messages that this peer began.
    pub fn begun(&self) -> u64 {
        self.begun
    }

    /// Useless frames that are not forgiven yet.
    pub fn useless_frames(&self) -> u64 {
        self.level.div_ceil(1000)
    }

    /// The shadow of the peer's field compression.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    fn read(&mut self, mut rest: &[u8], safe: &mut usize) -> Result<(), AbuseKind> {
        let whole = rest.len();
        while !rest.is_empty() {
            if self.phase == Phase::Head && self.scratch_used == 0 {
                *safe = whole - rest.len();
                // The fast way: nearly every head arrives in one piece.
                if let Some((head, later)) = rest.split_first_chunk::<HEAD_BYTES>() {
                    rest = later;
                    self.head = FrameHead::parse(*head);
                    self.frame()?;
                    self.settle()?;
                    continue;
                }
            }
            let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
            let Some((now, later)) = rest.split_at_checked(wanted) else { break };
            rest = later;
            self.left -= u32::try_from(now.len()).unwrap_or(self.left);
            match self.phase {
                Phase::Skip => {}
                Phase::Preface => self.preface(now)?,
                Phase::Head | Phase::Small | Phase::Front => self.collect(now),
                Phase::Fragment => self.fragment(now)?,
            }
            self.settle()?;
        }
        Ok(())
    }

    /// A phase of no bytes is over at once, and several can follow each other.
    fn settle(&mut self) -> Result<(), AbuseKind> {
        while self.left == 0 {
            if self.next_phase()? {
                break;
            }
        }
        Ok(())
    }

    fn preface(&self, now: &[u8]) -> Result<(), AbuseKind> {
        let until = PREFACE.len() - usize::try_from(self.left).unwrap_or(0);
        let expected = PREFACE.get(until - now.len()..until);
        if expected == Some(now) { Ok(()) } else { Err(AbuseKind::Preface) }
    }

    fn collect(&mut self, now: &[u8]) {
        let from = self.scratch_used;
        if let Some(place) = self.scratch.get_mut(from..from + now.len()) {
            place.copy_from_slice(now);
            self.scratch_used += now.len();
        }
    }

    /// The end of a phase; true when the next one is the head of a frame.
    fn next_phase(&mut self) -> Result<bool, AbuseKind> {
        match self.phase {
            Phase::Preface | Phase::Skip => {
                self.enter(Phase::Head, HEAD_BYTES as u32);
                return Ok(true);
            }
            Phase::Head => {
                self.head = FrameHead::parse(self.scratch);
                self.scratch_used = 0;
                self.frame()?;
            }
            Phase::Small => {
                self.small()?;
                self.enter(Phase::Skip, self.then_skip);
            }
            Phase::Front => self.front()?,
            Phase::Fragment => self.enter(Phase::Skip, self.then_skip),
        }
        Ok(false)
    }

    fn enter(&mut self, phase: Phase, left: u32) {
        self.phase = phase;
        self.left = left;
        self.scratch_used = 0;
    }

    /// Reads `bytes` of the payload, then skips the rest.
    fn enter_small(&mut self, bytes: u32) {
        let bytes = bytes.min(self.head.length);
        self.then_skip = self.head.length - bytes;
        self.enter(Phase::Small, bytes);
    }

    fn frame(&mut self) -> Result<(), AbuseKind> {
        let head = self.head;
        if self.block.is_some() != (head.kind == kind::CONTINUATION) {
            return Err(AbuseKind::Sequence);
        }
        match head.kind {
            kind::DATA => self.data(),
            kind::HEADERS => self.headers(),
            kind::CONTINUATION => self.continuation(),
            kind::WINDOW_UPDATE => {
                self.enter_small(4);
                Ok(())
            }
            kind::PUSH_PROMISE => Err(AbuseKind::PushPromise),
            kind::SETTINGS => {
                let free = head.has(flag::ACK) || !std::mem::replace(&mut self.settings_seen, true);
                self.skip_frame(if free { None } else { Some(Glitch::Settings) })
            }
            kind::GOAWAY => {
                let free = !std::mem::replace(&mut self.goaway_seen, true);
                self.skip_frame(if free { None } else { Some(Glitch::GoAway) })
            }
            kind::RST_STREAM => {
                self.open.close(head.stream);
                self.skip_frame(Some(Glitch::Reset))
            }
            kind::PING => self.skip_frame(Some(Glitch::Ping)),
            kind::PRIORITY => self.skip_frame(Some(Glitch::Priority)),
            _ => self.skip_frame(Some(Glitch::UnknownFrame)),
        }
    }

    fn skip_frame(&mut self, glitch: Option<Glitch>) -> Result<(), AbuseKind> {
        self.enter(Phase::Skip, self.head.length);
        glitch.map_or(Ok(()), |glitch| self.useless(glitch))
    }

    fn data(&mut self) -> Result<(), AbuseKind> {
        let head = self.head;
        let end = head.has(flag::END_STREAM);
        let known = if end { self.open.close(head.stream) } else { self.open.is_open(head.stream) };
        // h2 ignores it where it has reset the stream itself, so that what it says would depend on
        // who was first.
        if !known && self.role == Role::Downstream && self.open.was_closed(head.stream) {
            return Err(AbuseKind::StreamClosed);
        }
        // DATA on a stream that never began ends the connection in h2; on one that is over it
        // only costs us a reset each.
        if !known && head.stream <= self.highest && !self.open.forgot_some() {
            self.useless(Glitch::StreamError)?;
        }
        if head.has(flag::PADDED) && head.length != 0 {
            self.enter_small(1);
            return Ok(());
        }
        self.content(head.length)?;
        self.enter(Phase::Skip, head.length);
        Ok(())
    }

    /// A DATA frame's content, without padding.
    fn content(&mut self, bytes: u32) -> Result<(), AbuseKind> {
        if bytes == 0 && !self.head.has(flag::END_STREAM) {
            return self.useless(Glitch::EmptyData);
        }
        self.earned_bytes = self.earned_bytes.saturating_add(bytes);
        if self.earned_bytes >= limit::H2_USEFUL_BYTES {
            self.forgive(self.earned_bytes / limit::H2_USEFUL_BYTES);
            self.earned_bytes %= limit::H2_USEFUL_BYTES;
        }
        Ok(())
    }

    /// The bytes in front of a payload that a judgement needs are there.
    fn small(&mut self) -> Result<(), AbuseKind> {
        let [first, b, c, d, ..] = self.scratch;
        let head = self.head;
        if head.kind == kind::DATA {
            return self.content(self.then_skip.saturating_sub(u32::from(first)));
        }
        if head.length != 4 {
            return Ok(()); // h2 ends the connection with FRAME_SIZE_ERROR
        }
        match u32::from_be_bytes([first & 0x7f, b, c, d]) {
            0 => self.useless(Glitch::StreamError),
            limit::H2_WINDOW_INCREMENT_HUGE.. if head.stream != 0 => {
                self.useless(Glitch::StreamError)
            }
            limit::H2_WINDOW_INCREMENT_MIN.. => Ok(()),
            _ => self.useless(Glitch::TinyWindowUpdate),
        }
    }

    fn headers(&mut self) -> Result<(), AbuseKind> {
        let head = self.head;
        let begins = self.role == Role::Downstream && head.stream > self.highest;
        if begins {
            self.highest = head.stream;
            self.begun += 1;
            if self.begun.saturating_sub(self.ended) > self.limits.streams_in_flight_max {
                self.useless(Glitch::StreamFlood)?;
            }
        }
        let forgotten = self.role == Role::Downstream && self.open.forgot_some();
        let trailers = !begins && (forgotten || self.open.is_open(head.stream));
        let end_stream = head.has(flag::END_STREAM);
        if !begins && self.role == Role::Downstream && !forgotten {
            // As above.
            if self.open.was_closed(head.stream) {
                return Err(AbuseKind::StreamClosed);
            }
            if trailers && !end_stream {
                return Err(AbuseKind::SecondHead);
            }
        }
        // A second block that ends nothing, or one on a stream that is over, costs us a reset.
        if !begins && self.role == Role::Downstream && !(trailers && end_stream) {
            self.useless(Glitch::StreamError)?;
        }
        self.block =
            Some(Block { stream: head.stream, end_stream, trailers, continuations: 0, bytes: 0 });
        let padding = u32::from(head.has(flag::PADDED));
        let priority = if head.has(flag::PRIORITY) { 5 } else { 0 };
        let front = padding + priority;
        self.then_skip = head.length.checked_sub(front).ok_or(AbuseKind::Padding)?;
        self.enter(Phase::Front, front);
        Ok(())
    }

    /// Padding length and priority of a HEADERS are there, if it has any.
    fn front(&mut self) -> Result<(), AbuseKind> {
        let head = self.head;
        let [padding, rest @ ..] = self.scratch;
        let (padding, on) = match (head.has(flag::PADDED), rest) {
            (true, [w, x, y, z, ..]) => (u32::from(padding), [w, x, y, z]),
            (false, [x, y, z, ..]) => (0, [padding, x, y, z]),
        };
        if head.has(flag::PRIORITY) && u32::from_be_bytes(on) & 0x7fff_ffff == head.stream {
            return Err(AbuseKind::SelfDependency);
        }
        let fragment = self.then_skip.checked_sub(padding).ok_or(AbuseKind::Padding)?;
        self.then_skip = padding;
        self.enter_fragment(fragment)
    }

    fn continuation(&mut self) -> Result<(), AbuseKind> {
        let head = self.head;
        let Some(block) = &mut self.block else { return Err(AbuseKind::Sequence) };
        if block.stream != head.stream {
            return Err(AbuseKind::Sequence);
        }
        block.continuations += 1;
        if block.continuations > self.limits.continuations_max {
            return Err(AbuseKind::Continuations);
        }
        self.then_skip = 0;
        self.enter_fragment(head.length)
    }

    fn enter_fragment(&mut self, bytes: u32) -> Result<(), AbuseKind> {
        let ends = self.head.has(flag::END_HEADERS);
        let Some(block) = &mut self.block else { return Err(AbuseKind::Sequence) };
        block.bytes = block.bytes.saturating_add(bytes);
        if block.bytes > self.limits.header_block_bytes_max {
            return Err(AbuseKind::HeaderBlock);
        }
        self.enter(Phase::Fragment, bytes);
        if bytes == 0 && !ends {
            return self.useless(Glitch::EmptyFragment);
        }
        if bytes == 0 { self.fragment(&[]) } else { Ok(()) }
    }

    /// Some bytes of a header block. A block in one piece, the common case, is not copied.
    fn fragment(&mut self, now: &[u8]) -> Result<(), AbuseKind> {
        let last = self.left == 0 && self.head.has(flag::END_HEADERS);
        if last && self.fragments.is_empty() {
            let seen = self.fields.walk(now);
            return self.block_ended(seen);
        }
        self.fragments.extend_from_slice(now);
        if !last {
            return Ok(());
        }
        let seen = self.fields.walk(&self.fragments);
        self.fragments.clear();
        self.fragments.shrink_to(limit::H2_BLOCK_BUFFER_KEPT_BYTES);
        self.block_ended(seen)
    }

    fn block_ended(&mut self, seen: Result<Seen, HpackFault>) -> Result<(), AbuseKind> {
        let Some(block) = self.block.take() else { return Ok(()) };
        let seen = seen.map_err(AbuseKind::Compression)?;
        if block.trailers && seen.pseudo {
            return Err(AbuseKind::PseudoInTrailers);
        }
        if seen.fragment && self.role == Role::Downstream {
            return Err(AbuseKind::Fragment);
        }
        // In one frame h2 sees it and resets the stream, which harms the other streams less.
        if seen.malformed && block.continuations > 0 {
            return Err(AbuseKind::MalformedBlock);
        }
        if seen.malformed {
            self.useless(Glitch::StreamError)?;
        }
        if block.end_stream {
            self.open.close(block.stream);
        } else if self.role == Role::Upstream && seen.interim {
            self.useless(Glitch::Interim)?;
        } else if self.role == Role::Upstream || block.stream == self.highest {
            self.open.open(block.stream);
        }
        Ok(())
    }

    fn useless(&mut self, glitch: Glitch) -> Result<(), AbuseKind> {
        self.level += 1000;
        if self.level > u64::from(self.limits.useless_frames_max) * 1000 {
            return Err(AbuseKind::Useless(glitch));
        }
        Ok(())
    }

    fn forgive(&mut self, frames: u32) {
        self.level = self.level.saturating_sub(u64::from(frames) * 1000);
    }

    fn refill(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.now_ms);
        self.now_ms = self.now_ms.max(now_ms);
        let per_second = u64::from(self.limits.useless_refill_per_second);
        self.level = self.level.saturating_sub(passed.saturating_mul(per_second));
    }
}
