//! A caller that tells how it was dealt with: answered, turned away by TLS, or left.

use crate::support::{PATIENCE, strict};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// How it ended for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With a whole answer: status, `CAIO-Refusal`, `CAIO-Decision`.
    Answered(u16, Option<String>, Option<String>),
    /// With an alert, before any HTTP.
    Alert,
    /// With the connection's end, and how that came.
    Ended(String),
}

impl Outcome {
    pub(crate) fn is_served(&self) -> bool {
        matches!(self, Self::Answered(200, None, _))
    }
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

pub(crate) struct Caller {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    failed: Option<io::Error>,
}

impl Caller {
    /// A connection, secured with the first bytes that are sent where there is a configuration.
    pub(crate) fn open(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Self {
        let plain = TcpStream::connect_timeout(&address, PATIENCE).expect("the gateway accepts");
        plain.set_nodelay(true).unwrap();
        plain.set_read_timeout(Some(PATIENCE)).unwrap();
        plain.set_write_timeout(Some(PATIENCE)).unwrap();
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(plain),
            Some(tls) => {
                let name = ServerName::try_from("a.example").unwrap();
                let secure = ClientConnection::new(Arc::clone(tls), name).unwrap();
                Box::new(StreamOwned::new(secure, plain))
            }
        };
        Self { stream, received: Vec::new(), failed: None }
    }

    /// Sends; what hinders it shows in the outcome.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let sent = self.stream.write_all(bytes).and_then(|()| self.stream.flush());
        if let Err(error) = sent {
            self.failed.get_or_insert(error);
        }
    }

    /// Reads up to these bytes.
    pub(crate) fn until(&mut self, marker: &[u8]) {
        while !self.received.windows(marker.len()).any(|at| at == marker) {
            let more = self.read().expect("it is answered");
            assert!(more, "it ended: {}", String::from_utf8_lossy(&self.received));
        }
    }

    /// Reads one whole answer, or whatever comes instead.
    pub(crate) fn outcome(&mut self) -> Outcome {
        loop {
            if self.received.windows(4).any(|four| four == b"\r\n\r\n") {
                let all = match strict::responses(&self.received) {
                    Ok(all) => all,
                    Err(why) => return Outcome::Ended(format!("what came is malformed: {why}")),
                };
                if let Some(answer) = all.into_iter().find(|it| it.status >= 200 && it.whole) {
                    self.received.clear();
                    let field = |name| answer.field(name).map(str::to_owned);
                    let (code, decision) = (field("caio-refusal"), field("caio-decision"));
                    return Outcome::Answered(answer.status, code, decision);
                }
            }
            match self.read() {
                Ok(true) => {}
                Ok(false) => return self.end(None),
                Err(error) => return self.end(Some(error)),
            }
        }
    }

    fn end(&mut self, error: Option<io::Error>) -> Outcome {
        let errors = [self.failed.take(), error];
        let is_alert = |error: &io::Error| {
            let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
            matches!(cause, Some(rustls::Error::AlertReceived(_)))
        };
        if self.received.is_empty() && errors.iter().flatten().any(is_alert) {
            return Outcome::Alert;
        }
        let half = String::from_utf8_lossy(&self.received).into_owned();
        Outcome::Ended(format!("{errors:?} behind `{half}`"))
    }

    /// Whether anything came.
    fn read(&mut self) -> io::Result<bool> {
        let mut chunk = [0; 16_384];
        let count = self.stream.read(&mut chunk)?;
        self.received.extend(&chunk[..count]);
        Ok(count > 0)
    }
}
