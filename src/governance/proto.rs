//! The messages of Envoy's external authorization, version 3, as Rust types.
//!
//! Tags are those of the published `envoy/service/auth/v3/external_auth.proto` and
//! `attribute_context.proto`, `envoy/config/core/v3/{address,base}.proto`,
//! `google/rpc/status.proto` and `google/protobuf/struct.proto`. What the gateway neither says nor
//! reads is left out: a reader skips it. Where the published message is a `oneof` and it matters
//! whether more than one of its members was sent, the members stand here as fields of their own,
//! which is the same on the wire.

use std::collections::BTreeMap;

/// `envoy.service.auth.v3.CheckRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CheckRequest {
    /// What is asked about.
    #[prost(message, optional, tag = "1")]
    pub attributes: Option<AttributeContext>,
}

/// `envoy.service.auth.v3.AttributeContext`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct AttributeContext {
    /// Who calls.
    #[prost(message, optional, tag = "1")]
    pub source: Option<Peer>,
    /// Who is called.
    #[prost(message, optional, tag = "2")]
    pub destination: Option<Peer>,
    /// With what.
    #[prost(message, optional, tag = "4")]
    pub request: Option<Request>,
    /// What the operator adds.
    #[prost(btree_map = "string, string", tag = "10")]
    pub context_extensions: BTreeMap<String, String>,
    /// The connection's security, where it has any.
    #[prost(message, optional, tag = "12")]
    pub tls_session: Option<TlsSession>,
}

/// `AttributeContext.Peer`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Peer {
    /// Where it is.
    #[prost(message, optional, tag = "1")]
    pub address: Option<Address>,
    /// Its service's name.
    #[prost(string, tag = "2")]
    pub service: String,
    /// Its labels.
    #[prost(btree_map = "string, string", tag = "3")]
    pub labels: BTreeMap<String, String>,
    /// Its authenticated identity.
    #[prost(string, tag = "4")]
    pub principal: String,
    /// Its certificate, as percent-encoded PEM.
    #[prost(string, tag = "5")]
    pub certificate: String,
}

/// `AttributeContext.Request`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Request {
    /// When it arrived.
    #[prost(message, optional, tag = "1")]
    pub time: Option<Timestamp>,
    /// What it says.
    #[prost(message, optional, tag = "2")]
    pub http: Option<HttpRequest>,
}

/// `AttributeContext.HttpRequest`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HttpRequest {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its method.
    #[prost(string, tag = "2")]
    pub method: String,
    /// Its fields, by name in lower case; repeated ones are joined.
    #[prost(btree_map = "string, string", tag = "3")]
    pub headers: BTreeMap<String, String>,
    /// The same unjoined, where a sender prefers that.
    #[prost(message, optional, tag = "13")]
    pub header_map: Option<HeaderMap>,
    /// Its target: path and query.
    #[prost(string, tag = "4")]
    pub path: String,
    /// Its authority.
    #[prost(string, tag = "5")]
    pub host: String,
    /// `http` or `https`.
    #[prost(string, tag = "6")]
    pub scheme: String,
    /// Bytes of its body; -1 where they are not known.
    #[prost(int64, tag = "9")]
    pub size: i64,
    /// `HTTP/1.1`
    #[prost(string, tag = "10")]
    pub protocol: String,
    /// The beginning of its body, where that is text.
    #[prost(string, tag = "11")]
    pub body: String,
    /// The same where it is not.
    #[prost(bytes = "vec", tag = "12")]
    pub raw_body: Vec<u8>,
}

/// `AttributeContext.TLSSession`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TlsSession {
    /// The name that the caller secured the connection for.
    #[prost(string, tag = "1")]
    pub sni: String,
}

/// `envoy.config.core.v3.Address`, of which sockets are known here.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Address {
    /// An address and a port.
    #[prost(message, optional, tag = "1")]
    pub socket_address: Option<SocketAddress>,
}

/// `envoy.config.core.v3.SocketAddress`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct SocketAddress {
    /// TCP is 0.
    #[prost(int32, tag = "1")]
    pub protocol: i32,
    /// The address as text.
    #[prost(string, tag = "2")]
    pub address: String,
    /// The port. Optional, because a member of a `oneof` is sent also where it is 0.
    #[prost(uint32, optional, tag = "3")]
    pub port_value: Option<u32>,
}

/// `envoy.service.auth.v3.CheckResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct CheckResponse {
    /// OK allows.
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
    /// How to answer the caller instead.
    #[prost(message, optional, tag = "2")]
    pub denied_response: Option<DeniedHttpResponse>,
    /// What to change on the way.
    #[prost(message, optional, tag = "3")]
    pub ok_response: Option<OkHttpResponse>,
    /// The hook has failed itself.
    #[prost(message, optional, tag = "5")]
    pub error_response: Option<DeniedHttpResponse>,
    /// What else the hook knows.
    #[prost(message, optional, tag = "4")]
    pub dynamic_metadata: Option<Struct>,
}

/// `envoy.service.auth.v3.DeniedHttpResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct DeniedHttpResponse {
    /// The status; 403 where it is left out.
    #[prost(message, optional, tag = "1")]
    pub status: Option<HttpStatus>,
    /// Fields of the answer.
    #[prost(message, repeated, tag = "2")]
    pub headers: Vec<HeaderValueOption>,
    /// Its body.
    #[prost(string, tag = "3")]
    pub body: String,
}

