//! How gRPC puts a message into the body of a unary call: one byte that says whether it is
//! compressed, its length in four bytes, big endian, and itself.

use super::answer::Nonsense;
use prost::Message;

/// Before each message.
pub const PREFIX_BYTES: usize = 5;

/// A message with its prefix.
pub fn framed(message: &impl Message) -> Vec<u8> {
    let length = message.encoded_len();
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + length);
    bytes.push(0);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    // A vector grows: it always has the room that is asked for.
    let _ = message.encode(&mut bytes);
    bytes
}

/// The one message of a unary call in a whole body.
///
/// # Errors
/// There is none, more than one, or it is compressed.
pub fn message(body: &[u8]) -> Result<&[u8], Nonsense> {
    let nonsense = |what: &str| Err(Nonsense(what.to_owned()));
    let Some(([compressed, length @ ..], message)) = body.split_first_chunk::<PREFIX_BYTES>()
    else {
        return nonsense("there is no whole message");
    };
    if *compressed != 0 {
        return nonsense("the message is compressed, and nobody asked for that");
    }
    match usize::try_from(u32::from_be_bytes(*length)) {
        Ok(length) if length == message.len() => Ok(message),
        Ok(length) if length < message.len() => nonsense("there is more than one message"),
        _ => nonsense("the body breaks off inside its message"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::proto::BoolValue;
    use super::*;

    #[test]
    fn what_is_framed_is_read_and_nothing_more_or_less_than_one_message_is() {
        let bytes = framed(&BoolValue { value: true });
        assert_eq!(bytes, [0, 0, 0, 0, 2, 8, 1]);
        assert_eq!(message(&bytes), Ok(&[8, 1][..]));
        assert_eq!(message(&framed(&BoolValue::default())), Ok(&[][..]));
        for cut in 0..bytes.len() {
            assert!(message(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(message(&[&bytes[..], &bytes].concat()).is_err());
        let compressed = [&[1][..], &bytes[1..]].concat();
        assert!(message(&compressed).is_err());
    }
}
