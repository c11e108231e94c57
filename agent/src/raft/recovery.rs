//! Outage recovery: a `peers.json` that an operator left in `raft/` becomes the configuration before
//! Raft starts, with all that is in the log. And what he needs for it: `peers.info` explains the file,
//! `peers.info.json` is the configuration in its form, kept current.
//!
//! The new snapshot is the one step that counts: before its rename all is as it was, after it the
//! configuration is the new one. What follows is done again when the file is still there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use openraft::RaftLogReader as _;
use openraft::storage::{RaftLogStorage as _, RaftStateMachine as _};
use shared::event::RaftPeer;
use tokio::sync::watch;

use super::OpenError;
use super::log::LogStore;
use super::peers_file::{self, Listed};
use super::snapshot::Snapshots;
use super::state_machine::{StateMachine, View};
use super::types::{Entry, LogId, Membership, Payload, Peer, ServerId, StoredMembership};
use super::watch::peers;
use crate::tasks::Tasks;

const PEERS: &str = "peers.json";
const INFO: &str = "peers.info";
const KEPT: &str = "peers.info.json";
/// Far more than any cluster's servers take.
const BYTES_MAX: u64 = 1 << 20;
/// Entries applied at once; each may be as large as a command is.
const BATCH: u64 = 64;
/// Before another try at a file that could not be written.
const AGAIN: Duration = Duration::from_secs(10);

/// A `peers.json` that is to be the configuration.
pub(crate) struct Recovery {
    dir: PathBuf,
    text: String,
}

impl Recovery {
    /// Whether there is such a file. `has_log` is whether there is anything to recover. Writes nothing.
    pub(crate) fn look(dir: &Path, has_log: bool) -> Result<Option<Self>, OpenError> {
        let file = match File::open(dir.join(PEERS)) {
            Ok(file) => file,
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(OpenError::Io { dir: dir.to_owned(), source }),
        };
        tracing::info!(target: "agent.server", "found peers.json file, recovering Raft configuration...");
        if !has_log {
            return Err(refused(
                dir,
                "this server has no Raft data yet, so there is nothing to recover; a server that is new joins the others",
            ));
        }
        let mut bytes = Vec::new();
        let read = file.take(BYTES_MAX + 1).read_to_end(&mut bytes);
        read.map_err(|source| OpenError::Io { dir: dir.to_owned(), source })?;
        if bytes.len() as u64 > BYTES_MAX {
            return Err(refused(dir, &format!("it has more than {BYTES_MAX} bytes")));
        }
        let text = String::from_utf8(bytes).map_err(|_| refused(dir, "it is no UTF-8 text"))?;
        Ok(Some(Self { dir: dir.to_owned(), text }))
    }

    /// Makes it the configuration of server `id`, which is called `name`. Safe to be done again.
    pub(crate) async fn perform(
        self,
        id: ServerId,
        name: &str,
        log: &LogStore,
        snapshots: &Arc<Snapshots>,
    ) -> Result<(), OpenError> {
        let io = |source| OpenError::Io { dir: self.dir.clone(), source };
        let (mut machine, last) = replay(log, snapshots).await.map_err(io)?;
        let (_, old) = machine.applied_state().await.map_err(io)?;
        let Some(last) = last else {
            return Err(refused(&self.dir, "this server's Raft log is empty, so there is nothing to recover"));
        };
        let known = peers(&old);
        let listed = peers_file::parse(&self.text, uuid::Uuid::from_u128(id.0), &known);
        let listed = listed.map_err(|why| refused(&self.dir, &why))?;
        let membership = membership(&listed, id, name, &known).map_err(|why| refused(&self.dir, &why))?;
        machine.rewrite(StoredMembership::new(Some(last), membership)).await.map_err(io)?;
        // Entries of the old configuration must not be replicated into the new one.
        log.purge_now(last).await.map_err(io)?;
        let dir = self.dir.clone();
        let removed = tokio::task::spawn_blocking(move || {
            fs::remove_file(dir.join(PEERS))?;
            File::open(&dir)?.sync_all()
        });
        removed.await.map_err(io::Error::other).and_then(|removed| removed).map_err(io)?;
        tracing::info!(target: "agent.server", "deleted peers.json file after successful recovery");
        Ok(())
    }
}

/// Nothing was changed.
fn refused(dir: &Path, why: &str) -> OpenError {
    OpenError::Refused(format!(
        "recovery failed with {}: {why}; nothing was changed. Correct that file ({INFO} beside it shows its form) or \
         remove it, then start the agent again",
        dir.join(PEERS).display()
    ))
}

