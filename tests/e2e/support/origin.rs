//! An HTTP/1.1 origin that records every byte of every connection and answers as told.

use super::{PATIENCE, strict};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// What an origin sends back to one request.
pub struct Answer {
    pub bytes: Vec<u8>,
    /// The connection ends behind it.
    pub close: bool,
}

impl Answer {
    /// A plain answer on a connection that stays open.
    pub fn ok() -> Self {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec();
        Self { bytes, close: false }
    }

    /// Exactly these bytes on a connection that stays open.
    pub fn kept(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), close: false }
    }

    /// A 200 with `length` bytes of content, then the end.
    pub fn large(length: usize) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        Self::raw([head.as_bytes(), &vec![b'x'; length]].concat())
    }

    /// Exactly these bytes, then the end.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), close: true }
    }
}

type Script = dyn Fn(&strict::Request) -> Answer + Send + Sync;
type Records = Arc<Mutex<Vec<Vec<u8>>>>;

/// The origin, listening until dropped.
pub struct Origin {
    pub address: SocketAddr,
    records: Records,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Origin {
    /// Answers 200 to everything.
    pub fn echo() -> Self {
        Self::scripted(|_| Answer::ok())
    }

    /// Answers each complete request with what `script` says.
    pub fn scripted(script: impl Fn(&strict::Request) -> Answer + Send + Sync + 'static) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
    }

    /// The same where somebody listens already.
    pub fn on(
        listener: TcpListener,
        script: impl Fn(&strict::Request) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let records = Records::default();
        let stop = Arc::new(AtomicBool::new(false));
        let script: Arc<Script> = Arc::new(script);
        let (kept, stopped) = (Arc::clone(&records), Arc::clone(&stop));
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let (kept, script) = (Arc::clone(&kept), Arc::clone(&script));
                std::thread::spawn(move || serve(stream, &kept, &*script));
            }
        });
        Self { address, records, stop, accepting: Some(accepting) }
    }

    /// Every byte received so far, by connection.
    pub fn records(&self) -> Vec<Vec<u8>> {
        self.records.lock().unwrap().clone()
    }

    /// Whether `marker` has arrived anywhere.
    pub fn has_seen(&self, marker: &[u8]) -> bool {
        self.records().iter().any(|bytes| bytes.windows(marker.len()).any(|at| at == marker))
    }

    /// Every request received so far; fails the test on the first malformed byte.
    pub fn requests(&self) -> Vec<strict::Request> {
        let parse = |bytes: &Vec<u8>| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            strict::requests(bytes).unwrap_or_else(|why| panic!("{why} at the origin:\n{text}"))
        };
        self.records().iter().flat_map(parse).collect()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn serve(mut stream: TcpStream, records: &Records, script: &Script) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_nodelay(true);
    let place = {
        let mut records = records.lock().unwrap();
        records.push(Vec::new());
        records.len() - 1
    };
    let (mut pending, mut chunk) = (Vec::new(), vec![0; 16_384]);
    while let Ok(count) = stream.read(&mut chunk) {
        if count == 0 {
            break;
        }
        records.lock().unwrap()[place].extend(&chunk[..count]);
        pending.extend(&chunk[..count]);
        while let Some(bytes) = strict::request_bytes(&pending) {
            let request = strict::requests(&pending[..bytes]);
            pending.drain(..bytes);
            let answer = match request.as_deref() {
                Ok([request, ..]) => script(request),
                // Malformed: the record tells, and the test fails on it.
                _ => Answer::raw("HTTP/1.1 500 Malformed At Origin\r\nContent-Length: 0\r\n\r\n"),
            };
            if stream.write_all(&answer.bytes).is_err() || answer.close {
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
        }
    }
}
