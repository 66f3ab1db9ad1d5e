//! Every reply that CAIO makes by itself, in one table: from here come HTTP status, gRPC status,
//! problem type (RFC 9457), the stable code, the documentation (`refusals.md`) and the tests.

use crate::governance::answer::Denial;
use crate::wire::grpc::code_of_http;
use std::borrow::Cow;

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller can mend it.
    Caller,
    /// The called side failed.
    Upstream,
    /// The operator's configuration or capacity.
    Operator,
    /// CAIO itself.
    Gateway,
}

/// What happens to the caller's connection after an HTTP/1.1 refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The message boundary is not to be trusted, or the rest of the body is not wanted.
    Close,
    /// The next request may come.
    Keep,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:literal, $grpc:literal,
       $fault:ident, $after:ident, $title:literal;)+) => {
        /// Why a request was refused. Codes never change their meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[doc = $doc])+ $name,)+ }

        impl Reason {
            /// Every reason, in the table's order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its place in the table and 1, as records have it.
            pub const fn number(self) -> u16 {
                self as u16 + 1
            }

            /// The table's row.
            pub const fn row(self) -> Row {
                match self {
                    $(Self::$name => Row {
                        code: $code, status: $status, grpc: $grpc, fault: Fault::$fault,
                        after: After::$after, title: $title, meaning: concat!($($doc,)+),
                    },)+
                }
            }
        }
    };
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The stable code, a dotted noun.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The gRPC status code.
    pub grpc: u8,
    /// Whose fault it is.
    pub fault: Fault,
    /// What happens to an HTTP/1.1 connection.
    pub after: After,
    /// The problem's title.
    pub title: &'static str,
    /// What it means, for the documentation.
    pub meaning: &'static str,
}