/// The state up to where the new configuration goes: behind all that is known to be committed, and
/// behind the last configuration in the log. What follows stays in the log, and counts where the new
/// leader has it: two servers whose logs have parted agree as they always do.
async fn replay(log: &LogStore, snapshots: &Arc<Snapshots>) -> io::Result<(StateMachine, Option<LogId>)> {
    let mut machine = StateMachine::new(Arc::new(View::default()), Arc::new(|_, _| {}), Arc::clone(snapshots));
    if let Some(body) = snapshots.newest() {
        machine.install_snapshot(&body.openraft_meta(), body.clone()).await?;
    }
    let mut log = log.clone();
    let mut next = after(machine.applied_state().await?.0);
    let end = after(log.get_log_state().await?.last_log_id);
    let mut goal = after(log.read_committed().await?).min(end);
    for from in (goal.max(next)..end).step_by(BATCH as usize) {
        let entries = read(&mut log, from, end).await?;
        let last = entries.iter().rfind(|entry| matches!(entry.payload, Payload::Membership(_)));
        goal = last.map_or(goal, |entry| after(Some(entry.log_id)));
    }
    while next < goal {
        let entries = read(&mut log, next, goal).await?;
        next += entries.len() as u64;
        let entries = entries.into_iter().map(|entry| Ok((entry, None)));
        machine.apply(futures_util::stream::iter(entries)).await?;
    }
    let (applied, _) = machine.applied_state().await?;
    Ok((machine, applied))
}

fn after(id: Option<LogId>) -> u64 {
    id.map_or(0, |id| id.index + 1)
}

/// The next entries, all of them there.
async fn read(log: &mut LogStore, from: u64, end: u64) -> io::Result<Vec<Entry>> {
    let upto = end.min(from + BATCH);
    let entries = log.try_get_log_entries(from..upto).await?;
    let is_whole = entries.first().is_some_and(|first| first.log_id.index == from);
    if is_whole && entries.len() as u64 == upto - from {
        return Ok(entries);
    }
    Err(io::Error::other(format!("an entry behind {from} of the Raft log is not there")))
}

/// Names are not in the file: those of servers that are known stay, and the leader learns the others.
fn membership(listed: &[Listed], own: ServerId, name: &str, known: &[RaftPeer]) -> Result<Membership, String> {
    let name_of = |one: &Listed| {
        let id = one.id.to_string();
        let old = known.iter().find(|peer| peer.id == id).map(|peer| peer.node.clone());
        if ServerId::from(one.id) == own { name.to_owned() } else { old.unwrap_or(id) }
    };
    let peer = |one: &Listed| (ServerId::from(one.id), Peer { name: name_of(one), address: one.address.clone() });
    let voters = listed.iter().filter(|one| one.voter).map(|one| ServerId::from(one.id)).collect();
    let nodes: std::collections::BTreeMap<_, _> = listed.iter().map(peer).collect();
    Membership::new(vec![voters], nodes).map_err(|error| error.to_string())
}

/// Keeps `peers.info.json` as the configuration is, for as long as the group lives.
pub(crate) fn keep(dir: PathBuf, mut state: watch::Receiver<shared::event::RaftState>, tasks: &Tasks) {
    let end = tasks.token();
    tasks.spawn("raft-peers", async move {
        let mut written = None;
        let mut told = String::new();
        loop {
            let peers = state.borrow_and_update().peers.clone();
            let mut is_late = false;
            if !peers.is_empty() && written.as_ref() != Some(&peers) {
                match write(&dir, &peers).await {
                    Ok(()) => written = Some(peers),
                    Err(error) => {
                        is_late = true;
                        let text = error.to_string();
                        if text != told {
                            let path = dir.join(KEPT).display().to_string();
                            tracing::warn!(target: "agent.server.raft", %path, %error, "cannot keep the list of servers for an outage");
                            told = text;
                        }
                    }
                }
            }
            let wanted = |s: &shared::event::RaftState| !s.peers.is_empty() && written.as_ref() != Some(&s.peers);
            let next = async {
                if is_late {
                    tokio::time::sleep(AGAIN).await;
                    return true;
                }
                state.wait_for(wanted).await.is_ok()
            };
            let goes_on = end.run_until_cancelled(next).await.unwrap_or(false);
            if !goes_on {
                return;
            }
        }
    });
}

async fn write(dir: &Path, peers: &[RaftPeer]) -> io::Result<()> {
    let (dir, text) = (dir.to_owned(), peers_file::render(peers));
    let written = tokio::task::spawn_blocking(move || {
        replace(&dir, INFO, peers_file::INFO)?;
        replace(&dir, KEPT, &text)
    });
    written.await.map_err(io::Error::other)?
}

/// Whole or not at all, also when power fails.
fn replace(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    if fs::read(dir.join(name)).is_ok_and(|old| old == text.as_bytes()) {
        return Ok(());
    }
    let aside = dir.join(format!("{name}.tmp"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&aside, dir.join(name))?;
    File::open(dir)?.sync_all()
}
