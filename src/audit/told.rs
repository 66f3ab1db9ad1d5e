//! What is told of an exchange beside its end: how much went through, its digests, and as much of
//! it as the route's payload depth keeps.

use super::record::{
    Bodies, Ending, Hash, NO_ENDPOINT, OUTCOME_BYTES, OUTCOME_BYTES_MAX, Outcome, PAYLOAD_BYTES,
    Record,
};
use super::ring::words;
use crate::config::depth::{BodyDepth, Depth};
use crate::wire::limits::PAYLOAD_FIELDS_BYTES_MAX;
use sha2::{Digest, Sha256};

/// Words of a ring that the end of an exchange of this depth may take.
pub fn end_words_max(depth: &Depth) -> u64 {
    let outcome = match depth.bodies {
        BodyDepth::Digests => OUTCOME_BYTES_MAX,
        BodyDepth::Nothing | BodyDepth::Sizes => OUTCOME_BYTES,
    };
    let fields = if depth.fields.is_empty() { 0 } else { PAYLOAD_FIELDS_BYTES_MAX };
    let texts = 2 * (fields + usize::from(depth.body_bytes));
    let payload = if depth.keeps_payload() { words(PAYLOAD_BYTES + texts) } else { 0 };
    words(outcome) + payload
}

/// One direction of an exchange.
#[derive(Debug, Default)]
struct Part {
    bytes: u64,
    hash: Sha256,
    /// Kept fields, a line each.
    fields: Vec<u8>,
    /// The first bytes of the body.
    body: Vec<u8>,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct Told {
    bodies: BodyDepth,
    body_bytes: usize,
    keeps_fields: bool,
    endpoint: Option<u16>,
    head_ns: u64,
    request: Part,
    response: Part,
}

impl Part {
    fn begin(&mut self) {
        self.bytes = 0;
        self.hash.reset();
        self.fields.clear();
        self.body.clear();
    }

    fn field(&mut self, name: &str, value: &[u8]) {
        let length = name.len() + value.len() + 3;
        if self.fields.len() + length <= PAYLOAD_FIELDS_BYTES_MAX {
            self.fields.extend_from_slice(name.as_bytes());
            self.fields.extend_from_slice(b": ");
            self.fields.extend_from_slice(value);
            self.fields.push(b'\n');
        }
    }

    fn body(&mut self, bytes: &[u8], depth: BodyDepth, kept: usize) {
        self.bytes += bytes.len() as u64;
        if depth == BodyDepth::Digests {
            self.hash.update(bytes);
        }
        let room = kept.saturating_sub(self.body.len());
        if room > 0 {
            self.body.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
    }

    fn digest(&mut self) -> Hash {
        if self.bytes == 0 {
            return OF_NOTHING;
        }
        self.hash.finalize_reset().into()
    }
}

/// The SHA-256 of no bytes: most requests have no body.
const OF_NOTHING: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

impl Told {
    /// Forgets the exchange before; the next is told at this depth.
    pub fn begin(&mut self, depth: &Depth) {
        self.bodies = depth.bodies;
        self.body_bytes = usize::from(depth.body_bytes);
        self.keeps_fields = !depth.fields.is_empty();
        self.endpoint = None;
        self.head_ns = 0;
        self.request.begin();
        self.response.begin();
    }

    /// Where the request goes: the place among the service's endpoints.
    pub fn endpoint(&mut self, place: usize) {
        self.endpoint = u16::try_from(place).ok();
    }

    /// The service's answer began; the first time counts.
    pub fn head(&mut self, now_ns: u64) {
        if self.head_ns == 0 {
            self.head_ns = now_ns;
        }
    }

    /// Whether anything but sizes and digests is kept.
    pub fn keeps_payload(&self) -> bool {
        self.keeps_fields || self.body_bytes > 0
    }

    /// Whether fields are kept: `depth` says which.
    pub fn keeps_fields(&self) -> bool {
        self.keeps_fields
    }

    /// A kept field of the request.
    pub fn request_field(&mut self, name: &str, value: &[u8]) {
        self.request.field(name, value);
    }

    /// A kept field of the answer.
    pub fn response_field(&mut self, name: &str, value: &[u8]) {
        self.response.field(name, value);
    }

