//! The compression shadow against a full decoder that is not ours (RFC 7541).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    reason = "a test that fails is meant to panic"
)]

use caio::http2::{Fields, HpackFault, Seen};
use httlib_hpack::Decoder;
use std::collections::VecDeque;

type Field = (Vec<u8>, Vec<u8>);

/// The static table entries that the writer uses: index, name, value.
const STATIC: [(u32, &str, &str); 14] = [
    (1, ":authority", ""),
    (2, ":method", "GET"),
    (3, ":method", "POST"),
    (4, ":path", "/"),
    (7, ":scheme", "https"),
    (8, ":status", "200"),
    (14, ":status", "500"),
    (15, "accept-charset", ""),
    (16, "accept-encoding", "gzip, deflate"),
    (28, "content-length", ""),
    (31, "content-type", ""),
    (38, "host", ""),
    (57, "transfer-encoding", ""),
    (61, "www-authenticate", ""),
];

const NAMES: [&str; 16] = [
    ":path",
    ":method",
    ":status",
    ":protocol",
    ":x",
    "te",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "transfer-encoding",
    "transfer-encodings",
    "x-request-id",
    "cookie",
    "t",
    "grpc-timeout",
];
const VALUES: [&str; 8] =
    ["trailers", "trailers ", "103", "1", "200", "", "gzip", "a longer value, with = marks; and ~"];

/// An encoder that chooses among all representations at random, with its table in plain view.
struct Writer {
    random: fastrand::Rng,
    table: VecDeque<Field>,
    size_max: usize,
}

impl Writer {
    fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), table: VecDeque::new(), size_max: 4096 }
    }

    fn table_bytes(&self) -> usize {
        self.table.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
    }

    fn evict(&mut self) {
        while self.table_bytes() > self.size_max {
            self.table.pop_back();
        }
    }

    fn block(&mut self) -> (Vec<u8>, Vec<Field>) {
        let (mut out, mut list) = (Vec::new(), Vec::new());
        if self.random.u8(..) < 20 {
            self.size_max = self.random.usize(0..=4096);
            integer(&mut out, 0x20, 5, self.size_max as u32);
            self.evict();
        }
        for _ in 0..self.random.usize(0..12) {
            list.push(self.field(&mut out));
        }
        (out, list)
    }

    fn field(&mut self, out: &mut Vec<u8>) -> Field {
        let kind = self.random.u8(0..10);
        if kind < 2 {
            let (index, name, value) = STATIC[self.random.usize(0..STATIC.len())];
            integer(out, 0x80, 7, index);
            return (name.into(), value.into());
        }
        if kind < 5 && !self.table.is_empty() {
            let at = self.random.usize(0..self.table.len());
            integer(out, 0x80, 7, 62 + at as u32);
            return self.table[at].clone();
        }
        let (pattern, bits) = [(0x40, 6), (0x40, 6), (0x00, 4), (0x10, 4)][self.random.usize(0..4)];
        let name: Vec<u8> = match self.random.u8(0..4) {
            0 => {
                let (index, name, _) = STATIC[self.random.usize(0..STATIC.len())];
                integer(out, pattern, bits, index);
                name.into()
            }
            1 if !self.table.is_empty() => {
                let at = self.random.usize(0..self.table.len());
                integer(out, pattern, bits, 62 + at as u32);
                self.table[at].0.clone()
            }
            _ => {
                integer(out, pattern, bits, 0);
                let name = NAMES[self.random.usize(0..NAMES.len())];
                self.string(out, name.as_bytes());
                name.into()
            }
        };
        let value = match self.random.u8(0..8) {
            0 => (0..self.random.usize(0..700)).map(|_| self.random.u8(..)).collect(),
            1 => vec![b'x'; self.random.usize(0..4200)],
            _ => VALUES[self.random.usize(0..VALUES.len())].into(),
        };
        self.string(out, &value);
        if pattern == 0x40 {
            self.table.push_front((name.clone(), value.clone()));
            self.evict();
        }
        (name, value)
    }

    fn string(&mut self, out: &mut Vec<u8>, text: &[u8]) {
        if self.random.bool() {
            let mut coded = Vec::new();
            httlib_huffman::encode(text, &mut coded).unwrap();
            integer(out, 0x80, 7, coded.len() as u32);
            out.extend(coded);
        } else {
            integer(out, 0, 7, text.len() as u32);
            out.extend(text);
        }
    }
}

