//! The fields a gateway adds: who called, on whose behalf, under which decision.

use super::view::Inbound;
use crate::wire::field::Kind;
use crate::wire::forwarded::{Sender, append_element, append_for, push_ip};
use crate::wire::request_id::{RequestId, is_acceptable};
use crate::wire::trace::Traceparent;
use std::net::IpAddr;
use std::ops::Range;

/// A field as the writers take it.
pub type Added<'a> = (&'a [u8], &'a [u8]);

/// At most this many fields are added to one head.
const FIELDS_MAX: usize = 10;

/// What the operator wants said.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// `X-Forwarded-For`, `-Proto`, `-Host`.
    pub x_forwarded: bool,
    /// RFC 7239 `Forwarded`.
    pub forwarded: bool,
    /// `Via` with requests.
    pub via: bool,
}

/// Where a request came from, and the randomness its ids take.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// The peer.
    pub peer: IpAddr,
    /// The version it was received in, as `Via` says it (RFC 9110 7.6.3).
    pub version: &'static str,
    /// Whether its own forwarding fields are believed.
    pub sender: Sender,
    /// Whether it came over TLS.
    pub secure: bool,
    /// Milliseconds since 1970.
    pub wall_ms: u64,
    /// Random bits.
    pub random: [u64; 2],
}

impl Arrival {
    fn scheme(&self) -> &'static [u8] {
        if self.secure { b"https" } else { b"http" }
    }
}

/// Fields to add, text and places.
#[derive(Clone, Debug, Default)]
pub struct Additions {
    text: Vec<u8>,
    fields: [(&'static str, Range<usize>); FIELDS_MAX],
    count: usize,
    decision: usize,
    request_id: Range<usize>,
    own_id: Option<u128>,
    trace: u128,
    span: u64,
    parent_span: u64,
}

/// The list the writers take.
pub struct List<'a>([Added<'a>; FIELDS_MAX], usize);

impl<'a> std::ops::Deref for List<'a> {
    type Target = [Added<'a>];

    fn deref(&self) -> &Self::Target {
        self.0.get(..self.1).unwrap_or_default()
    }
}

fn for_response(name: &str) -> bool {
    matches!(name, "X-Request-ID" | "CAIO-Decision")
}

impl Additions {
    /// The fields of a request that has just arrived.
    pub fn fill(&mut self, view: &impl Inbound, arrival: &Arrival, wanted: Wanted) {
        self.text.clear();
        self.count = 0;
        let trusted = arrival.sender == Sender::Trusted;
        self.add_request_id(view, arrival, trusted);
        self.add_trace(view, arrival);
        if wanted.x_forwarded {
            self.add_x_forwarded(view, arrival, trusted);
        }
        if wanted.forwarded {
            self.add("Forwarded", |text| {
                if trusted {
                    view.each_value("forwarded", &mut |value| {
                        text.extend_from_slice(value);
                        text.extend_from_slice(b", ");
                    });
                }
                append_element(text, arrival.peer, view.authority(), arrival.scheme());
            });
        }
        if wanted.via {
            self.add("Via", |text| {
                text.extend_from_slice(arrival.version.as_bytes());
                text.extend_from_slice(b" caio");
            });
        }
        self.decision = self.count;
    }

    /// Replaces the decision's field and the caller's: each attempt has its own.
    pub fn decide(&mut self, principal: Option<&str>, write: impl FnOnce(&mut Vec<u8>)) {
        self.count = self.decision;
        self.add("CAIO-Decision", write);
        if let Some(principal) = principal {
            self.add("CAIO-Principal", |text| text.extend_from_slice(principal.as_bytes()));
        }
    }

    /// The request's id.
    pub fn request_id(&self) -> &[u8] {
        self.text.get(self.request_id.clone()).unwrap_or_default()
    }

    /// The request's id as bits, where the gateway made it.
    pub fn own_id(&self) -> Option<u128> {
        self.own_id
    }

