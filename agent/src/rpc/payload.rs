//! Values as payloads: one byte for the format, then postcard. PURE. Every service uses it, so that a
//! payload of a later version is refused by its number instead of being read as something else.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Code, Refusal};

/// The bytes are not what they should be; the text says in which way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("format {found} is not known here, this version reads {known}")]
    Format { found: u8, known: u8 },
    #[error("the bytes do not decode: {0}")]
    Bytes(String),
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        Self::new(Code::Malformed, error.to_string())
    }
}

/// `value` in `format`.
pub fn encode<T: Serialize + ?Sized>(format: u8, value: &T) -> Bytes {
    let written = postcard::to_extend(value, vec![format]);
    written.expect("memory takes every value, and none is of unknown length").into()
}

/// A value in `format`; bytes that follow it are an error.
pub fn decode<T: DeserializeOwned>(format: u8, bytes: &[u8]) -> Result<T, DecodeError> {
    let (found, rest) = bytes.split_first().ok_or_else(|| DecodeError::Bytes("there are none".to_owned()))?;
    if *found != format {
        return Err(DecodeError::Format { found: *found, known: format });
    }
    let (value, rest) = postcard::take_from_bytes(rest).map_err(|error| DecodeError::Bytes(error.to_string()))?;
    match rest.len() {
        0 => Ok(value),
        more => Err(DecodeError::Bytes(format!("{more} bytes too many"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_and_nothing_else_is_taken_for_it() {
        let bytes = encode(1, &(7_u64, "seven"));
        assert_eq!(&bytes[..], b"\x01\x07\x05seven");
        assert_eq!(decode::<(u64, String)>(1, &bytes), Ok((7, "seven".to_owned())));
        assert_eq!(decode::<(u64, String)>(2, &bytes), Err(DecodeError::Format { found: 1, known: 2 }));
        let longer = [&bytes[..], b"!"].concat();
        for garbage in [&bytes[..4], b"", &longer] {
            assert!(matches!(decode::<(u64, String)>(1, garbage), Err(DecodeError::Bytes(_))), "{garbage:?}");
        }
    }
}
