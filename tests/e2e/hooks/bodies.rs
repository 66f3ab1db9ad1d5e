//! How much of a body hooks see, to the byte, in both versions and both ways to say where it ends.

use crate::hook::Hook;
use crate::support::Protocol;
use crate::support::peers::{BOTH, Content, call, full, parts, request};
use crate::{World, hooks, wire};
use hyper::body::Bytes;

const LENGTH: usize = 8;

/// A body of this length, said to be so long, or in pieces without a word.
fn body(length: usize, sized: bool) -> Content {
    let whole = Bytes::from("x".repeat(length));
    if sized {
        full(whole)
    } else {
        parts(whole.chunks(3).map(Bytes::copy_from_slice).collect(), &[])
    }
}

/// Sends it; the status.
async fn post(world: &World, protocol: Protocol, length: usize, sized: bool) -> u16 {
    let asked = request(protocol, "POST", "/allow").body(body(length, sized)).unwrap();
    let (head, ..) = call(world.gateway.address, protocol, asked).await.unwrap();
    head.status.as_u16()
}

/// What the hook was asked last: the bytes it saw of the body, and whether it was told of more.
fn seen(hook: &Hook) -> (usize, String) {
    let question = hook.asked().pop().unwrap();
    let body = wire::described(&question, 11).pop().unwrap_or_default();
    let partial = wire::described_header(&question, "x-envoy-auth-partial-body").unwrap();
    (body.len(), partial)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_longer_than_a_hook_takes_from_one_byte_more_on() {
    let hook = Hook::start().await;
    for (strict, longer) in [(false, "partial"), (true, "refuse")] {
        let more = format!("body_bytes = \"{LENGTH}B\"\nlonger_body = \"{longer}\"\n");
        let world = World::start(&hooks(hook.address, &more));
        for protocol in BOTH {
            for sized in [true, false] {
                for length in [LENGTH - 1, LENGTH, LENGTH + 1] {
                    let case = format!("{length} bytes, {protocol:?}, {sized}, {longer}");
                    let before = hook.asked().len();
                    let status = post(&world, protocol, length, sized).await;
                    if strict && length > LENGTH {
                        assert_eq!((status, hook.asked().len()), (413, before), "{case}");
                        continue;
                    }
                    assert_eq!((status, hook.asked().len()), (200, before + 1), "{case}");
                    let expected = (length.min(LENGTH), (length > LENGTH).to_string());
                    assert_eq!(seen(&hook), expected, "{case}");
                    let arrived = world.origin.requests().pop().unwrap();
                    assert_eq!(arrived.body.len(), length, "{case}");
                }
            }
        }
        world.told();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hook_of_a_route_has_its_own_length_and_strictness() {
    let (short, strict) = (Hook::start().await, Hook::start().await);
    let two = format!(
        "{}[[hooks]]\nid = \"strict\"\nkind = \"grpc\"\nendpoints = [\"{}\"]\n\
         body_bytes = \"{}B\"\nlonger_body = \"refuse\"\n",
        hooks(short.address, "body_bytes = \"4B\"\n"),
        strict.address,
        LENGTH,
    );
    let two = two.replace("hooks = [\"opa\"]", "hooks = [\"opa\", \"strict\"]");
    let world = World::start(&two);
    for protocol in BOTH {
        for sized in [true, false] {
            // Longer than what the one is sent and no longer than the other takes.
            for length in [4, 5, LENGTH] {
                assert_eq!(post(&world, protocol, length, sized).await, 200, "{length} {sized}");
                assert_eq!(seen(&short), (4, (length > 4).to_string()), "{length} {sized}");
                assert_eq!(seen(&strict), (length, "false".to_owned()), "{length} {sized}");
            }
            let before = (short.asked().len(), strict.asked().len());
            assert_eq!(post(&world, protocol, LENGTH + 1, sized).await, 413);
            assert_eq!((short.asked().len(), strict.asked().len()), before);
        }
    }
    world.told();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_a_whole_body_is_none_to_the_beginning_of_a_longer_one() {
    let hook = Hook::start().await;
    let cache = format!(
        "body_bytes = \"{LENGTH}B\"\ncache = {{ key = [\"path\", \"body\"], ttl = \"1h\" }}\n"
    );
    let world = World::start(&hooks(hook.address, &cache));
    for protocol in BOTH {
        let before = hook.asked().len();
        // In pieces: nobody says how long it is.
        for (length, asked) in [(LENGTH, 1), (LENGTH + 1, 2), (LENGTH, 2), (LENGTH + 2, 2)] {
            assert_eq!(post(&world, protocol, length, false).await, 200);
            let asked = if before == 0 { asked } else { 0 };
            assert_eq!(hook.asked().len(), before + asked, "{length} bytes over {protocol:?}");
        }
    }
    world.told();
}
