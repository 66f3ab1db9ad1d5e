//! RFC 3986: the one normal form of paths, queries and authorities.

use crate::harness::{accepted, fault, request};
use caio::http1::{Family, Malformed, Parsed};
use caio::wire::authority::AuthorityFault;
use caio::wire::target::TargetFault;

fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

/// Path and query of an accepted target.
fn canonical(target: &str) -> String {
    let sent = get(target);
    let head = accepted(&sent);
    let mut text = String::from_utf8(head.path(&sent).to_vec()).unwrap();
    if let Some(query) = head.query(&sent) {
        text.push('?');
        text.push_str(std::str::from_utf8(query).unwrap());
    }
    text
}

#[test]
fn canonical_targets_stay_as_they_are() {
    for target in [
        "/",
        "/a/b/",
        "//a//b",
        "/a;v=1/b",
        "/a.b/..c/c../...",
        "/%E2%82%AC",
        "/a%25b",
        "/a:b@c!$&'()*+,=~-_",
        "/?",
        "/a?b=/../c?d%2f%2F%00",
    ] {
        assert_eq!(canonical(target), target);
    }
}

#[test]
fn every_spelling_of_one_path_has_one_form() {
    for (target, expected) in [
        ("/%61%42%7e%2D", "/aB~-"),
        ("/%e2%82%ac", "/%E2%82%AC"),
        ("/%2562", "/%2562"),
        ("/a[0]{b}|^`", "/a%5B0%5D%7Bb%7D%7C%5E%60"),
        ("/a?b[0]=|", "/a?b%5B0%5D=%7C"),
        ("/%61?%61", "/a?%61"),
        ("/%3a%40", "/%3A%40"),
    ] {
        assert_eq!(canonical(target), expected);
        assert_eq!(canonical(expected), expected, "the form of a form is itself");
    }
}

#[test]
fn targets_two_servers_could_read_differently_are_refused() {
    for (target, expected) in [
        ("/a/./b", TargetFault::DotSegment),
        ("/a/../b", TargetFault::DotSegment),
        ("/..", TargetFault::DotSegment),
        ("/.", TargetFault::DotSegment),
        ("/a/%2e%2e/b", TargetFault::DotSegment),
        ("/a/.%2E/b", TargetFault::DotSegment),
        ("/%2e", TargetFault::DotSegment),
        ("/a/..;/b", TargetFault::DotSegment),
        ("/a/.;x=y", TargetFault::DotSegment),
        ("/a%2fb", TargetFault::Encoded),
        ("/a%2Fb", TargetFault::Encoded),
        ("/a%5cb", TargetFault::Encoded),
        ("/a%00b", TargetFault::Encoded),
        ("/a%", TargetFault::Percent),
        ("/a%4", TargetFault::Percent),
        ("/a%4g", TargetFault::Percent),
        ("/a%u0041", TargetFault::Percent),
        ("/a?b=%zz", TargetFault::Percent),
        ("/a?b=%4", TargetFault::Percent),
        ("/a\\b", TargetFault::Byte),
        ("/a#b", TargetFault::Byte),
        ("/a?b#c", TargetFault::Byte),
        ("/a\"b", TargetFault::Byte),
        ("/<a>", TargetFault::Byte),
        ("*", TargetFault::Form),
        ("a", TargetFault::Form),
        ("?a", TargetFault::Form),
        ("example.org:80", TargetFault::Form),
        ("ftp://example.org/", TargetFault::Form),
        ("*/a", TargetFault::Form),
    ] {
        let found = fault(&get(target));
        assert_eq!(found, Malformed::Target(expected), "{target}");
        assert_eq!((found.status(), found.family()), (400, Family::Target));
    }
}

#[test]
fn each_byte_of_a_path_is_allowed_encoded_or_refused() {
    for byte in 0..=255_u8 {
        for query in [false, true] {
            let mut sent = b"GET /a".to_vec();
            sent.extend_from_slice(if query { b"?" } else { b"" });
            sent.push(byte);
            sent.extend_from_slice(b"b HTTP/1.1\r\nHost: a\r\n\r\n");
            let (parsed, head) = request(&sent);
            let plain = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?".contains(&byte);
            let encoded = b"[]{}|^`".contains(&byte);
            let complete = matches!(parsed, Parsed::Complete(_));
            assert_eq!(complete, plain || encoded, "{byte:#x} query {query}");
            if complete {
                let path = if query { head.query(&sent).unwrap() } else { head.path(&sent) };
                assert_eq!(path.contains(&byte), plain && (byte != b'?' || query));
            }
        }
    }
}

fn host(value: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {value}\r\n\r\n").into_bytes()
}

#[test]
fn authorities_have_one_form() {
    for (value, authority, name, port) in [
        ("example.org", "example.org", "example.org", None),
        ("EXAMPLE.Org:8080", "example.org:8080", "example.org", Some(8080)),
        ("example.org.", "example.org", "example.org", None),
        ("example.org.:81", "example.org:81", "example.org", Some(81)),
        ("example.org:", "example.org", "example.org", None),
        ("a_b-c~d", "a_b-c~d", "a_b-c~d", None),
        ("127.0.0.1:1", "127.0.0.1:1", "127.0.0.1", Some(1)),
        ("[::1]", "[::1]", "[::1]", None),
        ("[0:0::0:1]:65535", "[::1]:65535", "[::1]", Some(65535)),
        ("[2001:DB8::A]", "[2001:db8::a]", "[2001:db8::a]", None),
    ] {
        let sent = host(value);
        let head = accepted(&sent);
        assert_eq!(head.authority(&sent), authority.as_bytes(), "{value}");
        assert_eq!(head.host(&sent), name.as_bytes(), "{value}");
        assert_eq!(head.port, port, "{value}");
    }
}

#[test]
fn bad_authorities_are_refused() {
    let long = "a".repeat(256);
    for (value, expected) in [
        ("", AuthorityFault::Empty),
        (":80", AuthorityFault::Host),
        (".", AuthorityFault::Host),
        (".a", AuthorityFault::Host),
        ("a..b", AuthorityFault::Host),
        ("a b", AuthorityFault::Host),
        ("a,b", AuthorityFault::Host),
        ("a/b", AuthorityFault::Host),
        ("a?b", AuthorityFault::Host),
        ("a%41", AuthorityFault::Host),
        ("ä", AuthorityFault::Host),
        ("user@a", AuthorityFault::UserInfo),
        ("user:pw@a", AuthorityFault::UserInfo),
        ("a:0", AuthorityFault::Port),
        ("a:080", AuthorityFault::Port),
        ("a:65536", AuthorityFault::Port),
        ("a:123456", AuthorityFault::Port),
        ("a:+1", AuthorityFault::Port),
        ("a:b", AuthorityFault::Port),
        ("a:80:80", AuthorityFault::Port),
        ("[::1", AuthorityFault::Host),
        ("[::1]a", AuthorityFault::Host),
        ("[::1%25eth0]", AuthorityFault::Host),
        ("[fe80::1%eth0]", AuthorityFault::Host),
        ("[v1.a]", AuthorityFault::Host),
        ("[]", AuthorityFault::Host),
        ("::1", AuthorityFault::Port),
        (&long, AuthorityFault::Host),
    ] {
        let found = fault(&host(value));
        assert_eq!(found, Malformed::Authority(expected), "{value:?}");
        assert_eq!((found.status(), found.family()), (400, Family::Authority));
    }
}