    /// The trace, the gateway's own span in it, and the caller's or 0.
    pub fn trace(&self) -> (u128, u64, u64) {
        (self.trace, self.span, self.parent_span)
    }

    /// Everything, for the request to the service.
    pub fn request(&self) -> List<'_> {
        self.list(0, |_| true)
    }

    /// What the caller is told with the answer: the request's id and the decision.
    pub fn response(&self) -> List<'_> {
        self.list(0, for_response)
    }

    /// The text that [`Additions::places`] point into.
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Names, and where their values are; of the response's fields only, or of all.
    pub fn places(&self, response: bool) -> impl Iterator<Item = (&'static str, Range<usize>)> {
        let fields = self.fields.iter().take(self.count);
        fields.filter(move |(name, _)| !response || for_response(name)).cloned()
    }

    fn list(&self, from: usize, wanted: impl Fn(&str) -> bool) -> List<'_> {
        let mut list = List([(&[], &[]); FIELDS_MAX], 0);
        for (name, place) in self.fields.iter().take(self.count).skip(from) {
            if wanted(name)
                && let Some(slot) = list.0.get_mut(list.1)
            {
                *slot = (name.as_bytes(), self.text.get(place.clone()).unwrap_or_default());
                list.1 += 1;
            }
        }
        list
    }

    fn add(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.text.len();
        write(&mut self.text);
        if let Some(slot) = self.fields.get_mut(self.count) {
            *slot = (name, start..self.text.len());
            self.count += 1;
        }
    }

    fn add_request_id(&mut self, view: &impl Inbound, arrival: &Arrival, trusted: bool) {
        let given = view.only(Kind::XRequestId, "x-request-id");
        let given = given.filter(|id| trusted && is_acceptable(id));
        let [high, low] = arrival.random;
        let own = RequestId::bits(arrival.wall_ms, u128::from(high) << 64 | u128::from(low));
        self.own_id = given.is_none().then_some(own);
        self.add("X-Request-ID", |text| match given {
            Some(id) => text.extend_from_slice(id),
            None => text.extend_from_slice(RequestId::from_bits(own).as_bytes()),
        });
        self.request_id = 0..self.text.len();
    }

    fn add_trace(&mut self, view: &impl Inbound, arrival: &Arrival) {
        let given = view.only(Kind::Traceparent, "traceparent").and_then(Traceparent::parse);
        let [high, low] = arrival.random;
        let span = high ^ low.rotate_left(32);
        self.parent_span = given.map_or(0, |given| given.span);
        let parent = match given {
            Some(parent) => parent.child(span),
            None => Traceparent::root(u128::from(low) << 64 | u128::from(high), span, 0),
        };
        (self.trace, self.span) = (parent.trace, parent.span);
        self.add("traceparent", |text| text.extend_from_slice(&parent.to_bytes()));
    }

    fn add_x_forwarded(&mut self, view: &impl Inbound, arrival: &Arrival, trusted: bool) {
        self.add("X-Forwarded-For", |text| {
            if trusted {
                let mut chain = Vec::new();
                view.each_value("x-forwarded-for", &mut |value| chain.push(value.to_vec()));
                let said = chain.iter().map(Vec::as_slice);
                append_for(text, arrival.sender, said, arrival.peer);
            } else {
                push_ip(text, arrival.peer);
            }
        });
        let proto = view.only(Kind::XForwardedProto, "x-forwarded-proto").filter(|_| trusted);
        self.add("X-Forwarded-Proto", |text| {
            let known = proto.filter(|said| matches!(*said, b"http" | b"https"));
            text.extend_from_slice(known.unwrap_or(arrival.scheme()));
        });
        let host = view.only(Kind::XForwardedHost, "x-forwarded-host").filter(|_| trusted);
        self.add("X-Forwarded-Host", |text| {
            text.extend_from_slice(host.unwrap_or_else(|| view.authority()));
        });
    }
}
