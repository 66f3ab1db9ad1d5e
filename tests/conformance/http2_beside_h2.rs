//! The frame meter beside the `h2` crate: what two honest `h2` ends say to each other passes both
//! ways, and the holes that the meter is there for are still holes. When a hole's test fails
//! because `h2` has closed it, the meter's part can go.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that fails is meant to panic"
)]

use bytes::Bytes;
use caio::http2::{AbuseKind, Meter, MeterLimits, Role};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes on their way in one direction.
type Pipe = Rc<RefCell<VecDeque<u8>>>;

/// One end of a connection in memory. Nobody is woken: the tests poll in turn.
struct End {
    read: Pipe,
    write: Pipe,
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipe = self.read.borrow_mut();
        if pipe.is_empty() {
            return Poll::Pending;
        }
        let count = pipe.len().min(into.remaining());
        let bytes: Vec<u8> = pipe.drain(..count).collect();
        into.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write.borrow_mut().extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Moves what is in `from` to `to` past a meter, in random pieces.
fn pass(from: &Pipe, to: &Pipe, meter: &mut Meter, random: &mut fastrand::Rng) {
    let bytes: Vec<u8> = from.borrow_mut().drain(..).collect();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at(random.usize(1..=rest.len()));
        meter.feed(now, 0).unwrap();
        to.borrow_mut().extend(now);
        rest = later;
    }
}

fn random_fields(random: &mut fastrand::Rng) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for _ in 0..random.usize(0..12) {
        let name = ["x-a", "x-request-id", "cookie", "te", "grpc-timeout", "accept", "date", "via"];
        let name = HeaderName::from_static(name[random.usize(0..name.len())]);
        let value = match random.u8(0..10) {
            0 => "a".repeat(random.usize(0..5000)),
            1..4 => random.u64(..).to_string(),
            _ => "again and again; q=0.5".to_owned(),
        };
        let value = if name == "te" { "trailers".to_owned() } else { value };
        fields.append(name, HeaderValue::from_str(&value).unwrap());
    }
    fields
}

/// One call with body and trailers both ways.
async fn call(
    send: h2::client::SendRequest<Bytes>,
    fields: HeaderMap,
    trailers: HeaderMap,
    body: usize,
) {
    let mut request = Request::post("http://a.example/call").body(()).unwrap();
    *request.headers_mut() = fields;
    let mut send = send.ready().await.unwrap();
    let (response, mut stream) = send.send_request(request, false).unwrap();
    stream.send_data(Bytes::from(vec![1; body]), false).unwrap();
    stream.send_trailers(trailers).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        let count = data.unwrap().len();
        body.flow_control().release_capacity(count).unwrap();
    }
    assert!(body.trailers().await.unwrap().is_some());
}

async fn answer(
    request: Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    fields: HeaderMap,
) {
    let mut body = request.into_body();
    while let Some(data) = body.data().await {
        let count = data.unwrap().len();
        body.flow_control().release_capacity(count).unwrap();
    }
    body.trailers().await.unwrap();
    let mut response = Response::new(());
    *response.headers_mut() = fields.clone();
    let mut stream = respond.send_response(response, false).unwrap();
    stream.send_data(Bytes::from_static(&[2; 3000]), false).unwrap();
    stream.send_trailers(fields).unwrap();
}

