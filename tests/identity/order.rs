//! Which of several credentials counts.

use crate::support::{Key, NOW_S, Shown, World, api_keys, claims, identity, jwt, mesh};
use caio::identity::{Identified, IdentityError, Method, Selected, merge, select};
use serde_json::json;
use std::sync::Arc;

fn named(id: &str) -> Arc<Identified> {
    Arc::new(Identified {
        id: id.into(),
        method: Method::PeerCertificate,
        evidence: [0; 16],
        facts: Vec::new(),
        from_s: 0,
        expires_s: Some(NOW_S + 1),
    })
}

/// Every set of three identities, in every order, with and without `anonymous`, and for each what
/// it shows: nothing, a valid credential, an invalid one, one that cannot be checked.
#[test]
fn one_invalid_refuses_else_the_first_listed_counts_else_the_address() {
    let identities = [mesh(), api_keys("keys"), identity("corp", jwt())];
    let names = ["mesh", "keys", "corp"];
    let orders: Vec<Vec<usize>> = (0..3)
        .flat_map(|a| (0..3).map(move |b| (a, b)))
        .flat_map(|(a, b)| (0..3).map(move |c| vec![a, b, c]))
        .flat_map(|order| (0..4).map(move |length| order[..length].to_vec()))
        .filter(|order| (1..order.len()).all(|at| !order[..at].contains(&order[at])))
        .collect();
    let mut count = 0;
    for order in &orders {
        for anonymous in [false, true] {
            let mut listed: Vec<&str> = order.iter().map(|at| names[*at]).collect();
            listed.extend(anonymous.then_some("anonymous"));
            let world = World::new(&identities, &listed);
            for states in 0..4_usize.pow(3) {
                let state = |at: usize| states / 4_usize.pow(u32::try_from(at).unwrap()) % 4;
                // In the order of their numbers, whatever the listener's is.
                let shown: Vec<_> = (0..3)
                    .filter(|at| order.contains(at))
                    .filter_map(|at| match state(at) {
                        0 => None,
                        1 => Some(Ok((u16::try_from(at).unwrap(), named(names[at])))),
                        2 => Some(Err(IdentityError::Invalid("bad"))),
                        _ => Some(Err(IdentityError::Unavailable(u16::try_from(at).unwrap()))),
                    })
                    .collect();
                let wrong = shown.iter().find_map(|it| it.as_ref().err().copied());
                let first = order.iter().find(|at| state(**at) == 1);
                let expected = match (wrong, first) {
                    (Some(error), _) => Err(error),
                    (None, Some(at)) => {
                        Ok(Selected::Principal(u16::try_from(*at).unwrap(), named(names[*at])))
                    }
                    (None, None) if anonymous => Ok(Selected::Address),
                    (None, None) => Err(IdentityError::Missing),
                };
                assert_eq!(select(&world.order, shown), expected, "{order:?} {states}");
                count += 1;
            }
        }
    }
    assert!(count > 2000, "{count}");
    // An identity that is not listed is never the principal.
    let world = World::new(&identities, &["mesh", "anonymous"]);
    assert!(select(&world.order, [Ok((1, named("keys")))]).is_err());
}

/// The same through real credentials: each of three is absent, valid or invalid.
#[test]
fn a_request_with_several_credentials_is_judged_by_all_of_them() {
    let key = Key::ed25519();
    let header = r#"{"alg":"EdDSA","kid":"k1"}"#;
    let token = key.token(header, &claims().to_string());
    let secret = "caio_0123456789abcdef0123456789abcdef";
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, secret.as_bytes());
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let file = format!("[[keys]]\nprincipal = \"batch\"\nhash = \"sha256:{hex}\"\nowner = \"x\"\n");
    let identities = [mesh(), api_keys("keys"), identity("corp", jwt())];
    for order in [["mesh", "keys", "corp"], ["corp", "mesh", "keys"], ["keys", "corp", "mesh"]] {
        let mut world = World::new(&identities, &order);
        world.load(1, file.as_bytes());
        world.load(2, json!({"keys": [key.jwk("k1")]}).to_string().as_bytes());
        for state in 0..27 {
            let (peer, api, jwt) = (state % 3, state / 3 % 3, state / 9);
            let peer_shown = match peer {
                0 => None,
                1 => Some(Ok(named("dns:peer"))),
                _ => Some(Err(IdentityError::Invalid("the peer certificate names nobody"))),
            };
            let mut shown = Shown { peer: peer_shown, ..Shown::default() };
            if api > 0 {
                let wrong = secret.replace('0', "1");
                shown = shown.with("x-api-key", [secret, &wrong][api - 1].as_bytes());
            }
            if jwt > 0 {
                let value = ["Bearer ".to_owned() + &token, "Bearer x.y.z".to_owned()];
                shown = shown.with("authorization", value[jwt - 1].as_bytes());
            }
            let found = world.identify(&shown);
            let states =
                [("mesh", peer, "dns:peer"), ("keys", api, "batch"), ("corp", jwt, "corp/alice")];
            let first = order.iter().find_map(|name| {
                states.iter().find(|it| it.0 == *name && it.1 == 1).map(|it| it.2)
            });
            match (states.iter().any(|it| it.1 == 2), first, found) {
                (true, _, Err(IdentityError::Invalid(_))) => {}
                (false, None, Err(IdentityError::Missing)) => {}
                (false, Some(id), Ok(Selected::Principal(_, found))) => assert_eq!(&*found.id, id),
                other => panic!("{order:?} {state}: {other:?}"),
            }
        }
        let expired = Shown { peer: Some(Ok(named("dns:peer"))), ..Shown::default() };
        let why = Err(IdentityError::Invalid("the peer certificate has expired"));
        assert_eq!(world.identify_at(&expired, NOW_S + 1), why);
    }
}

#[test]
fn a_configured_fact_counts_more_than_a_claimed_one() {
    let list = |facts: &[(&str, &str)]| -> Vec<(String, String)> {
        facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let merged = merge(&list(&[("a", "1"), ("b", "2")]), &list(&[("b", "9"), ("c", "3")]));
    assert_eq!(merged, list(&[("a", "1"), ("b", "2"), ("c", "3")]));
}

#[test]
fn headers_of_credentials_are_withheld_from_services() {
    let mut own = jwt();
    own.header = Some("x-corp-token".to_owned());
    let mut forwarded = jwt();
    forwarded.issuer = "https://b".to_owned();
    forwarded.forward = true;
    let identities = [identity("a", own), identity("b", forwarded), api_keys("keys"), mesh()];
    let world = World::new(&identities, &["mesh", "a", "b", "keys"]);
    assert_eq!(world.providers.withheld(&world.order), ["x-corp-token", "x-api-key"]);
    assert!(!world.order.is_address_only());
    assert!(World::new(&identities, &["anonymous"]).order.is_address_only());
}
