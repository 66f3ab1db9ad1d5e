//! An HTTP/1.1 parser that forgives nothing, written from RFC 9112 and sharing no code with the
//! gateway: what it refuses is malformed.

/// One response.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The message ended as its framing says.
    pub whole: bool,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The message ended as its framing says.
    pub whole: bool,
}

impl Response {
    pub fn field(&self, name: &str) -> Option<&str> {
        find(&self.fields, name)
    }
}

impl Request {
    pub fn field(&self, name: &str) -> Option<&str> {
        find(&self.fields, name)
    }
}

fn find<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
}

/// A start line, fields, and where the body starts.
type Head = (String, Vec<(String, String)>, usize);

/// The head at the front of `bytes`; `None` if it is not complete.
fn head(bytes: &[u8]) -> Result<Option<Head>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        let lines = bytes.split(|&byte| byte == b'\n');
        let lines: Vec<_> = lines.collect();
        // All but the last line are complete and have to end in CR.
        for line in lines.iter().take(lines.len() - 1) {
            if !line.ends_with(b"\r") {
                return Err("a line ends in a bare LF".into());
            }
        }
        return Ok(None);
    };
    let text = bytes[..end].split(|&byte| byte == b'\n').enumerate();
    let (mut start, mut fields) = (String::new(), Vec::new());
    let count = bytes[..end].iter().filter(|&&byte| byte == b'\n').count();
    for (at, line) in text {
        let line = match line.strip_suffix(b"\r") {
            Some(line) => line,
            None if at == count => line,
            None => return Err("a line ends in a bare LF".into()),
        };
        if line.iter().any(|&byte| byte == b'\r' || byte == 0) {
            return Err("a bare CR or a NUL in a line".into());
        }
        let line: String = line.iter().map(|&byte| char::from(byte)).collect();
        if at == 0 {
            start = line;
            continue;
        }
        let (name, value) = line.split_once(':').ok_or("a field without a colon")?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("the field name {name:?}"));
        }
        let value = value.trim_matches([' ', '\t']);
        if value.bytes().any(|byte| byte < 32 && byte != b'\t' || byte == 127) {
            return Err(format!("the value of {name}"));
        }
        fields.push((name.to_owned(), value.to_owned()));
    }
    Ok(Some((start, fields, end + 4)))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The body's bytes, how many bytes it took on the wire, and whether it is whole.
type Body = (Vec<u8>, usize, bool);

fn body(fields: &[(String, String)], rest: &[u8], until_close: bool) -> Result<Body, String> {
    let all = |wanted: &str| -> Vec<&str> {
        let same = |(name, _): &&(String, String)| name.eq_ignore_ascii_case(wanted);
        fields.iter().filter(same).map(|(_, value)| value.as_str()).collect()
    };
    let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
    match (&lengths[..], &codings[..]) {
        ([], []) if until_close => Ok((rest.to_vec(), rest.len(), true)),
        ([], []) => Ok((Vec::new(), 0, true)),
        ([length], []) => {
            if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(format!("the content length {length:?}"));
            }
            let length: usize = length.parse().map_err(|_| "a huge content length")?;
            let taken = length.min(rest.len());
            Ok((rest[..taken].to_vec(), taken, taken == length))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => chunked(rest),
        _ => Err(format!("framing by {lengths:?} and {codings:?}")),
    }
}

fn chunked(rest: &[u8]) -> Result<Body, String> {
    let (mut out, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = rest[at..].windows(2).position(|two| two == b"\r\n") else {
            return Ok((out, rest.len(), false));
        };
        let size = std::str::from_utf8(&rest[at..at + line]).map_err(|_| "a chunk size")?;
        if size.is_empty() || !size.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("the chunk size line {size:?}"));
        }
        let size = usize::from_str_radix(size, 16).map_err(|_| "a huge chunk")?;
        at += line + 2;
        if size == 0 {
            return trailers(out, rest, at);
        }
        if rest.len() < at + size + 2 {
            out.extend(&rest[at..rest.len().min(at + size)]);
            return Ok((out, rest.len(), false));
        }
        out.extend(&rest[at..at + size]);
        if &rest[at + size..at + size + 2] != b"\r\n" {
            return Err("a chunk that does not end where it says".into());
        }
        at += size + 2;
    }
}

