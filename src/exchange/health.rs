//! `grpc.health.v1.Health`, which the gateway answers for itself where no contract offers it.
//!
//! `Check` alone: who `Watch`es learns with `UNIMPLEMENTED` that there is no such stream, as the
//! health checking protocol asks of servers without it.

/// The path of the one method that is served.
pub const CHECK: &str = "/grpc.health.v1.Health/Check";

/// Bytes of a request's message, with its prefix: a service's name is far shorter.
pub const REQUEST_BYTES_MAX: usize = 1024;

/// gRPC's status `INVALID_ARGUMENT`.
const INVALID_ARGUMENT: u8 = 3;
/// gRPC's status `NOT_FOUND`.
const NOT_FOUND: u8 = 5;
/// Before each message: whether it is compressed, and its length in four bytes, big endian.
const PREFIX_BYTES: usize = 5;
/// The tag of field 1 as a string, `HealthCheckRequest.service`.
const SERVICE: u8 = 0x0a;

/// Answers a `HealthCheckRequest` with its prefix: the `HealthCheckResponse` with its own.
///
/// # Errors
/// The gRPC status: the request is malformed, or asks for something other than the gateway, which
/// is named by the empty name.
pub fn check(request: &[u8], serving: bool) -> Result<[u8; 7], u8> {
    let (prefix, message) = request.split_at_checked(PREFIX_BYTES).ok_or(INVALID_ARGUMENT)?;
    let length = u32::try_from(message.len()).map_err(|_| INVALID_ARGUMENT)?;
    let [compressed, stated @ ..] = prefix else { return Err(INVALID_ARGUMENT) };
    if *compressed != 0 || *stated != length.to_be_bytes() {
        return Err(INVALID_ARGUMENT);
    }
    match message {
        [] | [SERVICE, 0] => Ok([0, 0, 0, 0, 2, 0x08, if serving { 1 } else { 2 }]),
        [SERVICE, length, name @ ..] if usize::from(*length) == name.len() => Err(NOT_FOUND),
        _ => Err(INVALID_ARGUMENT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_gateway_itself_is_known_here() {
        assert_eq!(check(&[0; 5], true), Ok([0, 0, 0, 0, 2, 8, 1]));
        assert_eq!(check(&[0, 0, 0, 0, 2, SERVICE, 0], false), Ok([0, 0, 0, 0, 2, 8, 2]));
        assert_eq!(check(&[0, 0, 0, 0, 3, SERVICE, 1, b'a'], true), Err(NOT_FOUND));
        for broken in [&[][..], &[0; 4], &[1, 0, 0, 0, 0], &[0, 0, 0, 0, 1], &[0, 0, 0, 0, 1, 9]] {
            assert_eq!(check(broken, true), Err(INVALID_ARGUMENT), "{broken:?}");
        }
    }
}
