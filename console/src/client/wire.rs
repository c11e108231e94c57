//! What every reader of one lane shares: the way to the agent and the way to the loop.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use shared::http::{Answer, Client, Error, Request};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};

use super::connect::trouble_of;
use crate::clock;
use crate::msg::{Denial, Frame, Interest, LaneId, Link, Msg, Source, Trouble};
use crate::polled::Polled;

/// The deadline of every request that is not meant to wait.
pub const DEADLINE: Duration = Duration::from_secs(5);
/// Connections for the questions that wait for each other.
const TURNS: usize = 2;
/// How long news may wait for the loop before its reader gives up.
pub const HAND_ON: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Wire {
    lane: LaneId,
    http: Client,
    out: mpsc::Sender<Msg>,
    kick: watch::Receiver<u64>,
    interest: watch::Receiver<Interest>,
    turns: Semaphore,
    /// Lines that were dropped because the loop was busy, and of which it was not told yet.
    dropped: AtomicU64,
    /// Pieces of the stream that came.
    pieces: AtomicU64,
}

impl Wire {
    pub(super) fn new(
        lane: LaneId,
        http: Client,
        out: mpsc::Sender<Msg>,
        kick: watch::Receiver<u64>,
        interest: watch::Receiver<Interest>,
    ) -> Self {
        Self {
            lane,
            http,
            out,
            kick,
            interest,
            turns: Semaphore::new(TURNS),
            dropped: AtomicU64::new(0),
            pieces: AtomicU64::new(0),
        }
    }

    pub(super) fn lane(&self) -> LaneId {
        self.lane
    }

    pub(super) fn count_piece(&self) {
        self.pieces.fetch_add(1, Ordering::Relaxed);
    }

    /// Differs from what it was when the stream has said something since.
    pub(super) fn pieces(&self) -> u64 {
        self.pieces.load(Ordering::Relaxed)
    }

    pub(super) fn get(&self, path: &str) -> Request<'_> {
        self.http.get(path)
    }

    /// `host:port` to connect to, when the address says so plainly.
    pub(super) fn authority(&self) -> Option<&str> {
        let base = self.http.base();
        base.strip_prefix("http://")
    }

    /// A connection among those that several questions share. Dropping it lets the next one have it.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.turns.acquire().await.ok()
    }

    /// Sends a request and times its answer, up to the head of it.
    pub(super) async fn ask(&self, request: Request<'_>) -> Result<Answer, Error> {
        let begun = clock::now();
        let answer = request.send_any().await?;
        let now = clock::now();
        let rtt_us = Some(now.micros_since(begun));
        // Only a sign of life: the next one comes soon.
        let _ = self.out.try_send(Msg::Heard { lane: self.lane, at: now, rtt_us });
        Ok(answer)
    }

    /// Hands a message on; when the loop does not take it for a long time, the connection is not worth keeping.
    pub(super) async fn tell(&self, msg: Msg) -> Result<(), Trouble> {
        match self.out.send_timeout(msg, HAND_ON).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                Err(Trouble::Other("was heard, but this console could not keep up".to_owned()))
            }
            // The loop has ended and this task is about to.
            Err(mpsc::error::SendTimeoutError::Closed(_)) => std::future::pending().await,
        }
    }

    /// The state of the connection, which must reach the loop however long that takes.
    pub(super) async fn link(&self, link: Link) {
        let _ = self.out.send(Msg::Link { lane: self.lane, at: clock::now(), link }).await;
    }

    pub(super) async fn heard(&self) -> Result<(), Trouble> {
        self.tell(Msg::Heard { lane: self.lane, at: clock::now(), rtt_us: None }).await
    }

    pub(super) async fn frame(&self, frame: Frame) -> Result<(), Trouble> {
        self.tell(Msg::Frame { lane: self.lane, at: clock::now(), frame }).await
    }

    pub(super) async fn polled(&self, polled: Polled) -> Result<(), Trouble> {
        self.tell(Msg::Polled { lane: self.lane, at: clock::now(), polled }).await
    }

    pub(super) async fn denied(&self, source: Source, denial: Denial) -> Result<(), Trouble> {
        self.tell(Msg::Denied { lane: self.lane, at: clock::now(), source, denial }).await
    }

    /// Hands on what may be lost: when the loop is busy it is dropped, and the loop is told how many were.
    pub(super) fn spill(&self, polled: Polled) {
        let at = clock::now();
        let missed = self.dropped.load(Ordering::Relaxed);
        if missed > 0 {
            let frame = Frame::Lagged { missed };
            if self.out.try_send(Msg::Frame { lane: self.lane, at, frame }).is_ok() {
                self.dropped.fetch_sub(missed, Ordering::Relaxed);
            }
        }
        if self.out.try_send(Msg::Polled { lane: self.lane, at, polled }).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Completes when everything shall be asked again.
    pub(super) async fn kicked(&self) {
        let mut kick = self.kick.clone();
        if kick.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Kicks that came before now are served by what comes now.
    pub(super) fn forget_kicks(&mut self) {
        self.kick.mark_unchanged();
    }

    /// What of the catalog is worth asking for, as it changes.
    pub(super) fn interest(&self) -> watch::Receiver<Interest> {
        self.interest.clone()
    }

    /// The kicks for one who serves each of them alone.
    pub(super) fn kicks(&self) -> watch::Receiver<u64> {
        self.kick.clone()
    }
}

/// Why a question was not answered.
#[derive(Debug)]
pub(super) enum Miss {
    /// This question alone.
    Denied(Denial),
    /// No answer at all.
    Lost(Trouble),
}

impl From<Error> for Miss {
    fn from(error: Error) -> Self {
        match &error {
            Error::Status { code, .. } => Self::Denied(denial(*code)),
            Error::Decode { .. } => Self::Denied(Denial::Failed),
            _ => Self::Lost(trouble_of(&error)),
        }
    }
}

pub(super) fn denial(code: u16) -> Denial {
    match code {
        401 | 403 => Denial::Forbidden,
        404 | 405 | 501 => Denial::NotOffered,
        _ => Denial::Failed,
    }
}

/// Waits, or less when everything shall be asked again.
pub(super) async fn pause(wait: Duration, kicks: &mut watch::Receiver<u64>) {
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        changed = kicks.changed() => if changed.is_err() {
            // The client is gone and this task about to be.
            std::future::pending::<()>().await;
        }
    }
}
