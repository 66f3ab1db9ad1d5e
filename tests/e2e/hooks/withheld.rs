//! Fields that a listener withholds from services, and what a hook may say under their names.

use crate::hook::Hook;
use crate::support::origin::Origin;
use crate::support::peers::{BOTH, call, empty, request};
use crate::support::{Gateway, Scratch};
use crate::{ECHO, VOCABULARY, hooks, values};
use sha2::{Digest, Sha256};

const KEY: &str = "caio_0123456789abcdef0123456789abcdef";

fn start(origin: &Origin, kept: &Scratch, hook: &Hook) -> Gateway {
    let hash: String = Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
    let keys = format!(
        "[[keys]]\nprincipal = \"billing\"\nhash = \"sha256:{hash}\"\nowner = \"payments\"\n"
    );
    let caio = format!(
        "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n[process]\nworkers = 1\n\
         [[listeners]]\naddress = \"127.0.0.1:0\"\nidentify = [\"keys\"]\n\
         [[identities]]\nname = \"keys\"\nkind = \"api_key\"\nfile = \"keys.toml\"\n\
         [policy]\ndefault = \"open\"\n[audit]\ndirectory = \"{}\"\n\
         [[services]]\ncontract = \"echo.toml\"\nendpoints = [\"{}\"]\n{}",
        kept.path().join("trail").display(),
        origin.address,
        hooks(hook.address, ""),
    );
    Gateway::start_on(&[
        ("caio.toml", &caio),
        ("vocabulary.toml", VOCABULARY),
        ("echo.toml", ECHO),
        ("keys.toml", &keys),
    ])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_speaks_under_the_name_of_a_withheld_credential_and_never_hands_it_on() {
    let (origin, kept, hook) = (Origin::echo(), Scratch::new(), Hook::start().await);
    let mut gateway = start(&origin, &kept, &hook);
    for protocol in BOTH {
        for (path, status, told) in [
            ("/allow", 200, &[][..]),
            // As a filter behind the one that took it out: its own word arrives, alone.
            ("/exchanged", 200, &["internal"]),
            ("/appended", 200, &["internal"]),
            // What is withheld is not there.
            ("/absent", 200, &["internal"]),
            ("/present", 200, &[]),
            ("/echoed", 503, &[]),
            ("/wrapped", 503, &[]),
        ] {
            let before = origin.requests().len();
            let asked = request(protocol, "GET", path).header("x-api-key", KEY);
            let asked = asked.body(empty()).unwrap();
            let (head, ..) = call(gateway.address, protocol, asked).await.unwrap();
            assert_eq!(head.status.as_u16(), status, "{path} over {protocol:?}");
            if status == 200 {
                let arrived = origin.requests().pop().unwrap();
                assert_eq!(values(&arrived, "x-api-key"), told, "{path} over {protocol:?}");
            } else {
                assert_eq!(head.headers["caio-refusal"], "governance.unavailable");
                assert_eq!(origin.requests().len(), before, "{path}");
            }
        }
    }
    assert!(!origin.has_seen(KEY.as_bytes()), "no service has seen the key");
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    crate::after::verified(&kept.path().join("trail"));
}
