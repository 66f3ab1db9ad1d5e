//! Signatures against vectors that others made: Wycheproof, and the examples of the RFCs.

use super::*;
use serde_json::Value;

const SIGNATURES: &str =
    include_str!("../../tests/identity/wycheproof/json_web_signature_test.json");
const KEYS: &str = include_str!("../../tests/identity/wycheproof/json_web_key_test.json");

/// What a token's form, key and signature are found to be, with every algorithm allowed.
fn verdict(keys: &JwkSet, token: &str) -> Outcome<()> {
    Token::read(token.as_bytes())?.check_signature(0, keys)
}

/// A group's keys as a set: what it publishes, or where that is nothing, what it holds.
fn keys_of(group: &Value) -> Result<JwkSet, String> {
    let key = group.get("public").or_else(|| group.get("private")).unwrap();
    let set =
        if key.get("keys").is_some() { key.clone() } else { serde_json::json!({"keys": [key]}) };
    JwkSet::parse(set.to_string().as_bytes())
}

/// Replays a file; what it calls valid and we refuse is listed with its comment.
fn replay(text: &str) -> (usize, Vec<String>) {
    let file: Value = serde_json::from_str(text).unwrap();
    let (mut count, mut stricter) = (0, Vec::new());
    for group in file["testGroups"].as_array().unwrap() {
        let keys = keys_of(group);
        for test in group["tests"].as_array().unwrap() {
            count += 1;
            let token = test["jws"].as_str().unwrap_or_default();
            let found = keys
                .as_ref()
                .map_err(Clone::clone)
                .and_then(|keys| verdict(keys, token).map_err(|error| error.detail().to_owned()));
            let place = format!("{} {}: {}", test["tcId"], group["comment"], test["comment"]);
            match (test["result"].as_str().unwrap(), found) {
                ("valid", Ok(())) | ("invalid", Err(_)) => {}
                ("valid", Err(why)) => stricter.push(format!("{place}: {why}")),
                (_, Ok(())) => panic!("accepted: {place}"),
                (other, _) => panic!("no verdict: {other}"),
            }
        }
    }
    assert_eq!(Some(count as u64), file["numberOfTests"].as_u64());
    (count, stricter)
}

#[test]
fn wycheproof_s_signatures_are_judged_alike_or_more_strictly_for_a_reason() {
    let (count, stricter) = replay(SIGNATURES);
    assert_eq!(count, 401);
    let reason = |place: &String| {
        // Shared secrets are no public keys: no set of ours has any.
        let secret = place.contains("\"hs256\"") || place.contains("\"base64\"");
        // No claims are no token.
        let empty = place.contains("\"emptyPayload\"");
        // Their keys are of HMAC, or say `alg` RS256 for a PS384 token, or `ES521`, which is none.
        let mislabelled = place.contains("\"Figure");
        secret || empty || mislabelled
    };
    let unexplained: Vec<_> = stricter.iter().filter(|place| !reason(place)).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    assert_eq!(stricter.len(), 20, "{stricter:#?}");
}

#[test]
fn wycheproof_s_keys_are_judged_alike_or_more_strictly_for_a_reason() {
    let (count, stricter) = replay(KEYS);
    assert_eq!(count, 26);
    // Keys of HMAC.
    let secret = |place: &String| place.contains("\"HS") || place.contains("\"jws_keyset\"");
    let unexplained: Vec<_> = stricter.iter().filter(|place| !secret(place)).collect();
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    assert_eq!(stricter.len(), 4, "{stricter:#?}");
}

const RSA: &str = concat!(
    r#"{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddx"#,
    "HmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo",
    "9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4",
    "uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9g",
    r#"b54h4FRWyuXpoQ"}"#
);

const P521: &str = concat!(
    r#"{"kty":"EC","crv":"P-521","x":"AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_"#,
    r#"NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk","y":"ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1"#,
    r#"WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}"#
);

/// RFC 7515 A.2 to A.4 and RFC 8037 A.4; the keys are those of the same sections.
#[test]
fn the_examples_of_the_rfcs_verify_and_nothing_one_letter_away_does() {
    let p256 = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    let ed25519 = r#"{"kty":"OKP","crv":"Ed25519",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let claims = concat!(
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0",
        "cnVlfQ"
    );
    let rs256 = format!(
        "eyJhbGciOiJSUzI1NiJ9.{claims}.{}",
        concat!(
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt",
            "_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArL",
            "IARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7no",
            "OPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQ",
            "Ge77Rw"
        )
    );
    let es256 = format!(
        "eyJhbGciOiJFUzI1NiJ9.{claims}.{}",
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    let es512 = concat!(
        "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPW",
        "ROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU",
        "8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
    );
    let eddsa = concat!(
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PG",
        "cvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
    let examples = [(RSA, rs256.as_str()), (p256, es256.as_str()), (P521, es512), (ed25519, eddsa)];
    for (key, token) in examples {
        let keys = JwkSet::parse(format!(r#"{{"keys":[{key}]}}"#).as_bytes()).unwrap();
        assert_eq!(verdict(&keys, token), Ok(()), "{token}");
        for at in 0..token.len() {
            let mut bytes = token.as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(verdict(&keys, &changed).is_err(), "{at}: {changed}");
        }
    }
}
