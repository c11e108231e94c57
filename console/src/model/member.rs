//! One member of a gossip pool: what it is, and what happened to it since this console looks.

use serde::{Deserialize, Serialize};
use shared::event::{MemberState, MemberStatus, Pool};
use shared::time::WallTime;

use super::mark::Mark;

/// Turns kept of one member; the oldest go first.
const TURNS_MAX: usize = 40;

/// Something that happened to a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    pub at: WallTime,
    pub mark: Mark,
    /// One word: `joined`, `suspected`, `refuted`.
    pub word: String,
    /// Who, why, how long; may be empty.
    pub text: String,
}

/// A suspicion that is going on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspicion {
    /// The first one first.
    pub by: Vec<String>,
    pub confirmations: u32,
    pub expected: u32,
    /// When it ends in a failure, unless the member says that it lives.
    pub fails_at: Option<WallTime>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub state: MemberState,
    /// Since when it has this status; none when it had it before we came.
    pub since: Option<WallTime>,
    /// What gossip last said about it, such as who suspects it.
    pub note: Option<String>,
    pub suspicion: Option<Suspicion>,
    /// Oldest first.
    pub turns: Vec<Turn>,
    /// Not mentioned by the picture that is coming in; goes if it stays so.
    pub unseen: bool,
}

impl Member {
    pub fn new(state: MemberState, since: Option<WallTime>) -> Self {
        Self { state, since, note: None, suspicion: None, turns: Vec::new(), unseen: false }
    }

    pub fn is_server(&self) -> bool {
        self.state.tags.get("role").is_some_and(|role| role == "consul")
    }

    /// `server`, `client`, or whatever role it claims.
    pub fn kind(&self) -> &str {
        match self.tag("role") {
            Some("consul") => "server",
            Some("node") => "client",
            Some(other) => other,
            None => "?",
        }
    }

    pub fn tag(&self, name: &str) -> Option<&str> {
        self.state.tags.get(name).map(String::as_str)
    }

    /// The node ID it claims, which is its Raft server ID when it is a server.
    pub fn id(&self) -> Option<&str> {
        self.tag("id")
    }

    /// The node it is an agent of: a server is `node.dc` in the WAN pool.
    pub fn node(&self) -> &str {
        let name = self.state.name.as_str();
        match (self.state.pool, self.tag("dc")) {
            (Pool::Wan, Some(dc)) => name.strip_suffix(dc).and_then(|head| head.strip_suffix('.')).unwrap_or(name),
            _ => name,
        }
    }

    /// The API level it claims, without what follows the colon.
    pub fn build(&self) -> &str {
        let build = self.tag("build").unwrap_or("?");
        build.split(':').next().unwrap_or(build)
    }

    pub fn turn(&mut self, turn: Turn) {
        // One happening may be told by an event and by a log, and a log repeats a doubt with every probe.
        let same = |last: &&Turn| last.word == turn.word && last.text == turn.text;
        if self.turns.last().filter(same).is_some_and(|last| last.at == turn.at || last.word == "suspected") {
            return;
        }
        if self.turns.len() >= TURNS_MAX {
            self.turns.remove(0);
        }
        self.turns.push(turn);
    }

    /// How often it said, within this time, that it lives although it was suspected.
    pub fn refutals(&self, now: WallTime, within_us: u64) -> usize {
        let recent = |turn: &&Turn| turn.word == "refuted" && now.micros_since(turn.at) <= within_us;
        self.turns.iter().filter(recent).count()
    }
}

pub fn status_word(status: MemberStatus) -> &'static str {
    match status {
        MemberStatus::Alive => "alive",
        MemberStatus::Suspect => "suspect",
        MemberStatus::Leaving => "leaving",
        MemberStatus::Left => "left",
        MemberStatus::Failed => "failed",
    }
}