reasons! {
    /// The message's framing is ambiguous or broken: Content-Length, Transfer-Encoding, chunks
    /// (RFC 9112 6).
    FramingInvalid = "framing.invalid", 400, 13, Caller, Close, "The message framing is invalid";
    /// A header line or field is not what RFC 9110 5 and RFC 9112 5 allow.
    HeaderInvalid = "header.invalid", 400, 13, Caller, Close, "A header field is invalid";
    /// Host is missing, repeated, malformed, or differs from the request target's authority.
    AuthorityInvalid = "authority.invalid", 400, 13, Caller, Close, "The authority is invalid";
    /// The request target is not in canonical reach: control bytes, `%2F`, dot segments, `#`.
    TargetInvalid = "target.invalid", 400, 13, Caller, Close, "The request target is invalid";
    /// The method is not a token, or one that a gateway does not serve (CONNECT, TRACE).
    MethodRefused = "method.refused", 405, 12, Caller, Close, "The method is not served";
    /// The HTTP version is not 1.0, 1.1 or 2.
    VersionUnsupported = "version.unsupported", 505, 13, Caller, Close,
        "The HTTP version is not supported";
    /// The request target is longer than `limits.target_bytes_max`.
    TargetTooLong = "target.too_long", 414, 13, Caller, Close, "The request target is too long";
    /// The head or its number of fields exceeds `limits.head_bytes_max` or `limits.fields_max`.
    HeaderTooLarge = "header.too_large", 431, 8, Caller, Close, "The header section is too large";
    /// The body is longer than the route allows.
    BodyTooLarge = "body.too_large", 413, 8, Caller, Close, "The body is too large";
    /// `Expect` asks for something other than `100-continue`.
    ExpectationUnknown = "expectation.unknown", 417, 13, Caller, Close,
        "The expectation is not known";
    /// The head did not arrive within `timeouts.client_header`.
    HeaderTimeout = "header.timeout", 408, 4, Caller, Close, "The request head came too slowly";
    /// The body stalled longer than `timeouts.client_body_idle` or came below
    /// `timeouts.client_body_bytes_per_second_min`.
    BodyTimeout = "body.timeout", 408, 4, Caller, Close, "The request body came too slowly";
    /// A gRPC call whose content-type is not `application/grpc`, or whose timeout cannot be read.
    GrpcInvalid = "grpc.invalid", 415, 13, Caller, Keep, "The gRPC call is malformed";
    /// No route and no contract knows this operation.
    RouteUnknown = "route.unknown", 404, 12, Caller, Keep, "No operation answers to this path";
    /// The path is known, the method is not.
    RouteMethod = "route.method", 405, 12, Caller, Keep, "The method is not offered on this path";
    /// `CAIO-Capability` names a capability that nobody offers.
    CapabilityUnknown = "capability.unknown", 404, 12, Caller, Keep, "Nobody offers the capability";
    /// `CAIO-Require` is not a list of conditions over promises, or too long.
    RequirementInvalid = "requirement.invalid", 400, 3, Caller, Keep,
        "The stated requirement is invalid";
    /// Too many new requirement texts from this caller; name a requirement instead.
    RequirementLimited = "requirement.limited", 429, 8, Caller, Keep, "Too many new requirements";
    /// A header that carries a fact does not hold a value of the fact's type.
    FactInvalid = "fact.invalid", 400, 3, Caller, Keep, "A stated fact is invalid";
    /// Every service that offers the capability demands what this request does not meet.
    DemandUnmet = "contract.demand", 422, 9, Caller, Keep,
        "No service accepts a request like this";
    /// No service that accepts the request promises what is required.
    Unsatisfied = "contract.unsatisfied", 503, 9, Operator, Keep,
        "No service promises what is required";
    /// Policy permits none of the services that would satisfy.
    Forbidden = "policy.forbidden", 403, 7, Operator, Keep, "Policy does not permit this call";
    /// Services satisfy, but none of them is healthy.
    Unhealthy = "service.unhealthy", 503, 14, Operator, Keep, "No satisfying service is healthy";
    /// Services satisfy, but all of them are being drained.
    Draining = "service.draining", 503, 14, Operator, Keep,
        "Every satisfying service is being drained";
    /// Every satisfying service was tried and failed.
    Exhausted = "service.exhausted", 502, 14, Upstream, Keep,
        "Every satisfying service was tried and failed";
    /// The inline re-check did not agree with the decision; nothing was forwarded.
    Disagreement = "certificate.disagreement", 500, 13, Gateway, Close,
        "The decision could not be certified";
    /// The decision could not be recorded; nothing was forwarded.
    AuditUnavailable = "audit.unavailable", 503, 14, Gateway, Close,
        "The decision cannot be recorded";
    /// The service could not be connected to.
    UpstreamConnect = "upstream.connect", 502, 14, Upstream, Keep, "The service cannot be reached";
    /// The service did not answer in time.
    UpstreamTimeout = "upstream.timeout", 504, 4, Upstream, Close,
        "The service did not answer in time";
    /// The service's answer is malformed; nothing of it was passed on.
    UpstreamFraming = "upstream.framing", 502, 14, Upstream, Close,
        "The service's answer is malformed";
    /// The service ended before its answer was whole.
    UpstreamAborted = "upstream.aborted", 502, 14, Upstream, Close,
        "The service ended before its answer was whole";
    /// The caller's own deadline (`grpc-timeout`) passed.
    DeadlineExceeded = "deadline.exceeded", 504, 4, Caller, Close, "The caller's deadline passed";
    /// A bound on connections or requests in flight is reached.
    Overload = "overload.connections", 503, 14, Operator, Close, "The gateway is at its limit";
    /// The process holds nearly all the memory it may (`limits.memory_bytes_max`).
    MemoryShort = "overload.memory", 503, 14, Operator, Close, "The gateway is short of memory";
    /// The gateway is being drained.
    GatewayDraining = "overload.draining", 503, 14, Operator, Close, "The gateway is going away";
    /// A fault of the gateway itself; the connection's work was abandoned.
    Internal = "gateway.internal", 500, 13, Gateway, Close, "The gateway failed";
    /// The listener takes no anonymous callers, and the request has no credential.
    CredentialMissing = "credential.missing", 401, 16, Caller, Keep, "A credential is required";
    /// A credential is present and not valid: malformed, expired, revoked, of another issuer.
    CredentialInvalid = "credential.invalid", 401, 16, Caller, Keep, "The credential is invalid";
    /// What a credential is to be checked with, such as a key set, is not to be had.
    IdentityUnavailable = "identity.unavailable", 503, 14, Operator, Keep,
        "Credentials cannot be checked";
    /// The connection was secured for another host than the request names (RFC 9110 15.5.20).
    Misdirected = "authority.misdirected", 421, 13, Caller, Close, "The request is misdirected";
    /// More calls than a limit allows for this caller, route or service.
    RateLimited = "limit.rate", 429, 8, Caller, Keep, "Too many calls";
    /// More calls in flight at once than a limit allows.
    ConcurrencyLimited = "limit.concurrency", 429, 8, Caller, Keep, "Too many calls at once";
    /// A governance hook answered that this call is not to be made.
    GovernanceDenied = "governance.denied", 403, 7, Operator, Keep, "Governance refuses this call";
    /// A governance hook did not answer in time, or not sensibly.
    GovernanceUnavailable = "governance.unavailable", 503, 14, Operator, Keep,
        "Governance cannot be asked";
    /// The service could not prove its name, or would not accept ours.
    UpstreamTls = "upstream.tls", 502, 14, Upstream, Keep,
        "No secure connection to the service";
}

