//! Keeps a pool's rejoin file: one task that looks at the pool twice a second at most, appends what
//! changed and rewrites the file when it is too long. Nobody waits for the disk but this task.
//!
//! A disk that is full or refuses is told and tried again; the agent goes on without.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shared::event::MemberState;
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::journal::{self, Scope};
use super::memory::{Clocks, Memory};
use crate::swim::Facts;
use crate::tasks::Tasks;

/// Changes within this time are written together.
const WRITE_EVERY: Duration = Duration::from_millis(500);
/// After a failure, the next try.
const TRY_AGAIN: Duration = Duration::from_secs(30);
/// How long a leave waits to be on disk.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(2);
/// More of a file is not read.
const READ_MAX: u64 = 64 << 20;

/// Where a pool remembers itself.
#[derive(Clone, Debug)]
pub struct Options {
    pub path: PathBuf,
    /// After a leave the pool is remembered all the same.
    pub rejoin_after_leave: bool,
}

/// What the file said at start.
pub(super) async fn recall(options: &Options, scope: Scope) -> Memory {
    let memory = match read(&options.path).await {
        Ok(bytes) => Memory::read(&bytes, options.rejoin_after_leave),
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Memory::default(),
        Err(problem) => {
            failed(scope, "read", &options.path, &problem);
            Memory::default()
        }
    };
    if memory.unknown_lines > 0 {
        metrics::counter!("quorate.gossip.memory_lines_unknown").increment(memory.unknown_lines);
        journal::memory_lines_unknown(scope, &options.path, memory.unknown_lines);
    }
    memory
}

async fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).await?.take(READ_MAX).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn failed(scope: Scope, what: &str, path: &Path, problem: &io::Error) {
    metrics::counter!("quorate.gossip.memory_failures").increment(1);
    journal::memory_failed(scope, what, path, problem);
}

/// Tells the keeper that we leave.
#[derive(Clone, Debug)]
pub(super) struct Handle(mpsc::Sender<oneshot::Sender<()>>);

impl Handle {
    /// Waits until the file says so, for a while.
    pub(super) async fn leave(&self) {
        let (done, written) = oneshot::channel();
        if self.0.send(done).await.is_ok() {
            // Late or ended: a leave does not hang on a disk.
            let _ = timeout(LEAVE_TIME_MAX, written).await;
        }
    }
}

pub(super) fn start(
    options: Options,
    memory: Memory,
    scope: Scope,
    members: watch::Receiver<Arc<Vec<MemberState>>>,
    facts: watch::Receiver<Facts>,
    tasks: &Tasks,
) -> Handle {
    let (sender, leaves) = mpsc::channel(1);
    let keeper = Keeper { options, memory, scope, members, facts, file: None, length: 0, ailing: false };
    tasks.spawn("gossip-memory", keeper.run(leaves, tasks.token()));
    Handle(sender)
}

struct Keeper {
    options: Options,
    memory: Memory,
    scope: Scope,
    members: watch::Receiver<Arc<Vec<MemberState>>>,
    facts: watch::Receiver<Facts>,
    /// None: the whole file is to be written first.
    file: Option<File>,
    length: usize,
    /// The last try failed.
    ailing: bool,
}

impl Keeper {
    async fn run(
        mut self,
        mut leaves: mpsc::Receiver<oneshot::Sender<()>>,
        token: tokio_util::sync::CancellationToken,
    ) {
        loop {
            self.keep().await;
            let pause = if self.ailing { TRY_AGAIN } else { WRITE_EVERY };
            tokio::select! {
                () = token.cancelled() => break,
                Some(done) = leaves.recv() => return self.leave(done).await,
                () = sleep(pause) => {}
            }
            if self.ailing {
                continue;
            }
            tokio::select! {
                () = token.cancelled() => break,
                Some(done) = leaves.recv() => return self.leave(done).await,
                Ok(()) = self.members.changed() => {}
                Ok(()) = self.facts.changed() => {}
                else => break,
            }
        }
        self.keep().await;
        if let Some(file) = &self.file
            && let Err(problem) = file.sync_data().await
        {
            failed(self.scope, "sync", &self.options.path, &problem);
        }
    }

    /// Nothing is remembered after a leave.
    async fn leave(mut self, done: oneshot::Sender<()>) {
        self.memory.leave(self.options.rejoin_after_leave);
        let outcome = match &mut self.file {
            Some(file) => append(file, "leave\n", true).await,
            None => self.rewrite().await,
        };
        if let Err(problem) = outcome {
            failed(self.scope, "write", &self.options.path, &problem);
        }
        // Who waited may have given up.
        let _ = done.send(());
    }

    /// Writes what is not written yet.
    async fn keep(&mut self) {
        let members = Arc::clone(&self.members.borrow_and_update());
        let facts = *self.facts.borrow_and_update();
        let clocks = Clocks {
            member: facts.member_time.saturating_sub(1),
            event: facts.event_time.saturating_sub(1),
            query: facts.query_time.saturating_sub(1),
        };
        let (lines, of_members) = self.memory.update(&members, clocks);
        let outcome = match &mut self.file {
            Some(_) if lines.is_empty() => return,
            Some(file) if !self.memory.is_too_long(self.length + lines.len()) => {
                self.length += lines.len();
                append(file, &lines, of_members).await
            }
            _ => self.rewrite().await,
        };
        match outcome {
            Ok(()) if self.ailing => {
                self.ailing = false;
                journal::memory_recovered(self.scope, &self.options.path);
            }
            Ok(()) => {}
            Err(problem) => {
                // What was lost is in the whole file, which comes next.
                self.file = None;
                failed(self.scope, "write", &self.options.path, &problem);
                self.ailing = true;
            }
        }
    }

    /// Writes the whole file aside and puts it in the place of the old one.
    async fn rewrite(&mut self) -> io::Result<()> {
        self.file = None;
        let path = &self.options.path;
        let text = self.memory.to_text();
        let mut aside = path.clone().into_os_string();
        aside.push(".compact");
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).await?;
        }
        let mut file = File::create(&aside).await?;
        append(&mut file, &text, true).await?;
        fs::rename(&aside, path).await?;
        if let Some(directory) = path.parent() {
            File::open(directory).await?.sync_all().await?;
        }
        self.length = text.len();
        self.file = Some(file);
        Ok(())
    }
}

async fn append(file: &mut File, text: &str, sync: bool) -> io::Result<()> {
    file.write_all(text.as_bytes()).await?;
    file.flush().await?;
    if sync {
        file.sync_data().await?;
    }
    Ok(())
}
