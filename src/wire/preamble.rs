//! The PROXY protocol's header (haproxy.org, doc/proxy-protocol.txt, versions 1 and 2): what a
//! proxy in front says about whose connection it passes on, before the first byte of it.
//!
//! ```text
//!   1  PROXY TCP4 192.0.2.7 198.51.100.1 40123 443\r\n
//!   2  \r\n\r\n\0\r\nQUIT\n │ 2,command │ family │ length │ addresses │ type,length,value …
//! ```
//! Nothing behind the header may be read with it: there begins TLS or HTTP, and whoever reads that
//! has a buffer of its own. So an incomplete header says how many bytes it still has at least.

use super::limits::PREAMBLE_BYTES_MAX;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Where the header stands after some bytes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preamble {
    /// At least so many bytes of it are missing; never 0.
    Missing(usize),
    /// It is over.
    Complete {
        /// Its length in bytes.
        len: usize,
        /// Whose connection it is.
        origin: Origin,
    },
    /// It is none, or not a legal one.
    Malformed(Malformed),
}

/// Whose connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The proxy's own, such as a health check, or of somebody whose address it does not know.
    Proxy,
    /// A caller of this address; one mapped into IPv6 comes as IPv4.
    Caller(SocketAddr),
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It does not begin as a header of either version does.
    Foreign,
    /// It is longer than its version or the gateway allows.
    TooLong,
    /// A line of version 1 that does not end in CR and LF, or has other parts than it should.
    Line,
    /// An address that is none, or of the other family.
    Address,
    /// A port that is none.
    Port,
    /// A version, command or family of version 2 that is not defined for streams.
    Kind,
    /// The length says less than the addresses and the values behind them take.
    Length,
    /// The checksum does not fit, or stands there twice.
    Checksum,
}

/// The longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;
/// The shortest: `PROXY UNKNOWN`.
const LINE_BYTES_MIN: usize = 15;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const LINE: &[u8] = b"PROXY ";
/// The head of version 2: signature, version and command, family, length.
const HEAD_BYTES: usize = 16;

/// Looks at the first bytes of a connection; to be called again with more of them while some are
/// missing, from the first on.
pub fn read(bytes: &[u8]) -> Preamble {
    let outcome = match bytes.first() {
        None => Ok(Preamble::Missing(LINE_BYTES_MIN)),
        Some(b'P') => read_line(bytes),
        Some(_) => read_binary(bytes),
    };
    outcome.unwrap_or_else(Preamble::Malformed)
}

/// Whether `bytes` may still become something that begins so.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(byte, due)| byte == due)
}

fn read_line(bytes: &[u8]) -> Result<Preamble, Malformed> {
    if !begins(bytes, LINE) {
        return Err(Malformed::Foreign);
    }
    let window = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
        // Each part that is missing takes a space and a character; then come CR and LF.
        let spaces = window.iter().filter(|byte| **byte == b' ').count();
        let unknown = b"PROXY UNKNOWN";
        let parts = if begins(window, unknown) { 0 } else { 5_usize.saturating_sub(spaces) };
        let ended = usize::from(window.last() == Some(&b'\r'));
        let least = (2 * parts + 2 - ended).max(LINE_BYTES_MIN.saturating_sub(window.len()));
        if window.len() + least > LINE_BYTES_MAX {
            return Err(Malformed::TooLong);
        }
        return Ok(Preamble::Missing(least));
    };
    let line = window.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.ok_or(Malformed::Line)?;
    let complete = |origin| Preamble::Complete { len: end + 1, origin };
    let rest = line.get(LINE.len()..).unwrap_or_default();
    if rest == b"UNKNOWN" || rest.starts_with(b"UNKNOWN ") {
        // Whatever else it says is to be ignored (2.1).
        return Ok(complete(Origin::Proxy));
    }
    let text = std::str::from_utf8(rest).map_err(|_| Malformed::Line)?;
    let mut parts = text.split(' ');
    let mut next = || parts.next().ok_or(Malformed::Line);
    let ipv4 = match next()? {
        "TCP4" => true,
        "TCP6" => false,
        _ => return Err(Malformed::Kind),
    };
    let (source, destination) = (next()?, next()?);
    let (from, to) = (next()?, next()?);
    if parts.next().is_some() {
        return Err(Malformed::Line);
    }
    let source = address(source, ipv4)?;
    address(destination, ipv4)?;
    let port = decimal_port(from)?;
    decimal_port(to)?;
    Ok(complete(Origin::Caller(SocketAddr::new(source, port))))
}