/// `envoy.service.auth.v3.OkHttpResponse`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct OkHttpResponse {
    /// Fields for the service.
    #[prost(message, repeated, tag = "2")]
    pub headers: Vec<HeaderValueOption>,
    /// The older place of the answer's own metadata, which goes before the newer.
    #[prost(message, optional, tag = "3")]
    pub dynamic_metadata: Option<Struct>,
    /// Fields that the service is not to see.
    #[prost(string, repeated, tag = "5")]
    pub headers_to_remove: Vec<String>,
    /// Fields for the caller.
    #[prost(message, repeated, tag = "6")]
    pub response_headers_to_add: Vec<HeaderValueOption>,
    /// Parameters of the query to set.
    #[prost(message, repeated, tag = "7")]
    pub query_parameters_to_set: Vec<QueryParameter>,
    /// Parameters of the query to take out.
    #[prost(string, repeated, tag = "8")]
    pub query_parameters_to_remove: Vec<String>,
}

/// `envoy.config.core.v3.QueryParameter`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct QueryParameter {
    /// Its name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// `envoy.type.v3.HttpStatus`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HttpStatus {
    /// The number.
    #[prost(int32, tag = "1")]
    pub code: i32,
}

/// `envoy.config.core.v3.HeaderMap`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HeaderMap {
    /// The fields in order.
    #[prost(message, repeated, tag = "1")]
    pub headers: Vec<HeaderValue>,
}

/// `envoy.config.core.v3.HeaderValueOption`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HeaderValueOption {
    /// The field.
    #[prost(message, optional, tag = "1")]
    pub header: Option<HeaderValue>,
    /// The older way to say what becomes of a field that is there already.
    #[prost(message, optional, tag = "2")]
    pub append: Option<BoolValue>,
    /// The newer.
    #[prost(int32, tag = "3")]
    pub append_action: i32,
    /// Whether an empty value is a value.
    #[prost(bool, tag = "4")]
    pub keep_empty_value: bool,
}

/// `envoy.config.core.v3.HeaderValue`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct HeaderValue {
    /// The name.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value as text.
    #[prost(string, tag = "2")]
    pub value: String,
    /// The value as bytes.
    #[prost(bytes = "vec", tag = "3")]
    pub raw_value: Vec<u8>,
}

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Status {
    /// A code of gRPC.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// A text for developers.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// `google.protobuf.Timestamp`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Timestamp {
    /// Since 1970.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Of the second.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// `google.protobuf.BoolValue`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BoolValue {
    /// The value.
    #[prost(bool, tag = "1")]
    pub value: bool,
}

/// `google.protobuf.Struct`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Struct {
    /// The members.
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: BTreeMap<String, Value>,
}

/// `google.protobuf.Value`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Value {
    /// What it is.
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<Kind>,
}

/// The `oneof` of [`Value`].
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Kind {
    /// Null.
    #[prost(int32, tag = "1")]
    Null(i32),
    /// The bits of an IEEE 754 double, which stand on the wire as those of a `fixed64` do. The core
    /// computes with no floating point: [`whole`] reads the integers among them.
    #[prost(fixed64, tag = "2")]
    Number(u64),
    /// Text.
    #[prost(string, tag = "3")]
    Text(String),
    /// True or false.
    #[prost(bool, tag = "4")]
    Bool(bool),
    /// Members.
    #[prost(message, tag = "5")]
    Struct(Struct),
    /// Elements.
    #[prost(message, tag = "6")]
    List(List),
}

/// `google.protobuf.ListValue`
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct List {
    /// The elements.
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

/// The integer that a double's bits stand for, where they stand for one that every double beside it
/// can be told from: up to 2^53.
pub fn whole(bits: u64) -> Option<i64> {
    const MANTISSA_BITS: u64 = 52;
    let mantissa = bits & ((1 << MANTISSA_BITS) - 1);
    let exponent = bits >> MANTISSA_BITS & 0x7ff;
    if bits << 1 == 0 {
        return Some(0);
    }
    // Value = 1.mantissa × 2^shift, so the point stands `52 - shift` bits from the right.
    let shift = exponent.checked_sub(1023)?;
    let behind = MANTISSA_BITS.checked_sub(shift)?;
    let digits = mantissa | 1 << MANTISSA_BITS;
    if digits & ((1 << behind) - 1) != 0 {
        return None;
    }
    let value = i64::try_from(digits >> behind).ok()?;
    Some(if bits >> 63 == 0 { value } else { -value })
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn the_integers_among_doubles_are_read_and_nothing_else() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("1", Some(1)),
            ("-3", Some(-3)),
            ("4096", Some(4096)),
            ("9007199254740991", Some((1 << 53) - 1)),
            ("0.5", None),
            ("1.25", None),
            ("1e300", None),
            ("5e-324", None),
            ("inf", None),
            ("NaN", None),
            ("18014398509481984", None),
        ] {
            let bits = text.parse::<f64>().unwrap().to_bits();
            assert_eq!(whole(bits), expected, "{text}");
        }
    }
}
