//! What goes over a stream: one message each way, a push/pull or a ping.
//!
//! [`Scan`] tells a reader of a socket when it has a whole message, reading each byte once;
//! [`StreamMessage::read`] then reads it. Used by `gossip::tcp` and by the state machine.
//! Sizes are bounded here: whoever is at the other end may be anybody.

use super::codec::{Alive, Message, State, kind, read_member, write_member};
use super::msgpack::{Flaw, Reader, Writer};
use super::packet::{deflate, inflate};

/// A push/pull is at most this long, on the wire and inflated.
pub const STREAM_BYTES_MAX: usize = 20 << 20;
/// What a compressed stream may inflate to.
const INFLATION_MAX: usize = 40 << 20;
/// One member of a push/pull, or a message that is neither state nor compressed: far more than any needs.
const VALUE_BYTES_MAX: usize = 64 << 10;
/// An error's text that is told on.
const ERROR_BYTES_MAX: usize = 512;
/// Members in one push/pull, at most.
const MEMBERS_MAX: usize = 1 << 20;

/// A whole pool's state as one member tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushPull<'a> {
    /// The sender joins, rather than compares.
    pub join: bool,
    pub members: Vec<(Alive<'a>, State)>,
    /// Serf's part.
    pub user: &'a [u8],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamMessage<'a> {
    PushPull(PushPull<'a>),
    /// A ping, an ack, and nothing else.
    Bare(Message<'a>),
    User(&'a [u8]),
    /// The other side could not go on, in its words.
    Error(&'a str),
}

impl<'a> StreamMessage<'a> {
    /// Reads a whole plain message, that is after [`plain`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, Flaw> {
        let (&first, body) = bytes.split_first().ok_or(Flaw::Malformed)?;
        match first {
            kind::PUSH_PULL => read_push_pull(body).map(Self::PushPull),
            kind::USER => {
                let mut reader = Reader::new(body);
                let length = read_user_header(&mut reader)?;
                reader.rest().get(..length).map(Self::User).ok_or(Flaw::Malformed)
            }
            kind::ERROR => {
                let mut text = "";
                Reader::new(body).fields(|r, key| {
                    match key {
                        b"Error" => text = r.text()?,
                        _ => r.skip()?,
                    }
                    Ok(())
                })?;
                let end = text.floor_char_boundary(ERROR_BYTES_MAX);
                Ok(Self::Error(&text[..end]))
            }
            kind::PING | kind::ACK => Message::read(bytes).map(Self::Bare),
            _ => Err(Flaw::Malformed),
        }
    }
}

/// The message itself: inflated when it is a compressed one.
pub fn plain(bytes: Vec<u8>) -> Result<Vec<u8>, Flaw> {
    match plain_within(&bytes, INFLATION_MAX)? {
        Some(inflated) => Ok(inflated),
        None => Ok(bytes),
    }
}

/// The inflated message when it is compressed; an error when it is longer than `limit`.
pub fn plain_within(bytes: &[u8], limit: usize) -> Result<Option<Vec<u8>>, Flaw> {
    match bytes.split_first() {
        Some((&kind::COMPRESS, body)) => inflate(body, limit).map(Some),
        _ => Ok(None),
    }
}

fn read_push_pull(body: &[u8]) -> Result<PushPull<'_>, Flaw> {
    let mut reader = Reader::new(body);
    let header = Header::read(&mut reader)?;
    // What is claimed is not yet there: a member is some 40 bytes at least.
    let mut members = Vec::with_capacity(header.members.min(body.len() / 40));
    for _ in 0..header.members {
        members.push(read_member(&mut reader)?);
    }
    let user = reader.rest().get(..header.user_bytes).ok_or(Flaw::Malformed)?;
    Ok(PushPull { join: header.join, members, user })
}

struct Header {
    members: usize,
    user_bytes: usize,
    join: bool,
}

impl Header {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Flaw> {
        let mut header = Self { members: 0, user_bytes: 0, join: false };
        reader.fields(|r, key| {
            match key {
                b"Nodes" => header.members = r.uint()?,
                b"UserStateLen" => header.user_bytes = r.uint()?,
                b"Join" => header.join = r.boolean()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        if header.members > MEMBERS_MAX || header.user_bytes > STREAM_BYTES_MAX {
            return Err(Flaw::Malformed);
        }
        Ok(header)
    }
}

fn read_user_header(reader: &mut Reader<'_>) -> Result<usize, Flaw> {
    let mut length = 0;
    reader.fields(|r, key| {
        match key {
            b"UserMsgLen" => length = r.uint()?,
            _ => r.skip()?,
        }
        Ok(())
    })?;
    if length > STREAM_BYTES_MAX { Err(Flaw::Malformed) } else { Ok(length) }
}

/// A push/pull as it is sent: compressed when that is smaller.
pub fn push_pull<'a>(join: bool, members: impl ExactSizeIterator<Item = (Alive<'a>, State)>, user: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + members.len() * 160 + user.len());
    out.push(kind::PUSH_PULL);
    let mut writer = Writer(&mut out);
    writer.map(3);
    writer.field("Join", |w| w.boolean(join));
    writer.field("Nodes", |w| w.uint(members.len() as u64));
    writer.field("UserStateLen", |w| w.uint(user.len() as u64));
    for (member, state) in members {
        write_member(&member, state, &mut out);
    }
    out.extend(user);
    deflate(&out).unwrap_or(out)
}

/// The refusal that a peer understands.
pub fn error(text: &str) -> Vec<u8> {
    let mut out = vec![kind::ERROR];
    let mut writer = Writer(&mut out);
    writer.map(1);
    writer.field("Error", |w| w.text(text));
    out
}

/// Where a reader of a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Start,
    Members {
        left: usize,
        user_bytes: usize,
    },
    Bytes {
        left: usize,
    },
    Value,
    /// A compressed message: however long, it is two fields, so that looking again costs nothing.
    Packed,
    Done,
}

/// Finds the end of a stream's message while it arrives.
#[derive(Debug)]
pub struct Scan {
    at: usize,
    phase: Phase,
}

impl Default for Scan {
    fn default() -> Self {
        Self { at: 0, phase: Phase::Start }
    }
}

impl Scan {
    /// Given all bytes so far: true when they hold a whole message, an error when they never will.
    pub fn is_whole(&mut self, bytes: &[u8]) -> Result<bool, Flaw> {
        if bytes.len() > STREAM_BYTES_MAX {
            return Err(Flaw::Malformed);
        }
        loop {
            match self.step(bytes) {
                Ok(Phase::Done) => {
                    self.phase = Phase::Done;
                    return Ok(true);
                }
                Ok(next) => self.phase = next,
                Err(Flaw::Short) => return Ok(false),
                Err(flaw) => return Err(flaw),
            }
        }
    }

    fn step(&mut self, bytes: &[u8]) -> Result<Phase, Flaw> {
        let rest = bytes.get(self.at..).ok_or(Flaw::Short)?;
        let (mut used, next);
        match self.phase {
            Phase::Start => {
                let (&first, body) = rest.split_first().ok_or(Flaw::Short)?;
                let mut reader = Reader::new(body);
                used = 1;
                next = match first {
                    kind::PUSH_PULL => {
                        let header = Header::read(&mut reader)?;
                        Phase::Members { left: header.members, user_bytes: header.user_bytes }
                    }
                    kind::USER => Phase::Bytes { left: read_user_header(&mut reader)? },
                    kind::ENCRYPT => {
                        let length = <[u8; 4]>::try_from(body.get(..4).ok_or(Flaw::Short)?).unwrap_or_default();
                        used += 4;
                        Phase::Bytes { left: u32::from_be_bytes(length) as usize }
                    }
                    kind::COMPRESS => Phase::Packed,
                    kind::PING | kind::ACK | kind::ERROR => Phase::Value,
                    _ => return Err(Flaw::Malformed),
                };
                used += reader.at();
            }
            Phase::Members { left: 0, user_bytes } => return Ok(Phase::Bytes { left: user_bytes }),
            Phase::Members { left, user_bytes } => {
                used = skip_value(rest)?;
                next = Phase::Members { left: left - 1, user_bytes };
            }
            Phase::Bytes { left } => {
                used = left;
                next = Phase::Done;
                if rest.len() < left {
                    return Err(Flaw::Short);
                }
            }
            Phase::Value => {
                used = skip_value(rest)?;
                next = Phase::Done;
            }
            Phase::Packed => {
                let mut reader = Reader::new(rest);
                reader.fields(|r, key| match key {
                    b"Algo" => r.int().map(drop),
                    b"Buf" => r.raw().map(drop),
                    _ => Err(Flaw::Malformed),
                })?;
                used = reader.at();
                next = Phase::Done;
            }
            Phase::Done => return Ok(Phase::Done),
        }
        self.at += used;
        Ok(next)
    }
}

/// The length of the value that `bytes` begin with. One that is not whole is read again when more came:
/// so it must be short.
fn skip_value(bytes: &[u8]) -> Result<usize, Flaw> {
    let mut reader = Reader::new(bytes);
    match reader.skip() {
        Ok(()) => Ok(reader.at()),
        Err(Flaw::Short) if bytes.len() > VALUE_BYTES_MAX => Err(Flaw::Malformed),
        Err(flaw) => Err(flaw),
    }
}
