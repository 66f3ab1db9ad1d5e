//! What gRPC puts into HTTP fields: timeouts, statuses and messages.

/// Digits of a `grpc-timeout` ("at most eight", gRPC over HTTP2).
const TIMEOUT_DIGITS_MAX: usize = 8;

/// Nanoseconds in each unit, from the largest.
const UNITS: [(u8, u64); 6] = [
    (b'H', 3_600_000_000_000),
    (b'M', 60_000_000_000),
    (b'S', 1_000_000_000),
    (b'm', 1_000_000),
    (b'u', 1_000),
    (b'n', 1),
];

/// Reads a `grpc-timeout` in nanoseconds: one to eight digits and one of `H M S m u n`. What does
/// not fit (above 584 years) is the largest value; `None` where the grammar is broken.
#[must_use]
pub fn parse_timeout(value: &[u8]) -> Option<u64> {
    let (unit, digits) = value.split_last()?;
    let nanos = UNITS.iter().find(|(letter, _)| letter == unit)?.1;
    if digits.is_empty() || digits.len() > TIMEOUT_DIGITS_MAX {
        return None;
    }
    let count = digits.iter().try_fold(0_u64, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })?;
    Some(count.saturating_mul(nanos))
}

/// Appends `nanos` as a `grpc-timeout` in the finest unit that takes eight digits, rounded down: a
/// deadline passed on must not grow.
pub fn push_timeout(out: &mut Vec<u8>, nanos: u64) {
    for (letter, unit) in UNITS.iter().rev() {
        let count = nanos / unit;
        if count < 100_000_000 {
            super::decimal::push(out, count);
            out.push(*letter);
            return;
        }
    }
}

/// gRPC status codes the gateway itself uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Code {
    /// 1
    Cancelled = 1,
    /// 2
    Unknown = 2,
    /// 3
    InvalidArgument = 3,
    /// 4
    DeadlineExceeded = 4,
    /// 7
    PermissionDenied = 7,
    /// 8
    ResourceExhausted = 8,
    /// 9
    FailedPrecondition = 9,
    /// 12
    Unimplemented = 12,
    /// 13
    Internal = 13,
    /// 14
    Unavailable = 14,
    /// 16
    Unauthenticated = 16,
}

/// The gRPC status that stands for an HTTP status without one ("HTTP to gRPC Status Code Mapping").
#[must_use]
pub const fn code_of_http(status: u16) -> Code {
    match status {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// The HTTP status that stands for a gRPC one, as fields spell it; whatever is no status is an
/// error of the service. As Envoy's outlier detection reads them (`grpcToHttpStatus` in
/// `source/common/grpc/status.cc`, from google.rpc.Code).
#[must_use]
pub fn http_of_status(value: &[u8]) -> u16 {
    match value {
        b"0" => 200,
        b"1" => 499,
        b"3" | b"9" | b"11" => 400,
        b"4" => 504,
        b"5" => 404,
        b"6" | b"10" => 409,
        b"7" => 403,
        b"8" => 429,
        b"12" => 501,
        b"14" => 503,
        b"16" => 401,
        _ => 500,
    }
}

/// Whether a content type is gRPC's: `application/grpc`, alone or followed by `+` or `;`.
#[must_use]
pub fn is_grpc(content_type: &[u8]) -> bool {
    const NAME: &[u8] = b"application/grpc";
    content_type.split_at_checked(NAME.len()).is_some_and(|(name, more)| {
        name.eq_ignore_ascii_case(NAME) && matches!(more.first(), None | Some(b'+' | b';' | b' '))
    })
}

/// Appends `text` as a `grpc-message`: bytes outside space to `~`, and `%`, become triplets.
pub fn push_message(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(byte);
        } else {
            let digit = |value: u8| if value < 10 { b'0' + value } else { b'A' + (value - 10) };
            out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(nanos: u64) -> String {
        let mut out = Vec::new();
        push_timeout(&mut out, nanos);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn timeouts_follow_the_grammar() {
        assert_eq!(parse_timeout(b"1S"), Some(1_000_000_000));
        assert_eq!(parse_timeout(b"0n"), Some(0));
        assert_eq!(parse_timeout(b"00000100m"), Some(100_000_000));
        assert_eq!(parse_timeout(b"99999999H"), Some(u64::MAX));
        for bad in [&b""[..], b"S", b"1", b"1s", b"-1S", b"+1S", b" 1S", b"1 S", b"123456789n"] {
            assert_eq!(parse_timeout(bad), None);
        }
    }

    #[test]
    fn a_written_timeout_reads_back_no_larger_and_hardly_smaller() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..20_000 {
            let nanos = random.u64(..) >> random.u32(0..64);
            let back = parse_timeout(text(nanos).as_bytes()).unwrap();
            assert!(back <= nanos);
            assert!(nanos - back <= nanos / 100_000, "{nanos} became {back}");
        }
        assert_eq!(text(15_000_000_000), "15000000u");
    }

    #[test]
    fn messages_are_visible_ascii_and_decode_to_the_text() {
        let mut out = Vec::new();
        push_message(&mut out, "no 100 % ü\r\n");
        assert_eq!(out, b"no 100 %25 %C3%BC%0D%0A");
    }

    #[test]
    fn grpc_statuses_stand_for_the_http_ones_that_envoy_takes_them_for() {
        let all =
            [200, 499, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401];
        for (code, status) in all.into_iter().enumerate() {
            assert_eq!(http_of_status(code.to_string().as_bytes()), status, "{code}");
        }
        for odd in ["", "17", "00", "014", "-1", "OK", "4294967310"] {
            assert_eq!(http_of_status(odd.as_bytes()), 500, "{odd}");
        }
    }

    #[test]
    fn http_statuses_map_as_grpc_says() {
        let pairs = [(400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (503, 14), (500, 2)];
        for (status, code) in pairs {
            assert_eq!(code_of_http(status) as u8, code);
        }
    }

    #[test]
    fn only_grpc_is_grpc() {
        for yes in [&b"application/grpc"[..], b"application/grpc+proto", b"Application/gRPC;x=y"] {
            assert!(is_grpc(yes));
        }
        for no in [&b"application/grpc-web"[..], b"application/json", b"", b"application/grp"] {
            assert!(!is_grpc(no));
        }
    }
}
