//! Messages of `ext_authz` written and read by hand, from the published .proto: nothing here shares
//! code with the gateway.

/// One field of a message.
pub(crate) fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag << 3 | 2];
    let mut length = bytes.len();
    loop {
        let low = (length & 0x7f) as u8;
        length >>= 7;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    out.extend_from_slice(bytes);
    out
}

/// A number.
pub(crate) fn number(tag: u8, value: u8) -> Vec<u8> {
    assert!(value < 0x80, "one byte is enough here");
    vec![tag << 3, value]
}

/// `CheckResponse.status` with a code.
pub(crate) fn status(code: u8) -> Vec<u8> {
    field(1, &number(1, code))
}

/// A `HeaderValueOption` in this field.
pub(crate) fn header(tag: u8, name: &str, value: &str) -> Vec<u8> {
    let header = [field(1, name.as_bytes()), field(2, value.as_bytes())].concat();
    field(tag, &field(1, &header))
}

/// The same with an `append_action`; 0, which is to append, is said in the older way, because in
/// these messages a field that says nothing else overwrites.
pub(crate) fn header_as(tag: u8, name: &str, value: &str, action: u8) -> Vec<u8> {
    let header = field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat());
    let how = if action == 0 { field(2, &number(1, 1)) } else { number(3, action) };
    field(tag, &[header, how].concat())
}

/// `CheckResponse.ok_response`.
pub(crate) fn ok(parts: &[Vec<u8>]) -> Vec<u8> {
    field(3, &parts.concat())
}

/// `CheckResponse.denied_response`; `status` as two bytes of a varint.
pub(crate) fn denied(http_status: u16, parts: &[Vec<u8>]) -> Vec<u8> {
    let low = (http_status & 0x7f) as u8 | 0x80;
    let code = [1 << 3, low, (http_status >> 7) as u8];
    field(2, &[field(1, &code), parts.concat()].concat())
}

/// `CheckResponse.dynamic_metadata` with one text.
pub(crate) fn metadata(name: &str, value: &str) -> Vec<u8> {
    let entry = [field(1, name.as_bytes()), field(2, &field(3, value.as_bytes()))].concat();
    field(4, &field(1, &entry))
}

/// A message with gRPC's prefix.
pub(crate) fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    out.extend((message.len() as u32).to_be_bytes());
    out.extend(message);
    out
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (first, rest) = bytes.split_first().expect("a varint");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return value;
        }
        shift += 7;
    }
}

/// Every value of the field that these tags lead to; numbers as their decimal text.
pub(crate) fn find(message: &[u8], path: &[u64]) -> Vec<Vec<u8>> {
    let (wanted, further) = path.split_first().expect("a path");
    let (mut rest, mut found) = (message, Vec::new());
    while !rest.is_empty() {
        let key = varint(&mut rest);
        let value = match key & 7 {
            0 => varint(&mut rest).to_string().into_bytes(),
            1 => take(&mut rest, 8),
            2 => {
                let length = varint(&mut rest) as usize;
                take(&mut rest, length)
            }
            5 => take(&mut rest, 4),
            kind => panic!("wire type {kind}"),
        };
        if key >> 3 == *wanted {
            if further.is_empty() {
                found.push(value);
            } else {
                found.extend(find(&value, further));
            }
        }
    }
    found
}

fn take(rest: &mut &[u8], length: usize) -> Vec<u8> {
    let (value, after) = rest.split_at(length);
    *rest = after;
    value.to_vec()
}

/// The one text at a path.
pub(crate) fn text(message: &[u8], path: &[u64]) -> String {
    let found = find(message, path);
    assert_eq!(found.len(), 1, "one value at {path:?}");
    String::from_utf8(found[0].clone()).unwrap()
}

/// The path of `AttributeContext.request.http` in a `CheckRequest`.
pub(crate) const HTTP: [u64; 3] = [1, 4, 2];

/// A field of the described request.
pub(crate) fn described(message: &[u8], tag: u64) -> Vec<Vec<u8>> {
    find(message, &[HTTP[0], HTTP[1], HTTP[2], tag])
}

/// A header of the described request.
pub(crate) fn described_header(message: &[u8], name: &str) -> Option<String> {
    described(message, 3)
        .iter()
        .find_map(|entry| (text(entry, &[1]) == name).then(|| text(entry, &[2])))
}
