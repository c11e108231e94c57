//! How messages are wrapped for a packet: CRC around compression around a compound.
//!
//! Used by the state machine on both ways, and by `stream` for compression.
//! What a packet may make us do is bounded: depth, parts, bytes after inflation.
//! Encryption is the driver's: here all bytes are plain.

use std::borrow::Cow;

use weezl::{BitOrder, LzwStatus, decode, encode};

use super::codec::kind;
use super::msgpack::{Flaw, Reader, Writer};

/// Bytes of a packet before encryption, at most: the budget of every implementation in a pool.
pub const PACKET_BYTES_MAX: usize = 1400;
/// What a compound costs, and what each part of it costs.
pub const COMPOUND_BYTES: usize = 2;
pub const COMPOUND_PART_BYTES: usize = 2;
/// Parts of one compound: its count is one byte.
pub const COMPOUND_PARTS_MAX: usize = 255;
/// What a CRC costs.
pub const CRC_BYTES: usize = 5;
/// From this protocol version on a member understands a CRC.
pub const CRC_PROTOCOL: u8 = 5;

/// A UDP packet inflates to this at most, all that is packed in it together: sixteen of the largest.
const PACKET_INFLATION_MAX: usize = 1 << 20;
/// Messages and wrappers of one packet, at most: lawful are a full compound and three wrappers.
const PACKET_MESSAGES_MAX: usize = 1024;
/// Wrappers inside wrappers, at most; three are lawful.
const DEPTH_MAX: u8 = 4;
/// Shorter bytes never get smaller: what wraps them eats up what is gained.
const DEFLATED_MIN: usize = 100;
const LZW_CODE_BITS: u8 = 8;

/// Calls `visit` with each bare message of a packet, in order.
/// On a flaw the messages before it were visited.
pub fn unpack(bytes: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<(), Flaw> {
    unpack_nested(bytes, 0, &mut Budget { bytes: PACKET_INFLATION_MAX, messages: PACKET_MESSAGES_MAX }, visit)
}

/// What one packet may still make us do: packed things inside packed things would multiply.
struct Budget {
    bytes: usize,
    messages: usize,
}

fn unpack_nested(bytes: &[u8], depth: u8, budget: &mut Budget, visit: &mut dyn FnMut(&[u8])) -> Result<(), Flaw> {
    if depth > DEPTH_MAX || budget.messages == 0 {
        return Err(Flaw::Malformed);
    }
    budget.messages -= 1;
    let (&first, body) = bytes.split_first().ok_or(Flaw::Malformed)?;
    match first {
        kind::HAS_CRC => {
            let (sum, rest) = body.split_at_checked(4).ok_or(Flaw::Malformed)?;
            if crc32fast::hash(rest).to_be_bytes() != sum {
                return Err(Flaw::Malformed);
            }
            unpack_nested(rest, depth + 1, budget, visit)
        }
        kind::COMPRESS => {
            let plain = inflate(body, budget.bytes)?;
            budget.bytes -= plain.len();
            unpack_nested(&plain, depth + 1, budget, visit)
        }
        kind::COMPOUND => unpack_compound(body, depth, budget, visit),
        _ => {
            visit(bytes);
            Ok(())
        }
    }
}

fn unpack_compound(body: &[u8], depth: u8, budget: &mut Budget, visit: &mut dyn FnMut(&[u8])) -> Result<(), Flaw> {
    let (&count, body) = body.split_first().ok_or(Flaw::Malformed)?;
    let (lengths, mut parts) =
        body.split_at_checked(usize::from(count) * COMPOUND_PART_BYTES).ok_or(Flaw::Malformed)?;
    for length in lengths.chunks_exact(COMPOUND_PART_BYTES) {
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let (part, rest) = parts.split_at_checked(length).ok_or(Flaw::Malformed)?;
        parts = rest;
        unpack_nested(part, depth + 1, budget, visit)?;
    }
    Ok(())
}

/// One packet of the parts, which fit it: compound when there are several, compressed when that
/// makes it smaller, with a CRC when the receiver knows it.
pub fn pack<P: AsRef<[u8]>>(parts: &[P], crc: bool) -> Vec<u8> {
    let bare: Cow<'_, [u8]> = match parts {
        [one] => Cow::Borrowed(one.as_ref()),
        several => Cow::Owned(compound(several)),
    };
    let body = deflate(&bare).map_or(bare, Cow::Owned);
    if !crc {
        return body.into_owned();
    }
    let mut out = Vec::with_capacity(body.len() + CRC_BYTES);
    out.push(kind::HAS_CRC);
    out.extend(crc32fast::hash(&body).to_be_bytes());
    out.extend(&*body);
    out
}

fn compound<P: AsRef<[u8]>>(parts: &[P]) -> Vec<u8> {
    let parts = &parts[..parts.len().min(COMPOUND_PARTS_MAX)];
    let mut out = vec![kind::COMPOUND, parts.len() as u8];
    for part in parts {
        out.extend(u16::try_from(part.as_ref().len()).unwrap_or(u16::MAX).to_be_bytes());
    }
    for part in parts {
        out.extend(part.as_ref());
    }
    out
}

/// The compress message for these bytes, when it is smaller than they are.
pub(super) fn deflate(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() < DEFLATED_MIN {
        return None;
    }
    let mut packed = Vec::with_capacity(bytes.len());
    let outcome = encode::Encoder::new(BitOrder::Lsb, LZW_CODE_BITS).into_vec(&mut packed).encode_all(bytes);
    outcome.status.ok()?;
    let mut out = Vec::with_capacity(packed.len() + 16);
    out.push(kind::COMPRESS);
    let mut writer = Writer(&mut out);
    writer.map(2);
    writer.field("Algo", |w| w.uint(0));
    writer.field("Buf", |w| w.bytes(&packed));
    (out.len() < bytes.len()).then_some(out)
}

/// The bytes inside a compress message (without its type byte), `limit` at most.
pub(super) fn inflate(body: &[u8], limit: usize) -> Result<Vec<u8>, Flaw> {
    let (mut algorithm, mut packed) = (0u8, &[][..]);
    Reader::new(body).fields(|r, key| {
        match key {
            b"Algo" => algorithm = r.uint()?,
            b"Buf" => packed = r.bytes()?,
            _ => r.skip()?,
        }
        Ok(())
    })?;
    if algorithm != 0 {
        return Err(Flaw::Malformed);
    }
    let mut decoder = decode::Decoder::new(BitOrder::Lsb, LZW_CODE_BITS);
    let mut plain = Vec::with_capacity((packed.len() * 2).min(limit));
    let mut chunk = [0; 4096];
    loop {
        let step = decoder.decode_bytes(packed, &mut chunk);
        packed = &packed[step.consumed_in..];
        plain.extend(&chunk[..step.consumed_out]);
        if plain.len() > limit {
            return Err(Flaw::Malformed);
        }
        match step.status {
            Ok(LzwStatus::Ok) => {}
            Ok(LzwStatus::Done) => return Ok(plain),
            // Go's reader wants the end code too: bytes that stop before it were cut off.
            Ok(LzwStatus::NoProgress) | Err(_) => return Err(Flaw::Malformed),
        }
    }
}
