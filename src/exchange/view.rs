//! An HTTP/1.1 request head as routing, facts and forwarding see it.

use crate::http1::Framing;
use crate::http1::request::RequestHead;
use crate::identity::Field;
use crate::snapshot::request::RequestView;
use crate::wire::field::Kind;

/// What a request says about itself and its way here, whatever its protocol version.
pub trait Inbound: RequestView {
    /// Calls `with` for every value of the header `name` (lower case), in order.
    fn each_value(&self, name: &str, with: &mut dyn FnMut(&[u8]));
    /// The canonical authority, with port.
    fn authority(&self) -> &[u8];
    /// The header `name` (lower case), where it makes a difference whether it is absent or
    /// repeated.
    fn sole(&self, name: &str) -> Field<'_>;
    /// The value of the header of this kind; `None` when it is absent or repeated.
    fn only(&self, kind: Kind, name: &str) -> Option<&[u8]>;
    /// Calls `with` for the name and value of every field, in order, leaving out those for this hop
    /// only.
    fn each_field(&self, with: &mut dyn FnMut(&[u8], &[u8]));
    /// The canonical query, without its question mark.
    fn query(&self) -> Option<&str>;
}

/// A head and the buffer it was parsed from.
#[derive(Clone, Copy)]
pub struct Http1View<'a> {
    head: &'a RequestHead,
    buffer: &'a [u8],
}

impl<'a> Http1View<'a> {
    /// A view of `head`, parsed from the start of `buffer`.
    pub fn new(head: &'a RequestHead, buffer: &'a [u8]) -> Self {
        Self { head, buffer }
    }

    /// Every value of `name`, leaving out fields for this hop only.
    fn values<'n>(&self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let (fields, buffer) = (&self.head.fields, self.buffer);
        fields
            .iter()
            .filter(move |field| {
                !field.nominated && field.name.of(buffer).eq_ignore_ascii_case(name.as_bytes())
            })
            .map(move |field| field.value.of(buffer))
    }
}

fn text(bytes: &[u8]) -> &str {
    // Canonical parts are ASCII by construction; a field value that is not text is no value.
    std::str::from_utf8(bytes).unwrap_or_default()
}

impl RequestView for Http1View<'_> {
    fn method(&self) -> &str {
        text(self.head.method_bytes(self.buffer))
    }

    fn host(&self) -> &str {
        text(self.head.host(self.buffer))
    }

    fn path(&self) -> &str {
        text(self.head.path(self.buffer))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.values(name);
        let first = values.next()?;
        if values.next().is_some() { None } else { std::str::from_utf8(first).ok() }
    }

    fn body_bytes(&self) -> Option<u64> {
        match self.head.framing {
            Framing::None => Some(0),
            Framing::Length(length) => Some(length),
            Framing::Chunked | Framing::Close => None,
        }
    }
}

impl Inbound for Http1View<'_> {
    fn each_value(&self, name: &str, with: &mut dyn FnMut(&[u8])) {
        self.values(name).for_each(with);
    }

    fn authority(&self) -> &[u8] {
        self.head.authority(self.buffer)
    }

    fn sole(&self, name: &str) -> Field<'_> {
        let mut nominated = self.head.fields.iter().filter(|field| field.nominated);
        let named = |of: &[u8]| of.eq_ignore_ascii_case(name.as_bytes());
        if nominated.any(|field| named(field.name.of(self.buffer))) {
            return Field::ForOneHop;
        }
        let mut values = self.values(name);
        Field::of(values.next(), values.next())
    }

    fn only(&self, kind: Kind, _name: &str) -> Option<&[u8]> {
        let mut values = self.head.values(self.buffer, kind);
        let first = values.next()?;
        if values.next().is_some() { None } else { Some(first) }
    }

    fn each_field(&self, with: &mut dyn FnMut(&[u8], &[u8])) {
        let fields = self.head.fields.iter().filter(|field| !field.nominated);
        fields.for_each(|field| with(field.name.of(self.buffer), field.value.of(self.buffer)));
    }

    fn query(&self) -> Option<&str> {
        self.head.query(self.buffer).map(text)
    }
}
