//! A landscape that changes while hooks are asked.

use crate::hook::Hook;
use crate::support::peers::BOTH;
use crate::support::{PATIENCE, Protocol};
use crate::{FACTS, World, get, hooks, wire};
use caio::audit::asked::Came;
use std::time::{Duration, Instant};

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "in vain: {what}");
        let _ = tokio::time::timeout(Duration::from_millis(10), std::future::pending::<()>()).await;
    }
}

/// The landscape that other calls on the one worker are decided by.
async fn present(world: &World) -> String {
    let (status, fields, _) = get(world, Protocol::Http1, "/allow", &[]).await;
    assert_eq!(status, 200);
    snapshot(fields["caio-decision"].to_str().unwrap())
}

fn snapshot(decision: &str) -> String {
    let named = decision.split("; ").find(|part| part.starts_with("snapshot="));
    named.expect("a decision names its snapshot").to_owned()
}

/// Changes the landscape, and waits until the worker has adopted it.
async fn change(world: &World, number: &mut usize) -> String {
    *number += 1;
    let file = world.gateway.folder().join("caio.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let route = format!(
        "\n[[routes]]\nid = \"r{number}\"\nhost = \"r{number}.example\"\n\
         operation = \"GET /more\"\ncapability = \"test.echo/1\"\n"
    );
    std::fs::write(&file, text + &route).unwrap();
    let before = present(world).await;
    world.gateway.reload();
    let mut now = before.clone();
    until("another landscape is adopted", async || {
        now = present(world).await;
        now != before
    })
    .await;
    now
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_hooks_said_under_a_landscape_that_is_gone_counts_for_nothing() {
    let hook = Hook::start().await;
    let world = World::start(&hooks(hook.address, "timeout = \"10s\"\n"));
    let mut number = 0;
    let held = || {
        let asked = hook.asked();
        asked.iter().filter(|it| wire::described(it, 4) == [b"/held"]).count()
    };
    for protocol in BOTH {
        // Once: it is asked again under the new one, and decided by that.
        let asked = held();
        let ((status, fields, _), now) = tokio::join!(get(&world, protocol, "/held", &[]), async {
            until("it is asked", async || held() == asked + 1).await;
            let now = change(&world, &mut number).await;
            hook.release();
            until("it is asked again", async || held() == asked + 2).await;
            hook.release();
            now
        });
        assert_eq!(status, 200, "{protocol:?}");
        assert_eq!(snapshot(fields["caio-decision"].to_str().unwrap()), now, "{protocol:?}");
        // Each time: it is refused, and not asked without an end.
        let asked = held();
        let ((status, fields, _), ()) = tokio::join!(get(&world, protocol, "/held", &[]), async {
            for times in 1..=2 {
                until("it is asked", async || held() == asked + times).await;
                change(&world, &mut number).await;
                hook.release();
            }
        });
        assert_eq!((status, held()), (503, asked + 2), "{protocol:?}");
        assert_eq!(fields["caio-refusal"], "governance.unavailable");
    }
    let came = world.told().came();
    let unasked = came.iter().filter(|came| came.is_empty()).count();
    assert_eq!(unasked, 2, "a refusal tells nothing of what does not count");
    assert!(came.iter().flatten().all(|came| *came == Came::Allow));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_decides_only_since_a_reload_is_no_hook_s_to_change() {
    let hook = Hook::start().await;
    let world = World::start(&hooks(hook.address, FACTS));
    let (status, _, _) = get(&world, Protocol::Http1, "/change/vault", &[]).await;
    assert_eq!(status, 200, "the hook says who the user is");
    let file = world.gateway.folder().join("caio.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let route = "\n[[routes]]\nid = \"ann\"\nhost = \"ann.example\"\noperation = \"GET /x\"\n\
                 headers = { x-user = \"ann\" }\ncapability = \"test.echo/1\"\n";
    std::fs::write(&file, text + route).unwrap();
    world.gateway.reload();
    until("the hook may not say it any more", async || {
        let (status, fields, _) = get(&world, Protocol::Http1, "/change/vault", &[]).await;
        if status == 503 {
            assert_eq!(fields["caio-refusal"], "governance.unavailable");
        }
        status == 503
    })
    .await;
    world.told();
}

/// Has this process file read; whether it holds now.
async fn reload(world: &World, text: &str) -> bool {
    std::fs::write(world.gateway.folder().join("caio.toml"), text).unwrap();
    let count = |what: &str| world.gateway.said().matches(what).count();
    let (fresh, wrong) = (count("from now on"), count("nothing was changed"));
    world.gateway.reload();
    until("the files are read", async || {
        count("from now on") > fresh || count("nothing was changed") > wrong
    })
    .await;
    count("from now on") > fresh
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_come_change_and_go_by_a_reload_and_no_call_fails() {
    let (one, two) = (Hook::start().await, Hook::start().await);
    let world = World::start("");
    let file = world.gateway.folder().join("caio.toml");
    let none = std::fs::read_to_string(&file).unwrap();
    let [first, second] =
        [&one, &two].map(|it| none.clone() + &hooks(it.address, "timeout = \"10s\"\n"));
    let statuses = async |path: &str| {
        let mut all = Vec::new();
        for protocol in BOTH {
            all.push(get(&world, protocol, path, &[]).await.0);
        }
        all
    };
    assert_eq!(statuses("/deny").await, [200, 200], "nobody is asked");
    assert!(reload(&world, &first).await, "{}", world.gateway.said());
    until("it is asked", async || statuses("/deny").await == [401, 401]).await;
    assert_eq!(statuses("/allow").await, [200, 200]);
    // A call that waits for one that is gone is decided by who is there then.
    let held =
        |hook: &Hook| hook.asked().iter().filter(|it| wire::described(it, 4) == [b"/held"]).count();
    let call = get(&world, Protocol::Http1, "/held", &[]);
    let ((status, _, _), ()) = tokio::join!(call, async {
        until("the first is asked", async || held(&one) == 1).await;
        assert!(reload(&world, &second).await, "{}", world.gateway.said());
        one.release();
        until("the second is asked", async || held(&two) == 1).await;
        two.release();
    });
    assert_eq!(status, 200);
    let asked = one.asked().len();
    assert_eq!(statuses("/allow").await, [200, 200]);
    assert_eq!(one.asked().len(), asked, "the first is asked no more");
    // What cannot be reached as it is written refuses all.
    let wrong = second.replace("timeout", "tls = { ca = [\"gone.pem\"] }\ntimeout");
    assert!(!reload(&world, &wrong).await);
    let line = wrong.lines().position(|line| line.starts_with("tls")).unwrap() + 1;
    let told = format!("caio.toml:{line}:7: hook `");
    world.gateway.tells(&told);
    assert_eq!(statuses("/deny").await, [401, 401]);
    assert!(reload(&world, &none).await, "{}", world.gateway.said());
    until("nobody is asked", async || statuses("/deny").await == [200, 200]).await;
    let asked = two.asked().len();
    assert_eq!(statuses("/allow").await, [200, 200]);
    assert_eq!(two.asked().len(), asked);
    world.told();
}