/// A refusal with what is particular to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The table's row.
    pub reason: Reason,
    /// What is wrong with this request and how to mend it; no internals.
    pub detail: Cow<'static, str>,
    /// The decision stage that left no candidate, and the closest one's first failing clause.
    pub stage: Option<Box<Stage>>,
    /// The methods for an `Allow` field.
    pub allow: Option<String>,
    /// Seconds for `Retry-After`.
    pub retry_after: Option<u32>,
    /// How a governance hook wants the caller answered.
    pub denial: Option<Box<Denial>>,
    /// What is left of the quotas that were asked, and what they are.
    pub limits: Option<Box<LimitFields>>,
    /// The number of the quota that refuses, in the landscape.
    pub quota: Option<u16>,
}

/// `RateLimit` and `RateLimit-Policy`, as draft-ietf-httpapi-ratelimit-headers-10 has them: lists
/// of quota ids, `"id";r=left;t=seconds` and `"id";q=calls;w=seconds`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitFields {
    /// `RateLimit`
    pub left: String,
    /// `RateLimit-Policy`
    pub policy: String,
}

impl LimitFields {
    /// The fields by their names in lower case, as far as they say anything.
    pub fn each(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [("ratelimit", self.left.as_str()), ("ratelimit-policy", self.policy.as_str())]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
    }
}

/// Where a decision ended without a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The stage's name.
    pub name: &'static str,
    /// The closest candidate and its first failing clause, where there was a candidate at all.
    pub closest: Option<(String, String)>,
}