fn address(text: &str, ipv4: bool) -> Result<IpAddr, Malformed> {
    let address: IpAddr = text.parse().map_err(|_| Malformed::Address)?;
    if address.is_ipv4() == ipv4 { Ok(address.to_canonical()) } else { Err(Malformed::Address) }
}

/// No sign, no leading zero (2.1).
fn decimal_port(text: &str) -> Result<u16, Malformed> {
    let plain = text == "0" || !text.starts_with(['0', '+']);
    text.parse().ok().filter(|_| plain).ok_or(Malformed::Port)
}

fn read_binary(bytes: &[u8]) -> Result<Preamble, Malformed> {
    if !begins(bytes, SIGNATURE) {
        return Err(Malformed::Foreign);
    }
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Ok(Preamble::Missing(HEAD_BYTES - bytes.len()));
    };
    let [.., command, family, high, low] = *head;
    if !matches!(command, 0x20 | 0x21) {
        return Err(Malformed::Kind);
    }
    let behind = usize::from(u16::from_be_bytes([high, low]));
    let len = HEAD_BYTES + behind;
    if len > PREAMBLE_BYTES_MAX {
        return Err(Malformed::TooLong);
    }
    let Some(block) = rest.get(..behind) else {
        return Ok(Preamble::Missing(behind - rest.len()));
    };
    if command == 0x20 {
        // LOCAL: the block is to be skipped, family and all (2.2).
        return Ok(Preamble::Complete { len, origin: Origin::Proxy });
    }
    let (origin, values) = match family {
        0x00 => (Origin::Proxy, block),
        0x11 => {
            let (pair, values) = block.split_first_chunk::<12>().ok_or(Malformed::Length)?;
            let [a, b, c, d, .., high, low, _, _] = *pair;
            (Origin::Caller(caller(IpAddr::from([a, b, c, d]), [high, low])), values)
        }
        0x21 => {
            let (pair, values) = block.split_first_chunk::<36>().ok_or(Malformed::Length)?;
            let (source, _) = pair.split_first_chunk::<16>().ok_or(Malformed::Length)?;
            let [.., high, low, _, _] = *pair;
            (Origin::Caller(caller(Ipv6Addr::from(*source).into(), [high, low])), values)
        }
        // A socket of the proxy's machine has no address that means anything here.
        0x31 => {
            let (_, values) = block.split_first_chunk::<216>().ok_or(Malformed::Length)?;
            (Origin::Proxy, values)
        }
        _ => return Err(Malformed::Kind),
    };
    check_values(values, bytes.get(..len).unwrap_or_default())?;
    Ok(Preamble::Complete { len, origin })
}

fn caller(address: IpAddr, port: [u8; 2]) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), u16::from_be_bytes(port))
}

/// The type of a value that is the CRC32c of the whole header, itself counted as zeros.
const CHECKSUM: u8 = 0x03;

/// Values fill their block exactly; what they say is not looked at, except for a checksum.
fn check_values(values: &[u8], header: &[u8]) -> Result<(), Malformed> {
    let (mut rest, mut checked) = (values, false);
    while let Some((&[kind, high, low], behind)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, next) = behind.split_at_checked(length).ok_or(Malformed::Length)?;
        if kind == CHECKSUM {
            let due: [u8; 4] = value.try_into().map_err(|_| Malformed::Checksum)?;
            // Everything before it, the zeros, and everything behind it.
            let before = header.len() - next.len() - due.len();
            let (before, behind) = (header.get(..before), header.get(header.len() - next.len()..));
            let parts = [before.unwrap_or_default(), &[0; 4], behind.unwrap_or_default()];
            if std::mem::replace(&mut checked, true) || crc32c(&parts) != u32::from_be_bytes(due) {
                return Err(Malformed::Checksum);
            }
        }
        rest = next;
    }
    if rest.is_empty() { Ok(()) } else { Err(Malformed::Length) }
}

