//! Colours, where they help: on a terminal whose owner did not refuse them.

use std::io::{IsTerminal, Write};

/// How a stream is painted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// Escape sequences are written.
    Colours,
    /// Text alone.
    Plain,
}

impl Paint {
    /// Colours only if the stream is a terminal that can show them, and `NO_COLOR` is unset or
    /// empty (no-color.org).
    pub fn of(stream: &impl IsTerminal) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self::decide(stream.is_terminal(), set("NO_COLOR"), dumb)
    }

    fn decide(terminal: bool, refused: bool, dumb: bool) -> Self {
        if terminal && !refused && !dumb { Self::Colours } else { Self::Plain }
    }

    /// Where the eye should land.
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// What may be skipped.
    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// What is wrong.
    pub fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    /// What is well.
    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// What to look at twice.
    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        match self {
            Self::Colours => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            Self::Plain => text.to_owned(),
        }
    }
}

/// A stream words are written to, and how it is painted.
pub struct Output<'w> {
    /// Where the words go.
    pub writer: &'w mut dyn Write,
    /// How they are painted.
    pub paint: Paint,
}

impl<'w> Output<'w> {
    /// A stream painted as it can bear.
    pub fn of<S: Write + IsTerminal>(stream: &'w mut S) -> Self {
        let paint = Paint::of(stream);
        Self { writer: stream, paint }
    }

    /// A stream without colours.
    pub fn plain(writer: &'w mut dyn Write) -> Self {
        Self { writer, paint: Paint::Plain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_need_a_terminal_that_wants_them() {
        assert_eq!(Paint::decide(true, false, false), Paint::Colours);
        for (terminal, refused, dumb) in
            [(false, false, false), (true, true, false), (true, false, true)]
        {
            assert_eq!(Paint::decide(terminal, refused, dumb), Paint::Plain);
        }
    }

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(Paint::Plain.red("x"), "x");
        assert_eq!(Paint::Colours.red("x"), "\u{1b}[31mx\u{1b}[0m");
    }
}
