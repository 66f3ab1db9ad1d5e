//! The gateway's own word in `ext_authz`: what another proxy is told of a decision.

use super::framing::{framed, message as one_message};
use super::proto::{
    BoolValue, CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpStatus,
    OkHttpResponse, Status,
};
use prost::Message;

pub use super::proto::CheckRequest;

/// A field, by name and value.
pub type Pair<'a> = (&'a str, &'a [u8]);

fn options<'a>(fields: impl Iterator<Item = Pair<'a>>) -> Vec<HeaderValueOption> {
    let option = |(name, value): Pair<'_>| HeaderValueOption {
        header: Some(HeaderValue {
            key: name.to_ascii_lowercase(),
            // Values that the gateway sets are ASCII.
            value: String::from_utf8_lossy(value).into_owned(),
            raw_value: Vec::new(),
        }),
        append: Some(BoolValue { value: false }),
        ..HeaderValueOption::default()
    };
    fields.map(option).collect()
}

/// Reads the one message of a call.
///
/// # Errors
/// It is none.
pub fn read(body: &[u8]) -> Result<CheckRequest, String> {
    let message = one_message(body).map_err(|nonsense| nonsense.0)?;
    CheckRequest::decode(message).map_err(|error| error.to_string())
}

/// The request may go on, with these fields set, these taken out, and these in its answer.
pub fn allow<'a>(
    set: impl Iterator<Item = Pair<'a>>,
    removed: Vec<String>,
    answered: impl Iterator<Item = Pair<'a>>,
) -> Vec<u8> {
    let ok = OkHttpResponse {
        headers: options(set),
        headers_to_remove: removed,
        response_headers_to_add: options(answered),
        ..OkHttpResponse::default()
    };
    let status = Some(Status::default());
    framed(&CheckResponse { status, ok_response: Some(ok), ..CheckResponse::default() })
}

/// The request is refused, with this status of gRPC, this of HTTP, and this answer.
pub fn deny<'a>(
    (code, status): (u8, u16),
    message: String,
    fields: impl Iterator<Item = Pair<'a>>,
    body: &[u8],
) -> Vec<u8> {
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: i32::from(status) }),
        headers: options(fields),
        body: String::from_utf8_lossy(body).into_owned(),
    };
    // No refusal is OK.
    let status = Some(Status { code: i32::from(code.max(1)), message });
    framed(&CheckResponse { status, denied_response: Some(denied), ..CheckResponse::default() })
}

#[cfg(test)]
mod tests {
    use super::super::answer::{self, Terms, Verdict, tests::hook};
    use super::*;

    #[test]
    fn what_the_gateway_says_it_would_believe_itself() {
        let hook = hook();
        let terms = Terms { hook: &hook, deciding: &[] };
        let read = |bytes: &[u8]| answer::interpret(one_message(bytes).unwrap(), &terms);
        let set = [("X-User", &b"ann"[..])];
        let bytes = allow(set.into_iter(), vec!["x-secret".to_owned()], [].into_iter());
        let Ok(Verdict::Allow(changes)) = read(&bytes).map(|answer| answer.verdict) else {
            panic!("it allows")
        };
        assert_eq!(changes.removed, ["x-secret"]);
        assert_eq!(changes.service[0].value, "ann");
        let fields = [("content-type", &b"application/problem+json"[..])];
        let bytes = deny((7, 403), "no".to_owned(), fields.into_iter(), b"{}");
        let Ok(Verdict::Deny(denial)) = read(&bytes).map(|answer| answer.verdict) else {
            panic!("it denies")
        };
        assert_eq!((denial.status, &denial.body[..]), (Some(403), &b"{}"[..]));
    }
}