/// The CRC of RFC 3309 (Castagnoli), bit by bit: a header is short, and a connection has one.
fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in parts.iter().flat_map(|part| part.iter()) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as a connection does: never more than is known to be missing.
    fn trickle(bytes: &[u8]) -> Preamble {
        let mut have = 0;
        loop {
            match read(&bytes[..have]) {
                Preamble::Missing(0) => panic!("nothing is missing"),
                Preamble::Missing(more) if have + more > bytes.len() => {
                    // One byte less than it could be is also still incomplete.
                    assert!(matches!(read(bytes), Preamble::Missing(_) | Preamble::Malformed(_)));
                    return read(bytes);
                }
                Preamble::Missing(more) => have += more,
                Preamble::Complete { len, origin } => {
                    assert_eq!(len, have, "it read what is not the header's");
                    return Preamble::Complete { len, origin };
                }
                malformed => return malformed,
            }
        }
    }

    fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, block].concat()
    }

    fn four() -> Vec<u8> {
        vec![192, 0, 2, 7, 198, 51, 100, 1, 0x9c, 0xbb, 1, 0xbb]
    }

    fn value(kind: u8, value: &[u8]) -> Vec<u8> {
        [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
    }

    fn summed(mut block: Vec<u8>, behind: &[u8]) -> Vec<u8> {
        block.extend(value(CHECKSUM, &[0; 4]));
        let at = HEAD_BYTES + block.len() - 4;
        block.extend(behind);
        let mut header = binary(0x21, 0x11, &block);
        let crc = crc32c(&[&header]).to_be_bytes();
        header[at..at + 4].copy_from_slice(&crc);
        header
    }

    #[test]
    fn the_checksum_is_that_of_rfc_3720() {
        // RFC 3720 B.4.
        assert_eq!(crc32c(&[&[0; 32]]), 0x8a91_36aa);
        assert_eq!(crc32c(&[&[0xff; 32]]), 0x62a8_ab43);
        let up: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&[&up[..7], &up[7..]]), 0x46dd_794e);
    }

    #[test]
    fn legal_headers_say_whose_the_connection_is() {
        let caller = |text: &str| Origin::Caller(text.parse().unwrap());
        let mut six = vec![0; 36];
        six[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        six[32..34].copy_from_slice(&[0x9c, 0xbb]);
        let mut mapped = vec![0; 36];
        mapped[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 7]);
        let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(LINE_BYTES_MAX - 16));
        let cases: Vec<(Vec<u8>, Origin)> = vec![
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 40123 443\r\n".into(), caller("192.0.2.7:40123")),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 0 0\r\n".into(), caller("1.1.1.1:0")),
            (
                b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".into(),
                caller("255.255.255.255:65535"),
            ),
            (b"PROXY TCP6 2001:DB8::7 ::1 40123 443\r\n".into(), caller("[2001:db8::7]:40123")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 443\r\n".into(), caller("192.0.2.7:1")),
            (b"PROXY TCP6 :: :: 1 2\r\n".into(), caller("[::]:1")),
            (b"PROXY UNKNOWN\r\n".into(), Origin::Proxy),
            (b"PROXY UNKNOWN ffff:f...f:ffff  65535 \xff\r\n".into(), Origin::Proxy),
            (long.into_bytes(), Origin::Proxy),
            (binary(0x21, 0x11, &four()), caller("192.0.2.7:40123")),
            (binary(0x21, 0x21, &six), caller("[2001:db8::7]:40123")),
            (binary(0x21, 0x21, &mapped), caller("192.0.2.7:0")),
            (binary(0x21, 0x31, &[0; 216]), Origin::Proxy),
            (binary(0x21, 0x00, &[]), Origin::Proxy),
            (binary(0x20, 0x00, &[]), Origin::Proxy),
            (binary(0x20, 0x11, &four()), Origin::Proxy),
            (binary(0x20, 0xff, b"anything at all"), Origin::Proxy),
            (
                binary(0x21, 0x11, &[four(), value(0x04, &[0; 9]), value(0xee, b"")].concat()),
                caller("192.0.2.7:40123"),
            ),
            (summed(four(), b""), caller("192.0.2.7:40123")),
            (
                summed([four(), value(1, b"h2")].concat(), &value(2, b"a")),
                caller("192.0.2.7:40123"),
            ),
            (
                binary(0x21, 0x11, &[four(), value(4, &[0; 4065])].concat()),
                caller("192.0.2.7:40123"),
            ),
        ];
        for (bytes, origin) in cases {
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            let due = Preamble::Complete { len: bytes.len(), origin };
            assert_eq!(trickle(&bytes), due, "{shown:?}");
            let more = [&bytes[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
            assert_eq!(read(&more), due, "{shown:?}");
            for end in 0..bytes.len() {
                let Preamble::Missing(more) = read(&bytes[..end]) else {
                    panic!("{end} bytes are enough: {shown:?}");
                };
                assert!(end + more <= bytes.len(), "too many are missing: {shown:?}");
            }
        }
    }

    #[test]
    fn anything_else_is_refused() {
        use Malformed::{Address, Checksum, Foreign, Kind, Length, Line, Port, TooLong};
        let mut spoilt = summed(four(), b"");
        spoilt[16] ^= 1;
        let mut twice = summed(four(), b"");
        let again = twice[HEAD_BYTES + 12..].to_vec();
        twice.extend(again);
        twice[15] += 7;
        let cases: Vec<(Vec<u8>, Malformed)> = vec![
            (b"GET / HTTP/1.1\r\n\r\n".into(), Foreign),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), Foreign),
            (b"POST / HTTP/1.1\r\n\r\n".into(), Foreign),
            (b"\x16\x03\x01\x02\x00\x01\x00".into(), Foreign),
            (b"proxy TCP4 1.1.1.1 2.2.2.2 1 2\r\n".into(), Foreign),
            (b" PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n".into(), Foreign),
            (b"PROXY\tTCP4 1.1.1.1 2.2.2.2 1 2\r\n".into(), Foreign),
            (b"\r\n\r\n\0\r\nQUIT\r\x21\x11\0\x0c".into(), Foreign),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\n".into(), Line),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\r\n".into(), Port),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 \r\n".into(), Line),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2 3\r\n".into(), Line),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 1\r\n".into(), Line),
            (b"PROXY TCP4 1.1.1.1\xff 2.2.2.2 1 2\r\n".into(), Line),
            (b"PROXY TCP4  1.1.1.1 2.2.2.2 1 2\r\n".into(), Line),
            (b"PROXY TCP4  1.1.1.1 2.2.2.2 1\r\n".into(), Address),
            (b"PROXY TCP4 1.1.1.01 2.2.2.2 1 2\r\n".into(), Address),
            (b"PROXY TCP4 1.1.1.256 2.2.2.2 1 2\r\n".into(), Address),
            (b"PROXY TCP4 1.1.1 2.2.2.2 1 2\r\n".into(), Address),
            (b"PROXY TCP4 1.1.1.1 ::1 1 2\r\n".into(), Address),
            (b"PROXY TCP4 ::1 ::1 1 2\r\n".into(), Address),
            (b"PROXY TCP6 1.1.1.1 2.2.2.2 1 2\r\n".into(), Address),
            (b"PROXY TCP6 [::1] ::1 1 2\r\n".into(), Address),
            (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n".into(), Address),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 01 2\r\n".into(), Port),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 +1 2\r\n".into(), Port),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 -1 2\r\n".into(), Port),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 65536\r\n".into(), Port),
            (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 \r\n".into(), Port),
            (b"PROXY TCP5 1.1.1.1 2.2.2.2 1 2\r\n".into(), Kind),
            (b"PROXY UDP4 1.1.1.1 2.2.2.2 1 2\r\n".into(), Kind),
            (b"PROXY UNKNOWNS a b c d\r\n".into(), Kind),
            (format!("PROXY UNKNOWN {}\r\n", "f".repeat(92)).into(), TooLong),
            (format!("PROXY TCP4 {}", "1".repeat(100)).into(), TooLong),
            (binary(0x11, 0x11, &four()), Kind),
            (binary(0x31, 0x11, &four()), Kind),
            (binary(0x22, 0x11, &four()), Kind),
            (binary(0x21, 0x12, &four()), Kind),
            (binary(0x21, 0x10, &four()), Kind),
            (binary(0x21, 0x41, &four()), Kind),
            (binary(0x21, 0x32, &[0; 216]), Kind),
            (binary(0x21, 0x11, &four()[..11]), Length),
            (binary(0x21, 0x21, &[0; 35]), Length),
            (binary(0x21, 0x31, &[0; 215]), Length),
            (binary(0x21, 0x11, &[four(), vec![4, 0]].concat()), Length),
            (binary(0x21, 0x11, &[four(), vec![4, 0, 2, 0]].concat()), Length),
            (binary(0x21, 0x11, &[four(), vec![4, 0xff, 0xff]].concat()), Length),
            (binary(0x21, 0x11, &[four(), value(3, &[0; 4])].concat()), Checksum),
            (binary(0x21, 0x11, &[four(), value(3, &[0; 3])].concat()), Checksum),
            (spoilt, Checksum),
            (twice, Checksum),
            (binary(0x21, 0x11, &[four(), value(4, &[0; 4066])].concat()), TooLong),
            (binary(0x20, 0, &[0; 4081]), TooLong),
        ];
        for (bytes, fault) in cases {
            let shown = String::from_utf8_lossy(&bytes).into_owned();
            assert_eq!(trickle(&bytes), Preamble::Malformed(fault), "{shown:?}");
            assert_eq!(read(&bytes), Preamble::Malformed(fault), "{shown:?}");
        }
    }
}
