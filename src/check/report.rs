//! What is said at the end: the counts, the first fault, and one of three verdicts.

use super::trail::Counts;
use std::fmt::Write;

/// The first thing that is wrong, and where.
#[derive(Default)]
pub(crate) struct Fault {
    pub(crate) frame: Option<u64>,
    pub(crate) lane: Option<u16>,
    pub(crate) decision: Option<u64>,
    pub(crate) reason: String,
}

impl<T: Into<String>> From<T> for Fault {
    fn from(reason: T) -> Self {
        Self { reason: reason.into(), ..Self::default() }
    }
}

/// Fails with a reason unless it holds. Reasons are words for people; nothing branches on them.
macro_rules! must {
    ($holds:expr, $($reason:tt)+) => {
        if !$holds {
            return Err(format!($($reason)+));
        }
    };
}

pub(crate) use must;

/// Everything there is to say.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) counts: Counts,
    pub(crate) frames: u64,
    /// How many of the frames are gone.
    pub(crate) retired: u64,
    /// How many of the frames the checkpoint covers.
    pub(crate) signed: u64,
    pub(crate) open: usize,
    /// The trail ended cleanly.
    pub(crate) closed: bool,
    pub(crate) fault: Option<Fault>,
    /// Why the trail, right as far as it goes, does not tell everything.
    pub(crate) gaps: Vec<String>,
    remarks: Vec<String>,
}

impl Report {
    /// Notes what a reader should know.
    pub(crate) fn remark(&mut self, text: impl Into<String>) {
        self.remarks.push(text.into());
    }

    /// Notes what is not told by what was read.
    pub(crate) fn note_gaps(&mut self) {
        let it = &self.counts;
        let (lost, erased, said) = (it.lost, it.erased, it.said);
        if lost > 0 {
            self.gaps.push(format!("{lost} decisions and outcomes are lost"));
        }
        if erased > 0 {
            let text = format!("{erased} decisions rest on values that were erased");
            self.gaps.push(text);
        }
        if !self.closed {
            let open = self.open;
            self.gaps.push(format!("the trail is not closed, {open} decisions are open"));
        }
        if self.signed < self.frames {
            let rest = self.frames - self.signed;
            self.gaps.push(format!("no checkpoint covers the last {rest} frames"));
        }
        if said > 0 {
            self.remark(format!("{said} attempts follow one that was made before the beginning"));
        }
        if self.retired > 0 {
            self.remark(format!("{} frames at the beginning are retired", self.retired));
        }
    }

    /// 0 complete and right, 1 wrong, 3 incomplete; 2 is for wrong usage.
    pub(crate) fn code(&self) -> u8 {
        match (&self.fault, self.gaps.is_empty()) {
            (Some(_), _) => 1,
            (None, false) => 3,
            (None, true) => 0,
        }
    }

    fn verdict(&self) -> &'static str {
        match self.code() {
            0 => "complete",
            1 => "wrong",
            _ => "incomplete",
        }
    }

    fn numbers(&self) -> [(&'static str, u64); 25] {
        let it = &self.counts;
        [
            ("frames", self.frames),
            ("retired", self.retired),
            ("signed", self.signed),
            ("segments", it.segments),
            ("records", it.records),
            ("boots", it.boots),
            ("crashes", it.crashes),
            ("joined", it.joined),
            ("left", it.left),
            ("snapshots", it.snapshots),
            ("epochs", it.epochs),
            ("routes", it.routes),
            ("denials", it.denials),
            ("refusals", it.refusals),
            ("outcomes", it.outcomes),
            ("payloads", it.payloads),
            ("changes", it.changes),
            ("queries", it.queries),
            ("breaches", it.breaches),
            ("messages", it.messages),
            ("unknown", it.unknown),
            ("open", self.open as u64),
            ("lost", it.lost),
            ("erased", it.erased),
            ("said", it.said),
        ]
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        if let Some(fault) = &self.fault {
            let _ = write!(text, "first fault:");
            let places = [
                ("frame", fault.frame),
                ("lane", fault.lane.map(u64::from)),
                ("decision", fault.decision),
            ];
            for (name, number) in places {
                if let Some(number) = number {
                    let _ = write!(text, " {name} {number},");
                }
            }
            let _ = writeln!(text, " {}", fault.reason);
        }
        for (word, lines) in [("incomplete", &self.gaps), ("remark", &self.remarks)] {
            for line in lines {
                let _ = writeln!(text, "{word}: {line}");
            }
        }
        let _ = write!(text, "{}:", self.verdict());
        for (name, number) in self.numbers() {
            let _ = write!(text, " {name} {number}");
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> String {
        let mut text = format!("{{\"verdict\":\"{}\"", self.verdict());
        for (name, number) in self.numbers() {
            let _ = write!(text, ",\"{name}\":{number}");
        }
        let shown = |number: Option<u64>| number.map_or("null".to_owned(), |it| it.to_string());
        match &self.fault {
            None => text.push_str(",\"fault\":null"),
            Some(fault) => {
                let _ = write!(
                    text,
                    ",\"fault\":{{\"frame\":{},\"lane\":{},\"decision\":{},\"reason\":{}}}",
                    shown(fault.frame),
                    shown(fault.lane.map(u64::from)),
                    shown(fault.decision),
                    quoted(&fault.reason)
                );
            }
        }
        for (name, lines) in [("gaps", &self.gaps), ("remarks", &self.remarks)] {
            let lines: Vec<String> = lines.iter().map(|line| quoted(line)).collect();
            let _ = write!(text, ",\"{name}\":[{}]", lines.join(","));
        }
        text.push('}');
        text
    }
}

/// A JSON string (RFC 8259 7).
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\0'..=' ' if character != ' ' => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}
