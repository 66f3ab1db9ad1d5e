//! A second reading of the RFCs: slow, obvious, strict, and sharing nothing with the codec.
//!
//! It takes whole messages as one string of bytes and says what they are, or why they are not.

/// A message as its grammar says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// The start line's three parts.
    pub(crate) start: [Vec<u8>; 3],
    /// Names in lower case, and values.
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// The content, chunks put together.
    pub(crate) content: Vec<u8>,
}

/// Why bytes are not a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Not {
    /// They may become one with more bytes.
    Whole,
    /// They never will.
    Legal(String),
}

fn illegal<T>(why: &str, what: &[u8]) -> Result<T, Not> {
    Err(Not::Legal(format!("{why}: {:?}", String::from_utf8_lossy(what))))
}

/// Cuts one line off: its bytes without CRLF, and the rest.
fn line(bytes: &[u8]) -> Result<(&[u8], &[u8]), Not> {
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' => return illegal("LF without CR", bytes),
            b'\r' if bytes.get(at + 1) == Some(&b'\n') => {
                return Ok((&bytes[..at], &bytes[at + 2..]));
            }
            b'\r' if at + 1 < bytes.len() => return illegal("CR without LF", bytes),
            _ => {}
        }
    }
    Err(Not::Whole)
}

fn token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

fn text(value: &[u8]) -> bool {
    value.iter().all(|b| *b == b'\t' || (0x20..0x7f).contains(b) || *b >= 0x80)
}

fn trim(value: &[u8]) -> &[u8] {
    let blank = |b: &u8| *b == b' ' || *b == b'\t';
    let Some(start) = value.iter().position(|b| !blank(b)) else { return b"" };
    let end = value.iter().rposition(|b| !blank(b)).unwrap();
    &value[start..=end]
}

/// RFC 3986: `pchar`s, `/` and in the query `?`; each `%` with two digits.
fn uri_bytes(text: &[u8]) -> bool {
    let mut at = 0;
    while at < text.len() {
        let b = text[at];
        if b == b'%' {
            if !text.get(at + 1..at + 3).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) {
                return false;
            }
            at += 3;
            continue;
        }
        if !(b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&b)) {
            return false;
        }
        at += 1;
    }
    true
}

/// A request a gateway may send: origin form or `*`, no dot segments, nothing encoded that splits.
fn target(method: &[u8], text: &[u8]) -> bool {
    if text == b"*" {
        return method == b"OPTIONS";
    }
    let path = text.split(|b| *b == b'?').next().unwrap();
    let lower = path.to_ascii_lowercase();
    let has = |needle: &[u8]| lower.windows(needle.len()).any(|w| w == needle);
    path.first() == Some(&b'/')
        && uri_bytes(text)
        && !has(b"%2f")
        && !has(b"%5c")
        && !has(b"%00")
        && !has(b"%2e")
        && !path.split(|b| *b == b'/').any(|segment| segment == b"." || segment == b"..")
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn fields(mut bytes: &[u8]) -> Result<(Fields, &[u8]), Not> {
    let mut found = Vec::new();
    loop {
        let (one, rest) = line(bytes)?;
        bytes = rest;
        if one.is_empty() {
            return Ok((found, bytes));
        }
        let Some(colon) = one.iter().position(|b| *b == b':') else {
            return illegal("no colon", one);
        };
        let (name, value) = (&one[..colon], trim(&one[colon + 1..]));
        if !token(name) || !text(value) {
            return illegal("field", one);
        }
        found.push((name.to_ascii_lowercase(), value.to_vec()));
    }
}

/// The values of the fields called `name`.
pub(crate) fn all<'a>(fields: &'a [(Vec<u8>, Vec<u8>)], name: &str) -> Vec<&'a [u8]> {
    fields.iter().filter(|(n, _)| n == name.as_bytes()).map(|(_, v)| v.as_slice()).collect()
}

/// Chunks, their extensions passed over: the content, the trailers and the rest.
pub(crate) fn chunks(mut bytes: &[u8]) -> Result<(Vec<u8>, Fields, &[u8]), Not> {
    let mut content = Vec::new();
    loop {
        let (head, rest) = line(bytes)?;
        let digits = head.iter().take_while(|b| b.is_ascii_hexdigit()).count();
        if digits == 0 || digits > 15 || !extensions(&head[digits..]) {
            return illegal("chunk head", head);
        }
        let size = std::str::from_utf8(&head[..digits]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            let (trailers, rest) = fields(rest)?;
            return Ok((content, trailers, rest));
        }
        if rest.len() < size {
            return Err(Not::Whole);
        }
        content.extend_from_slice(&rest[..size]);
        let (end, after) = line(&rest[size..])?;
        if !end.is_empty() {
            return illegal("chunk end", end);
        }
        bytes = after;
    }
}