fn trailers(out: Vec<u8>, rest: &[u8], at: usize) -> Result<Body, String> {
    if rest[at..].starts_with(b"\r\n") {
        return Ok((out, at + 2, true));
    }
    // As a head with an empty start line in front, trailers obey the same rules.
    let section = [b"\r\n", &rest[at..]].concat();
    match head(&section)? {
        Some((_, _, end)) => Ok((out, at + end - 2, true)),
        None => Ok((out, rest.len(), false)),
    }
}

/// Everything an origin was sent on one connection. The last message may be cut short.
pub fn requests(bytes: &[u8]) -> Result<Vec<Request>, String> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let Some((start, fields, at)) = head(rest)? else { break };
        let words: Vec<&str> = start.split(' ').collect();
        let [method, target, "HTTP/1.1"] = words[..] else {
            return Err(format!("the request line {start:?}"));
        };
        let legal = |byte: u8| byte > 32 && byte < 127 && byte != b'#' && byte != b'\\';
        if method.is_empty() || !method.bytes().all(is_token) {
            return Err(format!("the method {method:?}"));
        }
        let shape = target.starts_with('/') || target == "*";
        if !shape || !target.bytes().all(legal) {
            return Err(format!("the target {target:?}"));
        }
        let same = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("host");
        if fields.iter().filter(same).count() != 1 {
            return Err("not exactly one Host".into());
        }
        let (body, taken, whole) = body(&fields, &rest[at..], false)?;
        let (method, target) = (method.to_owned(), target.to_owned());
        out.push(Request { method, target, fields, body, whole });
        rest = &rest[at + taken..];
    }
    Ok(out)
}

/// How many bytes the first request takes, once it is complete.
pub fn request_bytes(bytes: &[u8]) -> Option<usize> {
    let (_, fields, at) = head(bytes).ok()??;
    let (_, taken, whole) = body(&fields, &bytes[at..], false).ok()?;
    whole.then_some(at + taken)
}

/// Everything a caller was sent on one connection, to requests that are not HEAD.
pub fn responses(bytes: &[u8]) -> Result<Vec<Response>, String> {
    let (mut out, mut rest) = (Vec::new(), bytes);
    while !rest.is_empty() {
        let Some((start, fields, at)) = head(rest)? else {
            return Err("an incomplete head".into());
        };
        let (version, status) = start.split_once(' ').ok_or("no status line")?;
        let status = status.get(..3).and_then(|digits| digits.parse().ok()).ok_or("no status")?;
        if version != "HTTP/1.1" || !(100..600).contains(&status) {
            return Err(format!("the status line {start:?}"));
        }
        let bare = status < 200 || status == 204 || status == 304;
        let framed = if bare { (Vec::new(), 0, true) } else { body(&fields, &rest[at..], true)? };
        let (body, taken, whole) = framed;
        out.push(Response { status, fields, body, whole });
        rest = &rest[at + taken..];
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strict_parser_takes_what_is_right_and_nothing_else() {
        let good = b"POST /a HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n\
                     3\r\nabc\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n";
        let found = requests(good).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].body, b"abc");
        assert!(found[0].whole && found[1].whole);
        assert!(!requests(&good[..70]).unwrap()[0].whole);
        for bad in [
            "GET / HTTP/1.1\nHost: b\n\n",
            "GET / HTTP/1.1\r\nHost: b\r\nX : y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: b\r\n y\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: b\rc\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET /#a HTTP/1.1\r\nHost: b\r\n\r\n",
            "GET /a b HTTP/1.1\r\nHost: b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: b\r\nContent-Length: +1\r\n\r\na",
            "GET / HTTP/1.1\r\nHost: b\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        ] {
            assert!(requests(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