    /// Bytes of the request's body on their way.
    pub fn request_body(&mut self, bytes: &[u8]) {
        if self.bodies != BodyDepth::Nothing || self.body_bytes > 0 {
            self.request.body(bytes, self.bodies, self.body_bytes);
        }
    }

    /// Bytes of the answer's body on their way.
    pub fn response_body(&mut self, bytes: &[u8]) {
        if self.bodies != BodyDepth::Nothing || self.body_bytes > 0 {
            self.response.body(bytes, self.bodies, self.body_bytes);
        }
    }

    /// The outcome, at this moment.
    pub fn outcome(&mut self, status: u16, ending: Ending, reason: u16, now_ns: u64) -> Outcome {
        let sizes = [self.request.bytes, self.response.bytes];
        let bodies = match self.bodies {
            BodyDepth::Nothing => Bodies::Untold,
            BodyDepth::Sizes => Bodies::Sizes(sizes),
            BodyDepth::Digests => {
                Bodies::Digests(sizes, [self.request.digest(), self.response.digest()])
            }
        };
        Outcome {
            status,
            ending,
            reason,
            endpoint: self.endpoint.unwrap_or(NO_ENDPOINT),
            monotonic_ns: now_ns,
            head_ns: self.head_ns,
            bodies,
        }
    }

    /// The payload record, where there is something to keep.
    pub fn payload(&self) -> Option<Record<'_>> {
        let Self { request, response, .. } = self;
        let parts = [&request.fields, &response.fields, &request.body, &response.body];
        parts.iter().any(|part| !part.is_empty()).then(|| Record::Payload {
            request_fields: request.fields.as_slice().into(),
            response_fields: response.fields.as_slice().into(),
            request_body: request.body.as_slice().into(),
            response_body: response.body.as_slice().into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(depth: &Depth) -> Told {
        let mut told = Told::default();
        told.begin(depth);
        told.request_field("accept", b"*/*");
        told.request_body(b"abc");
        told.request_body(b"def");
        told.endpoint(3);
        told.head(7);
        told.head(9);
        told
    }

    #[test]
    fn each_depth_tells_what_it_says_and_no_more() {
        let sizes = Depth { bodies: BodyDepth::Sizes, ..Depth::default() };
        let outcome = told(&sizes).outcome(200, Ending::Whole, 0, 11);
        assert_eq!((outcome.endpoint, outcome.head_ns, outcome.monotonic_ns), (3, 7, 11));
        assert_eq!(outcome.bodies, Bodies::Sizes([6, 0]));
        let nothing = Depth { bodies: BodyDepth::Nothing, ..Depth::default() };
        assert_eq!(told(&nothing).outcome(200, Ending::Whole, 0, 11).bodies, Bodies::Untold);
        let digest = |bytes: &[u8]| Hash::from(Sha256::digest(bytes));
        let expected = Bodies::Digests([6, 0], [digest(b"abcdef"), digest(b"")]);
        let mut told = told(&Depth::default());
        assert_eq!(told.outcome(200, Ending::Whole, 0, 11).bodies, expected);
        told.begin(&Depth::default());
        told.response_body(b"x");
        let expected = Bodies::Digests([0, 1], [digest(b""), digest(b"x")]);
        assert_eq!(told.outcome(0, Ending::CutOff, 0, 1).bodies, expected, "nothing is left over");
    }

    #[test]
    fn a_payload_has_the_first_bytes_and_fits_what_is_reserved() {
        let fields = vec!["accept".to_owned()];
        let depth = Depth { bodies: BodyDepth::Digests, fields, body_bytes: 4 };
        let mut told = told(&depth);
        (0..10_000).for_each(|_| told.response_field("accept", &[b'v'; 50]));
        told.response_body(&[b'y'; 100]);
        let Some(payload) = told.payload() else { panic!("nothing kept") };
        let Record::Payload { request_fields, request_body, response_body, .. } = &payload else {
            panic!("{payload:?}")
        };
        assert_eq!(&**request_fields, b"accept: */*\n");
        assert_eq!((&**request_body, &**response_body), (&b"abcd"[..], &b"yyyy"[..]));
        let mut bytes = Vec::new();
        payload.encode(&mut bytes, crate::audit::record::Place { lane: 0, sequence: 0 });
        assert!(words(bytes.len()) + words(OUTCOME_BYTES_MAX) <= end_words_max(&depth));
        told.begin(&Depth::default());
        assert_eq!(told.payload(), None);
    }
}