impl Refusal {
    /// A refusal with its detail.
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after = match reason {
            Reason::RequirementLimited
            | Reason::Unhealthy
            | Reason::Draining
            | Reason::AuditUnavailable
            | Reason::Overload
            | Reason::MemoryShort
            | Reason::GatewayDraining
            | Reason::IdentityUnavailable
            | Reason::RateLimited
            | Reason::ConcurrencyLimited
            | Reason::GovernanceUnavailable => Some(1),
            _ => None,
        };
        // RFC 9110 15.5.6: a 405 says what is allowed; here, what a gateway serves at all.
        let served = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
        let allow = (reason == Reason::MethodRefused).then(|| served.to_owned());
        Self {
            reason,
            detail: detail.into(),
            stage: None,
            allow,
            retry_after,
            denial: None,
            limits: None,
            quota: None,
        }
    }

    /// The HTTP status: the table's, unless a governance hook chose another.
    pub fn status(&self) -> u16 {
        let chosen = self.denial.as_ref().and_then(|denial| denial.status);
        chosen.unwrap_or(self.reason.row().status)
    }

    /// The gRPC status: the table's, unless a governance hook chose another HTTP status.
    pub fn grpc_status(&self) -> u8 {
        let chosen = self.denial.as_ref().and_then(|denial| denial.status);
        chosen.map_or(self.reason.row().grpc, |status| code_of_http(status) as u8)
    }

    /// The body that a governance hook wants the caller to read, and what it says of it.
    pub fn own_body(&self) -> Option<&[u8]> {
        self.denial.as_ref().map(|denial| &denial.body[..]).filter(|body| !body.is_empty())
    }

    /// The fields that a governance hook wants the caller to read. What describes a body is left
    /// out where the body is the gateway's own.
    pub fn own_fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.own_body().is_some();
        let fields = self.denial.as_ref().map_or(&[][..], |denial| &denial.fields);
        let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        fields.filter(move |(name, _)| own || !name.starts_with("content-"))
    }

    /// The fields, in lower case, that go with its status: what is allowed (RFC 9110 15.5.6), when
    /// to come again (10.2.3), how to say who calls (11.6.1, RFC 6750 3).
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let allow = self.allow.as_deref().map(|allow| ("allow", allow.into()));
        let retry = self.retry_after.map(|seconds| ("retry-after", seconds.to_string().into()));
        let challenge = match self.reason {
            Reason::CredentialMissing => Some("Bearer"),
            Reason::CredentialInvalid => Some("Bearer error=\"invalid_token\""),
            _ => None,
        };
        let challenge = challenge.map(|said| ("www-authenticate", said.into()));
        let limits = self.limits.iter().flat_map(|limits| limits.each());
        let limits = limits.map(|(name, value)| (name, value.into()));
        allow.into_iter().chain(retry).chain(challenge).chain(limits)
    }

    /// The RFC 9457 body.
    pub fn problem(&self, request_id: &str) -> Vec<u8> {
        let row = self.reason.row();
        let mut problem = serde_json::Map::new();
        let mut put = |key: &str, value: serde_json::Value| problem.insert(key.to_owned(), value);
        put("type", format!("urn:caio:refusal:{}", row.code).into());
        put("title", row.title.into());
        put("status", row.status.into());
        put("detail", self.detail.as_ref().into());
        put("instance", format!("urn:uuid:{request_id}").into());
        put("code", row.code.into());
        if let Some(stage) = &self.stage {
            put("stage", stage.name.into());
            if let Some((service, clause)) = &stage.closest {
                put("closest", serde_json::json!({ "service": service, "fails": clause }));
            }
        }
        let mut body = serde_json::Value::Object(problem).to_string().into_bytes();
        body.push(b'\n');
        body
    }

    /// The text for `grpc-message`, before percent-encoding.
    pub fn grpc_message(&self) -> String {
        let row = self.reason.row();
        format!("{}: {}: {}", row.code, row.title, self.detail)
    }
}

/// The table as documentation.
pub fn refusals_markdown() -> String {
    let mut text =
        String::from("| code | HTTP | gRPC | whose fault | meaning |\n|---|---|---|---|---|\n");
    for reason in Reason::ALL {
        let row = reason.row();
        let fault = match row.fault {
            Fault::Caller => "caller",
            Fault::Upstream => "upstream",
            Fault::Operator => "operator",
            Fault::Gateway => "gateway",
        };
        text.push_str(&format!(
            "| `{}` | {} | {} | {} | {} |\n",
            row.code,
            row.status,
            row.grpc,
            fault,
            row.meaning.trim()
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_dotted_nouns_with_statuses_that_exist() {
        let mut codes = BTreeSet::new();
        for reason in Reason::ALL {
            let row = reason.row();
            assert!(codes.insert(row.code), "{} stands twice", row.code);
            assert!(row.code.split('.').count() == 2, "{}", row.code);
            assert!((400..600).contains(&row.status) && row.grpc <= 16, "{}", row.code);
        }
    }

    #[test]
    fn the_document_shows_the_table() {
        let document = include_str!("refusals.md");
        let table = refusals_markdown();
        assert!(document.contains(&table), "refusals.md is to contain:\n{table}");
    }

    #[test]
    fn a_problem_names_code_stage_and_closest_candidate() {
        let mut refusal = Refusal::new(Reason::Unsatisfied, "say `\"less\"`");
        refusal.stage = Some(Box::new(Stage {
            name: "guarantee",
            closest: Some(("embed.us".into(), "residency.within(\"eu\")".into())),
        }));
        let body: serde_json::Value = serde_json::from_slice(&refusal.problem("id")).unwrap();
        assert_eq!(body["code"], "contract.unsatisfied");
        assert_eq!(body["status"], 503);
        assert_eq!(body["closest"]["fails"], "residency.within(\"eu\")");
        assert_eq!(body["detail"], "say `\"less\"`");
    }
}
