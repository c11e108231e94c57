//! Looking at a pool without being seen: an exchange of states that tells of nobody. A server asks so
//! before it names itself, since a datacenter has one kind of server.

use std::net::SocketAddr;
use std::time::Duration;

use super::resolve::dial_text;
use super::tcp::ask;
use super::traffic::Traffic;
use super::{Gossip, journal};
use crate::swim::admission::Rejection;
use crate::swim::codec::State;
use crate::swim::member::to_tags;
use crate::swim::stream::{self, StreamMessage};

const LOOK_TIME_MAX: Duration = Duration::from_secs(10);

/// Why an address is not joined.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// Nobody there, or nobody who speaks gossip; in Go's words.
    #[error("{0}")]
    Unreachable(String),
    #[error("{0}")]
    Foreign(Rejection),
}

impl Gossip {
    /// Ok where this agent may join, as far as that can be seen from here.
    pub(super) async fn look(&self, to: SocketAddr) -> Result<(), Unfit> {
        // A client may join either kind, and we are no stranger to ourselves.
        let Some(rules) = self.admission.as_ref().filter(|rules| rules.server && to != self.advertised) else {
            return Ok(());
        };
        let nobody = stream::push_pull(false, std::iter::empty(), &[]);
        let traffic = Traffic::new(self.pool);
        let received = ask(to, &self.seal.seal_stream(nobody), LOOK_TIME_MAX, &self.seal, &traffic)
            .await
            .map_err(|failure| Unfit::Unreachable(dial_text(to, &failure)))?;
        // What is no state of a pool is found again by the join, which says so.
        let Ok(StreamMessage::PushPull(theirs)) = StreamMessage::read(&received.bytes) else { return Ok(()) };
        let there = theirs.members.iter().filter(|(_, state)| *state != State::Left);
        let foreign = there.filter_map(|(alive, _)| rules.judge(alive.node, &to_tags(alive.meta)).err());
        match foreign.into_iter().find(|rejection| matches!(rejection, Rejection::Foreign { .. })) {
            Some(rejection) => {
                journal::rejected(self.scope, rejection.name(), &rejection.to_string());
                Err(Unfit::Foreign(rejection))
            }
            None => Ok(()),
        }
    }
}
