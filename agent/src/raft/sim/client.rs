//! Those who read and write in a simulation, and tell the judge what they asked and what came of it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng, SeedableRng};
use shared::event::Role;
use tokio::time::{sleep, timeout};

use super::disk::held;
use super::history::{Act, Came};
use super::judge::Judge;
use super::schedule::Flaw;
use crate::raft::WriteError;
use crate::raft::node::Raft;
use crate::store::command::{Command, KvCommand};
use crate::store::query::{Answer, Query};

const KEYS: u32 = 5;
const PAUSE_MS: u64 = 60;
const VALUE_BYTES_MAX: usize = 300;
/// Then it gives up, and does not know what becomes of it.
const PATIENCE: Duration = Duration::from_secs(3);

/// The servers that run now, by machine.
pub(crate) type Crowd = Arc<Mutex<Vec<Option<Raft>>>>;

/// Who leads as it says itself; the latest term, when two do.
pub(crate) fn leader(crowd: &Crowd) -> Option<Raft> {
    let crowd = held(crowd).clone();
    let leads = |raft: &Raft| raft.state().borrow().role == Role::Leader;
    crowd.into_iter().flatten().filter(leads).max_by_key(|raft| raft.state().borrow().term)
}

pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) rng: SmallRng,
    pub(crate) crowd: Crowd,
    pub(crate) judge: Arc<Mutex<Judge>>,
    pub(crate) flaw: Option<Flaw>,
    count: u64,
}

impl Client {
    pub(crate) fn new(name: String, seed: u64, crowd: &Crowd, judge: &Arc<Mutex<Judge>>, flaw: Option<Flaw>) -> Self {
        let rng = SmallRng::seed_from_u64(seed);
        Self { name, rng, crowd: Arc::clone(crowd), judge: Arc::clone(judge), flaw, count: 0 }
    }

    pub(crate) async fn run(mut self) {
        loop {
            sleep(Duration::from_millis(self.rng.random_range(1..=PAUSE_MS))).await;
            let Some(raft) = self.server() else { continue };
            let key = format!("key/{}", self.rng.random_range(0..KEYS));
            match self.rng.random_range(0..10) {
                0..4 => self.read(&raft, key).await,
                4..8 => {
                    let value = self.value();
                    let command = KvCommand::Set { key: key.clone(), value: value.clone(), flags: 0 };
                    self.write(&raft, key, command, Act::Set(value)).await;
                }
                _ => {
                    // What this server knows of it may be old; then it is not set.
                    let (index, _) = seen(&raft, &key);
                    let value = self.value();
                    let command = KvCommand::Cas { key: key.clone(), value: value.clone(), flags: 0, index };
                    self.write(&raft, key, command, Act::Cas(value, index)).await;
                }
            }
        }
    }

    /// Mostly one that says it leads; of those that do, any.
    fn server(&mut self) -> Option<Raft> {
        let all: Vec<Raft> = held(&self.crowd).iter().flatten().cloned().collect();
        let lead: Vec<Raft> = all.iter().filter(|raft| raft.state().borrow().role == Role::Leader).cloned().collect();
        let some = if lead.is_empty() || self.rng.random_bool(0.1) { all } else { lead };
        some.choose(&mut self.rng).cloned()
    }

    /// No other is the same.
    fn value(&mut self) -> Vec<u8> {
        self.count += 1;
        let mut value = format!("{}/{} ", self.name, self.count);
        value.extend(std::iter::repeat_n('.', self.rng.random_range(0..VALUE_BYTES_MAX)));
        value.into_bytes()
    }

    async fn write(&mut self, raft: &Raft, key: String, command: KvCommand, act: Act) {
        let op = held(&self.judge).begin(&key, act);
        let came = match timeout(PATIENCE, raft.write(Command::Kv(command))).await {
            Ok(Ok((index, outcome))) => Came::Wrote(index, outcome),
            Ok(Err(WriteError::NotLeader)) => Came::Refused,
            Ok(Err(WriteError::Unknown(_))) | Err(_) => Came::Unknown,
        };
        held(&self.judge).end(op, came);
    }

    async fn read(&mut self, raft: &Raft, key: String) {
        let op = held(&self.judge).begin(&key, Act::Read);
        let served = if self.flaw == Some(Flaw::ReadsWithoutBarrier) {
            true
        } else {
            matches!(timeout(PATIENCE, raft.barrier()).await, Ok(Ok(())))
        };
        let came = if served { Some(seen(raft, &key)) } else { None };
        held(&self.judge).end(op, came.map_or(Came::Unknown, |(index, value)| Came::Saw(index, value)));
    }
}

/// The entry that a server's state has this key from, and its value.
fn seen(raft: &Raft, key: &str) -> (u64, Vec<u8>) {
    match raft.store().query(&Query::KvGet { key: key.to_owned() }).1 {
        Answer::KvPair(Some(pair)) => (pair.modify_index, pair.value.to_vec()),
        _ => (0, Vec::new()),
    }
}
