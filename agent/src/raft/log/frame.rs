//! PURE: the bytes of segments and frames, and the test whether bytes are one of ours.
//!
//! A segment is a head of 64 bytes, then frames, each at a multiple of 8, then zeros:
//!
//! ```text
//! head   magic[8] format u32 crc u32 salt u32 prev u32 number u64 base u64 zero[24]
//! frame  crc u32 length u32 prev u32 kind u8 zero[3] synced u64 term u64 index u64 payload[length]
//! ```
//!
//! All little-endian. Positions count bytes over all segments and are never used twice.

use std::ops::Range;

pub(crate) const HEAD_BYTES: usize = 64;
pub(crate) const FRAME_BYTES: usize = 40;
pub(crate) const ALIGN: u64 = 8;
const MAGIC: [u8; 8] = *b"quorate\x01";
/// Of the segments written here, and the newest that can be read.
pub(crate) const FORMAT: u32 = 1;
/// A frame's payload; far above any command, to bound what a damaged length can ask for.
pub(crate) const PAYLOAD_BYTES_MAX: usize = 1 << 30;

/// What a frame says. Numbers are never used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An entry without content: a leader's first.
    Blank,
    /// An entry: a command of the store and its time.
    Command,
    /// An entry: a configuration.
    Membership,
    Vote,
    /// Up to where the log is committed.
    Committed,
    /// Entries from `index` on are void.
    Truncate,
    /// Entries up to `index` may go.
    Purge,
    /// First in each segment: what those before it left.
    Carried,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Blank,
        Self::Command,
        Self::Membership,
        Self::Vote,
        Self::Committed,
        Self::Truncate,
        Self::Purge,
        Self::Carried,
    ];

    fn number(self) -> u8 {
        match self {
            Self::Blank => 1,
            Self::Command => 2,
            Self::Membership => 3,
            Self::Vote => 4,
            Self::Committed => 5,
            Self::Truncate => 6,
            Self::Purge => 7,
            Self::Carried => 8,
        }
    }

    pub(crate) fn is_entry(self) -> bool {
        matches!(self, Self::Blank | Self::Command | Self::Membership)
    }

    pub(crate) fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// Where frames go: the segment's salt, the checksum of the frame before, and the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) salt: u32,
    pub(crate) prev: u32,
    pub(crate) position: u64,
}

/// A frame but for its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) term: u64,
    pub(crate) index: u64,
    /// Everything below this position was on disk when the frame was made.
    pub(crate) synced: u64,
}

/// The size of a frame with its padding.
pub(crate) fn frame_bytes(payload: usize) -> u64 {
    ((FRAME_BYTES + payload) as u64).next_multiple_of(ALIGN)
}

/// Appends a frame to `out` and moves the chain on.
pub(crate) fn write(chain: &mut Chain, frame: &Frame, payload: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let length = u32::try_from(payload.len()).expect("the log refuses payloads that do not fit");
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&chain.prev.to_le_bytes());
    out.extend_from_slice(&[frame.kind.number(), 0, 0, 0]);
    out.extend_from_slice(&frame.synced.to_le_bytes());
    out.extend_from_slice(&frame.term.to_le_bytes());
    out.extend_from_slice(&frame.index.to_le_bytes());
    out.extend_from_slice(payload);
    let crc = checksum(chain.salt, chain.position, &out[start + 4..]);
    out[start..start + 4].copy_from_slice(&crc.to_le_bytes());
    let size = frame_bytes(payload.len());
    out.resize(start + size as usize, 0);
    chain.prev = crc;
    chain.position += size;
}

/// Binds the bytes to their place: nothing that once was elsewhere is taken for a frame here.
fn checksum(salt: u32, position: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&position.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The first bytes of what may be a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    crc: u32,
    pub(crate) length: usize,
    pub(crate) prev: u32,
    pub(crate) kind: u8,
    pub(crate) synced: u64,
    pub(crate) term: u64,
    pub(crate) index: u64,
}

impl Claim {
    /// What `head` claims to be; none when it cannot be a frame that ends within `room` bytes.
    pub(crate) fn read(head: &[u8; FRAME_BYTES], room: u64) -> Option<Self> {
        let claim = Self {
            crc: u32_at(head, 0),
            length: u32_at(head, 4) as usize,
            prev: u32_at(head, 8),
            kind: head[12],
            synced: u64_at(head, 16),
            term: u64_at(head, 24),
            index: u64_at(head, 32),
        };
        let fits = claim.length <= PAYLOAD_BYTES_MAX && frame_bytes(claim.length) <= room;
        (claim.kind != 0 && head[13..16] == [0; 3] && fits).then_some(claim)
    }

    pub(crate) fn size(&self) -> u64 {
        frame_bytes(self.length)
    }

    pub(crate) fn crc(&self) -> u32 {
        self.crc
    }

    /// Whether `frame` (head and payload, no padding) is what was written at `position`.
    pub(crate) fn holds(&self, salt: u32, position: u64, frame: &[u8]) -> bool {
        frame.len() == FRAME_BYTES + self.length && checksum(salt, position, &frame[4..]) == self.crc
    }
}

/// Where the payload is in a frame.
pub(crate) fn payload(length: usize) -> Range<usize> {
    FRAME_BYTES..FRAME_BYTES + length
}

/// The first bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Random: no user can write a value that looks like a frame.
    pub(crate) salt: u32,
    /// Checksum of the last frame before this segment.
    pub(crate) prev: u32,
    pub(crate) number: u64,
    /// Position of the segment's first byte.
    pub(crate) base: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// Not a head that was written whole.
    Torn,
    /// Whole, and of a format this version does not read.
    Newer(u32),
}

impl Head {
    pub(crate) fn write(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.salt.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.prev.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.number.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.base.to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(crate) fn read(bytes: &[u8; HEAD_BYTES]) -> Result<Self, HeadError> {
        let mut summed = *bytes;
        summed[12..16].fill(0);
        if bytes[..8] != MAGIC || crc32fast::hash(&summed) != u32_at(bytes, 12) {
            return Err(HeadError::Torn);
        }
        match u32_at(bytes, 8) {
            FORMAT => {}
            newer => return Err(HeadError::Newer(newer)),
        }
        Ok(Self {
            salt: u32_at(bytes, 16),
            prev: u32_at(bytes, 20),
            number: u64_at(bytes, 24),
            base: u64_at(bytes, 32),
        })
    }

    /// Where the segment's first frame goes.
    pub(crate) fn chain(&self) -> Chain {
        Chain { salt: self.salt, prev: self.prev, position: self.base + HEAD_BYTES as u64 }
    }
}

/// A segment's file name.
pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:016x}.log")
}

pub(crate) fn segment_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}
