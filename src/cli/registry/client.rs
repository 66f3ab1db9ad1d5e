//! A client of the control socket: one connection for each request.

use crate::cli::style::Output;
use crate::http1::request::Method;
use crate::http1::response::{self, ResponseHead};
use crate::http1::{Cursor, HeadLimits, Parsed};
use crate::wire::limits::CONTROL_ANSWER_MS;
use serde_json::Value as Json;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

/// Where the socket is.
pub(super) struct Client(pub(super) PathBuf);

/// What was answered.
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) text: String,
}

impl Said {
    pub(super) fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

impl Client {
    /// Sends a request and reads the whole answer.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        field: Option<(&str, &str)>,
        body: Option<&str>,
    ) -> Result<Said, String> {
        let exchange = || -> io::Result<(ResponseHead, Vec<u8>)> {
            let mut stream = self.send(method, path, field, body)?;
            // The gateway says within this time that it does not know yet.
            let patience = Duration::from_millis(CONTROL_ANSWER_MS + 5_000);
            stream.set_read_timeout(Some(patience))?;
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes)?;
            let head = head(&bytes)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            Ok((head, bytes))
        };
        let (head, bytes) = exchange().map_err(|error| self.unanswered(&error))?;
        let body = bytes.get(head.len..).unwrap_or_default();
        Ok(Said { status: head.status, text: String::from_utf8_lossy(body).into_owned() })
    }

    /// Passes on what is said for as long as it is.
    pub(super) fn stream(&self, path: &str, out: &mut Output<'_>) -> Result<(), String> {
        let mut passed = || -> io::Result<()> {
            let mut stream = self.send("GET", path, None, None)?;
            let (mut bytes, mut part) = (Vec::new(), [0; 16 << 10]);
            let mut told = None;
            loop {
                let count = stream.read(&mut part)?;
                if count == 0 {
                    return Ok(());
                }
                bytes.extend_from_slice(part.get(..count).unwrap_or_default());
                if told.is_none() {
                    told = head(&bytes)?.map(|head| bytes.drain(..head.len).count());
                }
                if told.is_some() {
                    out.writer.write_all(&bytes)?;
                    out.writer.flush()?;
                    bytes.clear();
                }
            }
        };
        passed().map_err(|error| self.unanswered(&error))
    }

    fn unanswered(&self, error: &io::Error) -> String {
        format!("{}: nobody answers: {error}", self.0.display())
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        field: Option<(&str, &str)>,
        body: Option<&str>,
    ) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.0)?;
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n");
        if let Some((name, value)) = field {
            if value.bytes().any(|byte| byte.is_ascii_control()) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = body {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.push_str(body.unwrap_or_default());
        stream.write_all(text.as_bytes())?;
        Ok(stream)
    }
}

/// The head at the beginning of what was read, once it is whole.
fn head(bytes: &[u8]) -> io::Result<Option<ResponseHead>> {
    let (mut head, limits) = (ResponseHead::default(), HeadLimits::default());
    match response::parse(bytes, Method::Get, &limits, &mut Cursor::default(), &mut head) {
        Parsed::Complete(_) => Ok(Some(head)),
        Parsed::Incomplete => Ok(None),
        Parsed::Malformed(fault) => Err(io::Error::other(fault.what())),
    }
}