fn integer(out: &mut Vec<u8>, pattern: u8, bits: u32, mut value: u32) {
    let mask = (1 << bits) - 1;
    if value < mask {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | mask as u8);
    value -= mask;
    while value >= 128 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What RFC 9113 8.2.2 and 8.3 say about a decoded list, read off the page.
fn judge(list: &[Field]) -> Seen {
    let mut seen = Seen { fields: list.len() as u32, ..Seen::default() };
    for (at, (name, value)) in list.iter().enumerate() {
        let before = &list[..at];
        match std::str::from_utf8(name).unwrap() {
            name if name.starts_with(':') => {
                seen.pseudo = true;
                seen.interim |= name == ":status" && value.starts_with(b"1");
                seen.fragment |= name == ":path" && value.contains(&b'#');
                let known = [":authority", ":method", ":path", ":protocol", ":scheme", ":status"];
                seen.malformed |= !known.contains(&name)
                    || before.iter().any(|(other, _)| other == name.as_bytes())
                    || before.iter().any(|(other, _)| regular(other));
            }
            "te" => seen.malformed |= value != b"trailers",
            _ => seen.malformed |= !regular(name),
        }
    }
    seen
}

/// A regular field that is allowed to be there; `te` counts, whatever it says.
fn regular(name: &[u8]) -> bool {
    let forbidden =
        ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
    !name.starts_with(b":") && !forbidden.iter().any(|other| other.as_bytes() == name)
}

#[test]
fn the_shadow_sees_what_a_full_decoder_sees() {
    let (mut fields_total, mut malformed, mut interim, mut dynamic) = (0, 0, 0, 0);
    for seed in 0..200 {
        let mut writer = Writer::new(seed);
        let mut shadow = Fields::default();
        let mut decoder = Decoder::with_dynamic_size(4096);
        for _ in 0..60 {
            let (block, list) = writer.block();
            let mut decoded = Vec::new();
            decoder.decode(&mut block.clone(), &mut decoded).unwrap();
            let decoded: Vec<Field> = decoded.into_iter().map(|(n, v, _)| (n, v)).collect();
            assert_eq!(decoded, list, "the writer and the other decoder agree, seed {seed}");
            let seen = shadow.walk(&block).unwrap();
            assert_eq!(seen, judge(&list), "seed {seed}: {list:?}");
            assert_eq!(shadow.table_bytes() as usize, writer.table_bytes(), "seed {seed}");
            assert_eq!(shadow.table_entries(), writer.table.len(), "seed {seed}");
            fields_total += list.len();
            malformed += usize::from(seen.malformed);
            interim += usize::from(seen.interim);
            dynamic += writer.table.len();
        }
    }
    // The comparison is not about nothing.
    assert!(fields_total > 50_000 && malformed > 1000 && interim > 100 && dynamic > 10_000);
}

#[test]
fn every_cut_of_a_block_is_a_truncation_or_a_shorter_list() {
    for seed in 0..300 {
        let (block, list) = Writer::new(seed).block();
        for cut in 0..block.len() {
            match Fields::default().walk(&block[..cut]) {
                Ok(seen) => assert!(seen.fields as usize <= list.len()),
                Err(fault) => assert_eq!(fault, HpackFault::Truncated),
            }
        }
    }
}

#[test]
fn random_bytes_and_damaged_blocks_never_panic() {
    let mut random = fastrand::Rng::with_seed(5);
    let (mut accepted, mut refused) = (0, 0);
    for seed in 0..20_000 {
        let mut bytes: Vec<u8> = if seed % 2 == 0 {
            (0..random.usize(0..80)).map(|_| random.u8(..)).collect()
        } else {
            Writer::new(seed).block().0
        };
        if !bytes.is_empty() {
            let at = random.usize(0..bytes.len());
            bytes[at] = random.u8(..);
        }
        match Fields::default().walk(&bytes) {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > 100 && refused > 1000, "{accepted} {refused}");
}

#[test]
fn faults_of_compression_are_named() {
    let cases: [(&[u8], HpackFault); 10] = [
        (&[0x80], HpackFault::Index),
        (&[0xbe], HpackFault::Index),
        (&[0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], HpackFault::Integer),
        (&[0x3f, 0xe2, 0x1f], HpackFault::TableSize), // 4097
        (&[0x82, 0x20], HpackFault::TableSize),       // behind a field
        (&[0x40, 0x01, b'a'], HpackFault::Truncated),
        (&[0x40, 0x02, b'a'], HpackFault::Truncated),
        (&[0x40, 0x00, 0x01, b'a'], HpackFault::EmptyName),
        (&[0x40, 0x81, 0x00, 0x00], HpackFault::Huffman),
        (&[0x40, 0x01, b'a', 0x84, 0xff, 0xff, 0xff, 0xff], HpackFault::Huffman),
    ];
    for (block, fault) in cases {
        assert_eq!(Fields::default().walk(block), Err(fault), "{block:x?}");
    }
    assert!(Fields::default().walk(&[0x3f, 0xe1, 0x1f, 0x20, 0x82]).is_ok());
}
