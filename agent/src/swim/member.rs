//! A member as we know it: what it said of itself, and what became of it.
//!
//! Two layers look at one record: SWIM's [`State`] (is it there?) and serf's [`MemberStatus`]
//! (did it mean to go?). Knows its own fields only; who may change them is `table`'s business.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use shared::event::{MemberState, MemberStatus, Pool};

use super::codec::{Alive, State};
use super::coordinate::Peer;
use super::msgpack::{Reader, Writer};
use super::suspicion::Suspicion;
use crate::moment::Moment;

/// A member's name, shared by all who mention it.
pub type Name = Arc<str>;

/// First byte of metadata that is a map of tags.
const TAGS_MAGIC: u8 = 0xff;
/// Tags of one member, at most; 512 bytes hold no more.
const TAGS_MAX: usize = 256;

#[derive(Clone, Debug)]
pub struct Member {
    pub name: Name,
    pub address: SocketAddr,
    pub meta: Arc<[u8]>,
    pub versions: [u8; 6],
    pub incarnation: u32,
    pub state: State,
    /// When `state` became what it is.
    pub changed: Moment,
    /// Serf's view: alive, leaving, left or failed; never suspect.
    pub status: MemberStatus,
    /// Lamport time of the intent behind `status`.
    pub status_ltime: u64,
    /// SWIM has forgotten it: dead for so long that nobody gossips to it; serf still lists it.
    pub forgotten: bool,
    pub(super) suspicion: Option<Box<Suspicion>>,
    pub(super) coordinate: Option<Box<Peer>>,
}

impl Member {
    pub(super) fn new(alive: &Alive<'_>, now: Moment) -> Self {
        Self {
            name: Arc::from(alive.node),
            address: alive.address,
            meta: Arc::from(alive.meta),
            versions: alive.versions,
            incarnation: alive.incarnation,
            state: State::Alive,
            changed: now,
            status: MemberStatus::Alive,
            status_ltime: 0,
            forgotten: false,
            suspicion: None,
            coordinate: None,
        }
    }

    /// Dead or gone, in SWIM's eyes.
    pub fn is_gone(&self) -> bool {
        matches!(self.state, State::Dead | State::Left)
    }

    /// What it says of itself.
    pub(super) fn to_alive(&self) -> Alive<'_> {
        Alive {
            incarnation: self.incarnation,
            node: &self.name,
            address: self.address,
            meta: &self.meta,
            versions: self.versions,
        }
    }

    /// The status as we show it: a suspect is one that is alive to serf.
    pub fn shown_status(&self) -> MemberStatus {
        match (self.status, self.state) {
            (MemberStatus::Alive, State::Suspect) => MemberStatus::Suspect,
            (status, _) => status,
        }
    }

    pub fn to_state(&self, pool: Pool) -> MemberState {
        MemberState {
            pool,
            name: self.name.to_string(),
            address: self.address.ip().to_string(),
            port: self.address.port(),
            status: self.shown_status(),
            incarnation: self.incarnation,
            protocol: self.versions[2],
            versions: self.versions,
            tags: to_tags(&self.meta),
        }
    }
}

/// Tags as they travel in an alive message.
pub fn to_meta(tags: &BTreeMap<String, String>) -> Vec<u8> {
    let mut out = vec![TAGS_MAGIC];
    let mut writer = Writer(&mut out);
    writer.map(tags.len());
    for (key, value) in tags {
        writer.field(key, |w| w.text(value));
    }
    out
}

/// The tags in a member's metadata; what is no map of tags is its role, as serf has it.
pub fn to_tags(meta: &[u8]) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::new();
    match meta.split_first() {
        None => {}
        Some((&TAGS_MAGIC, body)) => {
            let outcome = Reader::new(body).fields(|r, key| {
                let value = r.bytes()?;
                if tags.len() < TAGS_MAX {
                    tags.insert(String::from_utf8_lossy(key).into_owned(), String::from_utf8_lossy(value).into_owned());
                }
                Ok(())
            });
            // Bytes that end early leave the tags read so far.
            let _ = outcome;
        }
        Some(_) => {
            tags.insert("role".to_owned(), String::from_utf8_lossy(meta).into_owned());
        }
    }
    tags
}
