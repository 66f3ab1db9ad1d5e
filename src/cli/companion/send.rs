//! Decisions on their way to a companion: how many of them, from the first on, it has taken.

use crate::config::companion::Companion;
use crate::io::clock::within_ms;
use crate::io::duplex::Duplex;
use crate::io::ring;
use crate::io::stream::Stream;
use crate::proxy::secure::Towards;
use crate::proxy::unary::{self, Called};
use crate::wire::limits::HOOK_ANSWER_BYTES_MAX;
use bytes::Bytes;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::sync::Arc;

/// Whom decisions are sent to.
pub(super) struct Recipient {
    pub(super) companion: Companion,
    /// How it is reached over TLS; `None` is plain.
    pub(super) towards: Option<Arc<Towards>>,
}

impl Recipient {
    fn authority(&self) -> String {
        let Companion { authority, endpoint, .. } = &self.companion;
        authority.clone().unwrap_or_else(|| endpoint.to_string())
    }

    /// What happens within the companion's time, which begins now.
    async fn timely<T>(&self, what: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        let done = within_ms(self.companion.timeout_ms, what).await;
        done.unwrap_or_else(|| Err("it did not take them in time".to_owned()))
    }

    async fn connect(&self) -> Result<Rc<Stream>, String> {
        let endpoint = self.companion.endpoint;
        let stream = Stream::connect(endpoint).await;
        let mut stream = stream.map_err(|error| format!("it cannot be reached: {error}"))?;
        if let Some(towards) = &self.towards {
            let insecure = || "it cannot be told from anybody else".to_owned();
            let name = towards.name(endpoint.ip()).ok_or_else(insecure)?;
            // Boxed: a handshake's state is large, and most companions need none.
            let shaken = Box::pin(stream.secure_towards(towards.config(), name)).await;
            shaken.ok().filter(|secured| towards.accepts(secured)).ok_or_else(insecure)?;
        }
        Ok(Rc::new(stream))
    }

    /// Posts lines; a 2xx takes them all.
    ///
    /// # Errors
    /// Why they were not taken.
    pub(super) fn post(&self, lines: &[u8]) -> Result<(), String> {
        on_a_ring(self.timely(self.posted(lines)))
    }

    async fn posted(&self, lines: &[u8]) -> Result<(), String> {
        let stream = self.connect().await?;
        let mut message = format!(
            "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-ndjson\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.companion.path,
            self.authority(),
            lines.len()
        )
        .into_bytes();
        message.extend_from_slice(lines);
        let (sent, _) = stream.write(message, 0).await;
        sent.map_err(|error| format!("the connection ended: {error}"))?;
        let mut answer = Vec::with_capacity(HOOK_ANSWER_BYTES_MAX);
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            if answer.len() == answer.capacity() {
                return Err("its answer is too large".to_owned());
            }
            let (read, back) = stream.read(answer).await;
            answer = back;
            if !matches!(read, Ok(1..)) {
                return Err("it ended the connection without an answer".to_owned());
            }
        }
        let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
        let status = line.strip_prefix(b"HTTP/1.1 ").or_else(|| line.strip_prefix(b"HTTP/1.0 "));
        match status.and_then(|status| status.first_chunk::<3>()) {
            Some([b'2', _, _]) => Ok(()),
            Some(other) => Err(format!("it answered {}", other.escape_ascii())),
            None => Err("it does not speak HTTP/1.1".to_owned()),
        }
    }

    /// Calls `Check` for each message, one after the other, each within the companion's time; an OK
    /// of gRPC takes it, whatever the answer says. `taken` is told so after each.
    ///
    /// # Errors
    /// Why one was not taken; or why `taken` does not want to go on.
    pub(super) fn check(
        &self,
        messages: Vec<Vec<u8>>,
        mut taken: impl FnMut() -> Result<(), String>,
    ) -> Result<(), String> {
        on_a_ring(async {
            let shaken = self.timely(async {
                let stream = self.connect().await?;
                let duplex = Duplex::new(Rc::clone(&stream), (), Vec::new());
                let mut builder = h2::client::Builder::new();
                let shaken = builder.enable_push(false).handshake::<_, Bytes>(duplex).await;
                Ok((stream, shaken.map_err(|error| error.to_string())?))
            });
            let (stream, (mut sender, connection)) = shaken.await?;
            let driving = monoio::spawn(async move {
                // Its end shows in the calls.
                let _ = connection.await;
            });
            let mut went = Ok(());
            for message in messages {
                went = self.timely(self.call(&mut sender, message.into())).await;
                went = went.and_then(|()| taken());
                if went.is_err() {
                    break;
                }
            }
            drop(sender);
            stream.abort();
            driving.await;
            went
        })
    }

    async fn call(
        &self,
        sender: &mut h2::client::SendRequest<Bytes>,
        message: Bytes,
    ) -> Result<(), String> {
        let ended = |error: h2::Error| format!("the connection ended: {error}");
        let (authority, timeout_ms) = (self.authority(), self.companion.timeout_ms);
        let secure = self.towards.is_some();
        let head = unary::head(Called { authority: &authority, secure, timeout_ms });
        let head = head.map_err(|why| why.to_string())?;
        poll_fn(|cx| sender.poll_ready(cx)).await.map_err(ended)?;
        let (response, mut stream) = sender.send_request(head, false).map_err(ended)?;
        unary::send_all(&mut stream, message).await.map_err(|why| why.to_string())?;
        unary::receive(response).await.map(drop).map_err(|why| why.to_string())
    }
}

/// Runs it on a ring of this thread's own.
fn on_a_ring(what: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    ring::run(what).unwrap_or_else(|error| Err(error.to_string()))
}
