//! What files say of certificates while a reload that names them waits for the trail.

use crate::authorities::{Authority, Leaf, curl};
use crate::support::origin::Origin;
use crate::support::{Gateway, Scratch, eventually};
use crate::verified;

fn asked(gateway: &Gateway, who: &str) -> (bool, String) {
    let (certificate, key) = (format!("{who}.pem"), format!("{who}.key"));
    let shown = ["--cert", &*certificate, "--key", &*key];
    curl(gateway.folder(), gateway.address, "a.example", "/", &shown)
}

#[test]
fn who_is_revoked_while_a_reload_waits_for_the_trail_stays_revoked_once_it_holds() {
    let (scratch, trail, origin) = (Scratch::new(), Scratch::new(), Origin::echo());
    let (ours, callers) = (Authority::new("ours"), Authority::new("callers"));
    ours.write(&scratch, "ca");
    ours.sign(&scratch, "a", &Leaf::server(&["a.example"]));
    callers.write(&scratch, "callers");
    callers.revoke(&scratch, "callers", 4000, &[]);
    callers.sign(&scratch, "one", &Leaf::client(1));
    callers.sign(&scratch, "two", &Leaf::client(2));
    let text = |least: &str| {
        format!(
            "config = \"caio/1\"\nvocabulary = \"vocabulary.toml\"\n[process]\nworkers = 2\n\
             [audit]\ndirectory = \"{}\"\n[[services]]\ncontract = \"echo.toml\"\n\
             endpoints = [\"{}\"]\n[[listeners]]\naddress = \"127.0.0.1:0\"\n\
             [listeners.tls]\nmin_version = \"{least}\"\n\
             certificates = [{{ certificate = \"a.pem\", key = \"a.key\" }}]\n\
             client = {{ mode = \"required\", ca = [\"callers.pem\"], crl = [\"callers.crl\"] }}\n",
            trail.path().display(),
            origin.address
        )
    };
    let mut gateway = Gateway::start_in(scratch, &text("1.2"));
    for who in ["one", "two"] {
        let (done, said) = asked(&gateway, who);
        assert!(done && said.contains(" 200 "), "{said}");
    }
    let times = |what: &str| gateway.said().matches(what).count();
    gateway.limit_files("1:unlimited");
    std::fs::write(gateway.folder().join("caio.toml"), text("1.3")).unwrap();
    gateway.reload();
    let again = "its certificates were read again";
    eventually("a reload is asked for", || times(again) == 1);
    eventually("it cannot be recorded", || times("cannot be written") == 1);
    // The list that the reload has read is older than this one.
    let lists = Scratch::new();
    callers.revoke(&lists, "callers", 4000, &[1]);
    let list = gateway.folder().join("callers.crl");
    std::fs::copy(lists.path().join("callers.crl"), list).unwrap();
    eventually("the new list holds", || times(again) == 2);
    assert_eq!(times("from now on"), 0, "{}", gateway.said());
    gateway.limit_files("unlimited:unlimited");
    eventually("the reload holds", || times("from now on") == 1);
    let (done, said) = asked(&gateway, "one");
    assert!(!done && !said.contains(" 200 "), "{said}");
    let (done, said) = asked(&gateway, "two");
    assert!(done && said.contains(" 200 "), "{said}");
    gateway.assert_sound();
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let (code, said) = verified(trail.path());
    assert_eq!(code, Some(0), "{said}");
}
