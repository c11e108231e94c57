//! What travels on a connection. PURE: bytes to frames and back, every length checked.
//! ```text
//! open    0x40 lowest highest lane              the versions spoken, each one byte
//! answer  0x40 version lowest highest           version 0: none in common
//! frame   length u32, of what follows | kind u8 | id u64 | rest
//!   request  service u8 | time left in ms u32 | payload
//!   reply    payload
//!   refusal  code u8 | text
//!   cancel   nothing: whoever asked waits no more
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::{Code, Lane, Refusal};

/// The first byte of a connection.
pub(super) const PROTOCOL: u8 = 0x40;
pub(super) const VERSION_LOWEST: u8 = 1;
pub(super) const VERSION_HIGHEST: u8 = 1;
pub(super) const HELLO_BYTES: usize = 4;

/// The largest payload: a value of the largest size the log takes, and what surrounds it.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
/// Kind, ID, service and time of a request.
const HEAD_BYTES_MAX: usize = 14;
const HEAD_BYTES_MIN: usize = 9;
const REFUSAL_TEXT_BYTES_MAX: usize = 1_024;
/// Room that is made for a frame before its bytes are there: a length is only a claim.
const ROOM_BYTES_MAX: usize = 256 << 10;

const REQUEST: u8 = 0;
const REPLY: u8 = 1;
const REFUSAL: u8 = 2;
const CANCEL: u8 = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Request { id: u64, service: u8, left_ms: u32, payload: Bytes },
    Reply { id: u64, payload: Bytes },
    Refusal { id: u64, refusal: Refusal },
    Cancel { id: u64 },
}

/// The connection cannot go on: where the next frame begins is not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("a frame of {0} bytes")]
    Length(usize),
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    #[error("a frame that ends too early")]
    Short,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

#[derive(Debug, Default)]
pub(super) struct Codec;

impl Decoder for Codec {
    type Item = Frame;
    type Error = WireError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<Frame>, WireError> {
        let Some(mut length) = bytes.get(..4) else { return Ok(None) };
        let length = length.get_u32() as usize;
        if !(HEAD_BYTES_MIN..=FRAME_BYTES_MAX + HEAD_BYTES_MAX).contains(&length) {
            return Err(WireError::Length(length));
        }
        if bytes.len() < 4 + length {
            bytes.reserve((4 + length - bytes.len()).min(ROOM_BYTES_MAX));
            return Ok(None);
        }
        bytes.advance(4);
        frame(bytes.split_to(length).freeze()).map(Some)
    }
}

fn frame(mut bytes: Bytes) -> Result<Frame, WireError> {
    let short = |_| WireError::Short;
    let kind = bytes.try_get_u8().map_err(short)?;
    let id = bytes.try_get_u64().map_err(short)?;
    match kind {
        REQUEST => {
            let service = bytes.try_get_u8().map_err(short)?;
            let left_ms = bytes.try_get_u32().map_err(short)?;
            Ok(Frame::Request { id, service, left_ms, payload: bytes })
        }
        REPLY => Ok(Frame::Reply { id, payload: bytes }),
        REFUSAL => {
            let code = code_of(bytes.try_get_u8().map_err(short)?);
            bytes.truncate(REFUSAL_TEXT_BYTES_MAX);
            Ok(Frame::Refusal { id, refusal: Refusal::new(code, String::from_utf8_lossy(&bytes)) })
        }
        CANCEL => Ok(Frame::Cancel { id }),
        other => Err(WireError::Kind(other)),
    }
}

impl Encoder<Frame> for Codec {
    type Error = WireError;

    fn encode(&mut self, frame: Frame, into: &mut BytesMut) -> Result<(), WireError> {
        let head = |into: &mut BytesMut, kind: u8, id: u64, rest: usize| {
            let length = HEAD_BYTES_MIN + rest;
            let prefix = u32::try_from(length).map_err(|_| WireError::Length(length))?;
            into.reserve(4 + length);
            into.put_u32(prefix);
            into.put_u8(kind);
            into.put_u64(id);
            Ok::<(), WireError>(())
        };
        match frame {
            Frame::Request { id, service, left_ms, payload } => {
                head(into, REQUEST, id, 5 + payload.len())?;
                into.put_u8(service);
                into.put_u32(left_ms);
                into.put_slice(&payload);
            }
            Frame::Reply { id, payload } => {
                head(into, REPLY, id, payload.len())?;
                into.put_slice(&payload);
            }
            Frame::Refusal { id, refusal } => {
                let text = refusal.text.as_bytes();
                let text = &text[..text.len().min(REFUSAL_TEXT_BYTES_MAX)];
                head(into, REFUSAL, id, 1 + text.len())?;
                into.put_u8(byte_of(refusal.code));
                into.put_slice(text);
            }
            Frame::Cancel { id } => head(into, CANCEL, id, 0)?,
        }
        Ok(())
    }
}

const CODES: [(u8, Code); 7] = [
    (1, Code::NoService),
    (2, Code::Busy),
    (3, Code::Malformed),
    (4, Code::TooLarge),
    (5, Code::Stopping),
    (6, Code::WrongServer),
    (7, Code::Failed),
];

