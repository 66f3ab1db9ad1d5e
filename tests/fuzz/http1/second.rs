//! The second independent parser: Node's C parser, driven over whole strings of bytes.

use http_muncher::{Parser, ParserHandler};

/// What it saw of a connection.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Each message that ended: target or nothing, names in lower case and values, content.
    pub(crate) messages: Vec<Message>,
    /// Whether it met an error.
    pub(crate) error: Option<String>,
    current: Message,
    in_value: bool,
}

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// The request target.
    pub(crate) url: Vec<u8>,
    /// Names in lower case, and values; trailers too.
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// The content.
    pub(crate) content: Vec<u8>,
}

impl ParserHandler for Seen {
    fn on_message_begin(&mut self, _: &mut Parser) -> bool {
        self.current = Message::default();
        self.in_value = false;
        true
    }

    fn on_url(&mut self, _: &mut Parser, url: &[u8]) -> bool {
        self.current.url.extend_from_slice(url);
        true
    }

    fn on_header_field(&mut self, _: &mut Parser, name: &[u8]) -> bool {
        if self.in_value || self.current.fields.is_empty() {
            self.current.fields.push(Default::default());
            self.in_value = false;
        }
        self.current.fields.last_mut().unwrap().0.extend(name.to_ascii_lowercase());
        true
    }

    fn on_header_value(&mut self, _: &mut Parser, value: &[u8]) -> bool {
        self.in_value = true;
        self.current.fields.last_mut().unwrap().1.extend_from_slice(value);
        true
    }

    fn on_body(&mut self, _: &mut Parser, content: &[u8]) -> bool {
        self.current.content.extend_from_slice(content);
        true
    }

    fn on_message_complete(&mut self, _: &mut Parser) -> bool {
        self.messages.push(std::mem::take(&mut self.current));
        true
    }
}

/// Reads everything a client sent on one connection.
pub(crate) fn requests(bytes: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let mut parser = Parser::request();
    let used = parser.parse(&mut seen, bytes);
    if parser.has_error() {
        seen.error = Some(format!("{} after {used} bytes", parser.error()));
    }
    seen
}