#[test]
fn what_two_honest_ends_say_passes_both_meters() {
    let mut random = fastrand::Rng::with_seed(9);
    let pipes: [Pipe; 4] = Default::default();
    let [client_out, server_in, server_out, client_in] = pipes;
    let client = End { read: Rc::clone(&client_in), write: Rc::clone(&client_out) };
    let server = End { read: Rc::clone(&server_in), write: Rc::clone(&server_out) };
    let mut down = Meter::new(MeterLimits::default(), Role::Downstream);
    let mut up = Meter::new(MeterLimits::default(), Role::Upstream);
    let mut context = Context::from_waker(Waker::noop());

    let mut client = pin!(h2::client::handshake(client));
    let mut server = pin!(h2::server::handshake(server));
    let Poll::Ready(Ok((send, mut client))) = client.as_mut().poll(&mut context) else {
        panic!("the client's handshake waits for nothing");
    };
    let mut server = loop {
        pass(&client_out, &server_in, &mut down, &mut random);
        if let Poll::Ready(done) = server.as_mut().poll(&mut context) {
            break done.unwrap();
        }
    };
    for _ in 0..400 {
        let (fields, trailers) = (random_fields(&mut random), random_fields(&mut random));
        let mut call = pin!(call(send.clone(), fields, trailers, random.usize(1..40_000)));
        let mut answering: Option<Pin<Box<dyn Future<Output = ()>>>> = None;
        let mut turns = 0;
        while call.as_mut().poll(&mut context).is_pending() {
            turns += 1;
            assert!(turns < 10_000, "the call is stuck");
            assert!(Pin::new(&mut client).poll(&mut context).is_pending());
            pass(&client_out, &server_in, &mut down, &mut random);
            if let Poll::Ready(Some(next)) = server.poll_accept(&mut context) {
                let (request, respond) = next.unwrap();
                up.sent(1);
                answering = Some(Box::pin(answer(request, respond, random_fields(&mut random))));
            }
            if let Some(future) = &mut answering
                && future.as_mut().poll(&mut context).is_ready()
            {
                answering = None;
                down.exchange_completed();
            }
            pass(&server_out, &client_in, &mut up, &mut random);
        }
    }
    assert_eq!(down.last_stream_id(), 799);
    assert!(down.fields().table_entries() > 3 && up.fields().table_entries() > 3);
    assert!(down.useless_frames() < 10 && up.useless_frames() < 10);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// GET http a.example / as a block without Huffman codes.
const HEAD: &[u8] = b"\x82\x86\x84\x01\x09a.example";

/// What `h2` alone makes of these frames: the request it surfaces, polled to its end.
fn h2_alone(frames: &[Vec<u8>]) -> Option<(Request<h2::RecvStream>, usize)> {
    let (to, from) = (Pipe::default(), Pipe::default());
    to.borrow_mut().extend(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    to.borrow_mut().extend(frame(4, 0, 0, &[]));
    to.borrow_mut().extend(frame(4, 1, 0, &[]));
    to.borrow_mut().extend(frames.concat());
    let mut context = Context::from_waker(Waker::noop());
    let end = End { read: Rc::clone(&to), write: Rc::clone(&from) };
    let mut server = pin!(h2::server::Builder::new().handshake::<_, Bytes>(end));
    let mut server = loop {
        if let Poll::Ready(done) = server.as_mut().poll(&mut context) {
            break done.unwrap();
        }
    };
    let mut found = None;
    for _ in 0..10 {
        match server.poll_accept(&mut context) {
            Poll::Ready(Some(Ok((request, respond)))) => {
                // Dropping the responder would reset the stream.
                std::mem::forget(respond);
                found = Some(request);
            }
            Poll::Ready(_) => break,
            Poll::Pending => {}
        }
    }
    let unread = to.borrow().len();
    found.map(|request| (request, unread))
}

fn meter_says(frames: &[Vec<u8>]) -> Option<AbuseKind> {
    let mut meter = Meter::new(MeterLimits::default(), Role::Downstream);
    meter.feed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0).unwrap();
    meter.feed(&frame(4, 0, 0, &[]), 0).unwrap();
    meter.feed(&frames.concat(), 0).err().map(|abuse| abuse.kind)
}

#[test]
fn h2_lets_pseudo_fields_in_trailers_pass_and_the_meter_does_not() {
    let frames =
        [frame(1, 4, 1, HEAD), frame(0, 0, 1, b"body"), frame(1, 5, 1, b"\x84\x00\x01a\x01b")];
    let (request, _) = h2_alone(&frames).unwrap();
    let mut body = request.into_body();
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(body.poll_data(&mut context), Poll::Ready(Some(Ok(_)))));
    let Poll::Ready(Ok(Some(trailers))) = body.poll_trailers(&mut context) else {
        panic!("h2 refuses pseudo-fields in trailers now");
    };
    assert_eq!(trailers.len(), 1);
    assert_eq!(meter_says(&frames), Some(AbuseKind::PseudoInTrailers));
}

#[test]
fn h2_forgets_a_malformed_field_in_a_split_block_and_the_meter_does_not() {
    let block = [HEAD, b"\x00\x0aconnection\x05close\x00\x03x-a\x03b-c"].concat();
    let whole = [frame(1, 5, 1, &block)];
    assert!(h2_alone(&whole).is_none(), "in one frame h2 resets the stream");
    assert_eq!(meter_says(&whole), None);
    // Cut inside the field behind it.
    let (first, second) = block.split_at(block.len() - 2);
    let split = [frame(1, 1, 1, first), frame(9, 4, 1, second)];
    let (request, _) = h2_alone(&split).expect("h2 refuses it in a split block now");
    assert_eq!(request.headers()["x-a"], "b-c");
    assert_eq!(meter_says(&split), Some(AbuseKind::MalformedBlock));
}

#[test]
fn h2_skips_a_self_dependent_block_and_loses_its_table_and_the_meter_does_not_let_it() {
    // The first block, on stream 1 and dependent on it, puts `x-a: first` into the table; the
    // second names that entry.
    let entering = [b"\x00\x00\x00\x01\x10", HEAD, b"\x40\x03x-a\x05first"].concat();
    let naming = [HEAD, b"\xbe"].concat();
    let frames = [frame(1, 0x25, 1, &entering), frame(1, 5, 3, &naming)];
    assert!(h2_alone(&frames).is_none(), "h2 decodes what it resets now");
    let honest = [frame(1, 5, 1, &entering[5..]), frame(1, 5, 3, &naming)];
    assert!(h2_alone(&honest).is_some());
    assert_eq!(meter_says(&frames), Some(AbuseKind::SelfDependency));
}

#[test]
fn h2_reads_floods_to_their_end_and_the_meter_does_not() {
    let ping = frame(6, 1, 0, &[0; 8]);
    let floods = [ping, frame(2, 0, 3, &[0, 0, 0, 0, 7]), frame(99, 0, 0, &[])];
    for one in floods {
        let frames: Vec<Vec<u8>> =
            std::iter::repeat_n(one, 20_000).chain([frame(1, 5, 1, HEAD)]).collect();
        let served = h2_alone(&frames);
        assert!(served.is_some_and(|(_, unread)| unread == 0), "h2 ends this flood now");
        assert!(matches!(meter_says(&frames), Some(AbuseKind::Useless(_))));
    }
}