fn code_of(byte: u8) -> Code {
    CODES.iter().find(|(number, _)| *number == byte).map_or(Code::Other(byte), |(_, code)| *code)
}

fn byte_of(code: Code) -> u8 {
    match code {
        Code::Other(byte) => byte,
        known => CODES.iter().find(|(_, code)| *code == known).map_or(0, |(number, _)| *number),
    }
}

/// What the one who connects says first.
pub(super) fn hello(lane: Lane) -> [u8; HELLO_BYTES] {
    [PROTOCOL, VERSION_LOWEST, VERSION_HIGHEST, lane as u8]
}

/// The version both speak and the lane, of a hello without its first byte; none: nothing in common.
pub(super) fn read_hello([lowest, highest, lane]: [u8; 3]) -> Option<(u8, Lane)> {
    let version = highest.min(VERSION_HIGHEST);
    (version >= lowest.max(VERSION_LOWEST)).then_some(version).zip(Lane::of(lane))
}

/// The answer to a hello; `version` 0 for nothing in common.
pub(super) fn welcome(version: u8) -> [u8; HELLO_BYTES] {
    [PROTOCOL, version, VERSION_LOWEST, VERSION_HIGHEST]
}

/// The version that was agreed on, or what to tell of it.
pub(super) fn read_welcome([protocol, version, lowest, highest]: [u8; HELLO_BYTES]) -> Result<u8, String> {
    if protocol != PROTOCOL {
        return Err(format!("it answered with byte {protocol:#04x}: it is no agent of this kind"));
    }
    match version {
        VERSION_LOWEST..=VERSION_HIGHEST => Ok(version),
        _ => Err(format!(
            "it speaks versions {lowest} to {highest} of the RPC protocol, this agent {VERSION_LOWEST} to \
             {VERSION_HIGHEST}: bring both to releases that share one"
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check_golden(frame: Frame, golden: &[u8]) {
        let mut bytes = BytesMut::new();
        Codec.encode(frame.clone(), &mut bytes).expect("encoded");
        assert_eq!(&bytes[..], golden);
        assert_eq!(Codec.decode(&mut bytes).expect("decoded"), Some(frame));
        assert!(bytes.is_empty());
    }

    #[test]
    fn frames_have_these_bytes() {
        let payload = Bytes::from_static(b"xy");
        check_golden(
            Frame::Request { id: 0x0102, service: 2, left_ms: 0x0304, payload: payload.clone() },
            b"\0\0\0\x10\0\0\0\0\0\0\0\x01\x02\x02\0\0\x03\x04xy",
        );
        check_golden(Frame::Reply { id: 7, payload }, b"\0\0\0\x0b\x01\0\0\0\0\0\0\0\x07xy");
        let refusal = Refusal::new(Code::Busy, "no");
        check_golden(Frame::Refusal { id: 7, refusal }, b"\0\0\0\x0c\x02\0\0\0\0\0\0\0\x07\x02no");
        check_golden(Frame::Cancel { id: 7 }, b"\0\0\0\x09\x03\0\0\0\0\0\0\0\x07");
    }

    #[test]
    fn a_hello_has_these_bytes_and_finds_the_highest_version_in_common() {
        assert_eq!(hello(Lane::Bulk), [0x40, 1, 1, 1]);
        assert_eq!(read_hello([1, 9, 0]), Some((1, Lane::Urgent)));
        assert_eq!(read_hello([2, 9, 0]), None);
        assert_eq!(read_hello([1, 1, 9]), None);
        assert_eq!(read_hello([9, 1, 0]), None);
        assert_eq!(read_welcome(welcome(1)), Ok(1));
        assert!(read_welcome([0x40, 0, 3, 4]).is_err_and(|text| text.contains("versions 3 to 4")));
        assert!(read_welcome(*b"HTTP").is_err_and(|text| text.contains("0x48")));
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_bytes_come() {
        let mut bytes = BytesMut::from(&b"\xff\xff\xff\xff"[..]);
        assert!(matches!(Codec.decode(&mut bytes), Err(WireError::Length(_))));
        let mut bytes = BytesMut::from(&b"\0\0\0\x08"[..]);
        assert!(matches!(Codec.decode(&mut bytes), Err(WireError::Length(8))));
        let mut large = BytesMut::from(&b"\x03\0\0\0"[..]);
        assert!(matches!(Codec.decode(&mut large), Ok(None)));
        assert!(large.capacity() < 2 * ROOM_BYTES_MAX, "a claim is given no room: {}", large.capacity());
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_or_a_frame_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut framed = BytesMut::new();
            framed.put_u32(u32::try_from(bytes.len()).expect("short"));
            framed.put_slice(&bytes);
            if let Ok(Some(frame)) = Codec.decode(&mut framed) {
                let mut again = BytesMut::new();
                Codec.encode(frame.clone(), &mut again).expect("encoded");
                prop_assert_eq!(Codec.decode(&mut again).expect("decoded"), Some(frame));
            }
        }
    }
}