/// `*( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )`, without the first BWS: there
/// is none between a size and what follows it.
fn extensions(mut rest: &[u8]) -> bool {
    let blanks = |text: &[u8]| text.iter().take_while(|b| **b == b' ' || **b == b'\t').count();
    let tokens = |text: &[u8]| text.iter().take_while(|b| token(&[**b])).count();
    let mut first = true;
    while let [b';', after @ ..] = if first { rest } else { &rest[blanks(rest)..] } {
        first = false;
        rest = &after[blanks(after)..];
        let name = tokens(rest);
        if name == 0 {
            return false;
        }
        rest = &rest[name..];
        let equals = &rest[blanks(rest)..];
        let [b'=', value @ ..] = equals else { continue };
        let value = &value[blanks(value)..];
        rest = if let [b'"', quoted @ ..] = value {
            let mut at = 0;
            loop {
                match quoted.get(at) {
                    Some(b'"') => break,
                    Some(b'\\') if quoted.get(at + 1).is_some_and(|b| text(&[*b])) => at += 2,
                    Some(b) if *b != b'\\' && text(&[*b]) => at += 1,
                    _ => return false,
                }
            }
            &quoted[at + 1..]
        } else {
            let length = tokens(value);
            if length == 0 {
                return false;
            }
            &value[length..]
        };
    }
    rest.is_empty()
}

/// Reads one request a gateway sent, and the bytes after it.
pub(crate) fn request(bytes: &[u8]) -> Result<(Message, &[u8]), Not> {
    let (first, rest) = line(bytes)?;
    let words: Vec<&[u8]> = first.split(|b| *b == b' ').collect();
    let [method, path, version] = words[..] else { return illegal("request line", first) };
    if !token(method) || !target(method, path) || version != b"HTTP/1.1" {
        return illegal("request line", first);
    }
    let (found, rest) = fields(rest)?;
    if all(&found, "host").len() != 1 {
        return illegal("host", first);
    }
    let (content, rest) = body(&found, rest, false)?;
    let start = [method.to_vec(), path.to_vec(), version.to_vec()];
    Ok((Message { start, fields: found, content }, rest))
}

/// Reads one response head with its body; `bodiless` where the request or the status allow none.
pub(crate) fn response(bytes: &[u8], head_request: bool) -> Result<(Message, &[u8]), Not> {
    let (first, rest) = line(bytes)?;
    let mut words = first.splitn(3, |b| *b == b' ');
    let [version, status, reason] =
        [(); 3].map(|()| words.next().map(<[u8]>::to_vec).unwrap_or_default());
    let digits = status.len() == 3 && status.iter().all(u8::is_ascii_digit);
    if version != b"HTTP/1.1" || !digits || !(b'1'..=b'5').contains(&status[0]) || !text(&reason) {
        return illegal("status line", first);
    }
    let (found, rest) = fields(rest)?;
    let bodiless = head_request || status[0] == b'1' || status == b"204" || status == b"304";
    let (content, rest) = if bodiless { (Vec::new(), rest) } else { body(&found, rest, true)? };
    Ok((Message { start: [version, status, reason], fields: found, content }, rest))
}

fn body<'a>(
    found: &[(Vec<u8>, Vec<u8>)],
    rest: &'a [u8],
    until_close: bool,
) -> Result<(Vec<u8>, &'a [u8]), Not> {
    match (&all(found, "content-length")[..], &all(found, "transfer-encoding")[..]) {
        ([], []) if until_close => Ok((rest.to_vec(), b"")),
        ([], []) => Ok((Vec::new(), rest)),
        ([length], []) if !length.is_empty() && length.iter().all(u8::is_ascii_digit) => {
            let length: u64 = std::str::from_utf8(length).unwrap().parse().unwrap();
            let length = usize::try_from(length).unwrap();
            if rest.len() < length {
                return Err(Not::Whole);
            }
            Ok((rest[..length].to_vec(), &rest[length..]))
        }
        ([], [b"chunked"]) => chunks(rest).map(|(content, _, rest)| (content, rest)),
        other => illegal("framing", format!("{other:?}").as_bytes()),
    }
}
