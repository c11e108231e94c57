//! The world outside: one task per agent that was given; what it learns comes back as [`Msg`].
//!
//! One lane is in use at a time. It holds the [`seat`]; when it is away the others try too, and the first
//! that answers takes its place. The others listen aside: what a server alone sees of an election. Every request has a deadline, every queue a limit: a reader that cannot
//! hand on its news for [`wire::HAND_ON`] gives its connection up and starts with a fresh picture.
//! Knows no key, no screen and no terminal.

mod backoff;
mod connect;
mod errand;
mod held;
mod monitor;
mod policies;
mod poll;
mod seat;
mod services;
mod stream;
pub mod wire;

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use shared::event::Level;
use shared::http::{self, Settings};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::clock;
use crate::msg::{AgentKind, Interest, LaneId, Link, Msg, Place, Trouble};
use crate::order::{Order, Probe};
use backoff::Backoff;
use connect::Found;
use seat::Seats;
use wire::Wire;

pub use connect::trouble_of;
pub use poll::identity_of;

/// Messages under way to the loop. When it is full, readers wait.
pub const QUEUE: usize = 1_024;

/// A connection that held so long was a good one.
const LISTENED_US: u64 = 5_000_000;

/// The lanes at work. Dropping it ends them.
#[derive(Debug)]
pub struct Client {
    seats: Seats,
    kicks: Vec<watch::Sender<u64>>,
    level: watch::Sender<Level>,
    interest: watch::Sender<Interest>,
    tasks: JoinSet<()>,
    errands: errand::Errands,
}

impl Client {
    /// Starts one lane for each place. Must be called in a tokio runtime.
    pub fn start(places: &[Settings], out: &mpsc::Sender<Msg>) -> Result<Self, http::Error> {
        let (level, _) = watch::channel(Level::Info);
        let (interest, _) = watch::channel(Interest::default());
        let seats = Seats::new();
        let mut client = Self {
            seats: seats.clone(),
            kicks: Vec::new(),
            level,
            interest,
            tasks: JoinSet::new(),
            errands: errand::Errands::new(places, out),
        };
        for (id, settings) in (0..=u8::MAX).zip(places) {
            let id = LaneId(id);
            let (kick, kicked) = watch::channel(0);
            let interest = client.interest.subscribe();
            let wire = Wire::new(id, http::Client::new(settings)?, out.clone(), kicked, interest);
            let lane = Lane {
                wire,
                seats: seats.clone(),
                level: client.level.subscribe(),
                backoff: Backoff::default(),
                failed: None,
                dice: SmallRng::from_os_rng(),
                memory: stream::Memory::default(),
                aside: stream::Memory::default(),
            };
            client.kicks.push(kick);
            client.tasks.spawn(lane.run());
        }
        Ok(client)
    }

    /// Asks everything of this lane again now; when it is lost, tries it now.
    pub fn refresh(&self, lane: LaneId) {
        if let Some(kick) = self.kicks.get(usize::from(lane.0)) {
            kick.send_modify(|count| *count += 1);
        }
    }

    /// Closes the lane in use and attaches to this one.
    pub fn attach(&self, lane: LaneId) {
        self.seats.prefer(lane);
    }

    pub fn set_log_level(&self, level: Level) {
        self.level.send_replace(level);
    }

    /// Looks at this of the catalog from now on.
    pub fn watch(&mut self, interest: Interest) {
        self.errands.ask_own(interest.agent.as_ref());
        self.interest.send_replace(interest);
    }

    /// Carries out what changes a cluster; what comes of it is a message with this number.
    pub fn order(&mut self, id: u64, to: &Place, order: Order) {
        self.errands.order(id, to, order);
    }

    /// Looks who is there; the look before it is given up.
    pub fn probe(&mut self, lane: LaneId, probe: Probe) {
        self.errands.probe(lane, probe);
    }

    /// Writes a new file; what comes of it is a message.
    pub fn save(&mut self, name: String, text: String) {
        self.errands.save(name, text);
    }

    /// Completes when a lane ended, which none does by itself: it failed in a way that it must not.
    pub async fn broken(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

struct Lane {
    wire: Wire,
    seats: Seats,
    level: watch::Receiver<Level>,
    backoff: Backoff,
    /// Why the last attempt failed, until one succeeds.
    failed: Option<Trouble>,
    dice: SmallRng,
    memory: stream::Memory,
    /// How far its stream was read while another lane is in use.
    aside: stream::Memory,
}

impl Lane {
    async fn run(mut self) {
        let id = self.wire.lane();
        let mut seats = self.seats.clone();
        loop {
            if !seats.is_wanted(id) {
                self.wire.link(Link::Idle).await;
                tokio::select! {
                    () = self.listen() => {}
                    () = seats.until(|seat| seat.wants(id)) => {}
                }
            }
            tokio::select! {
                trouble = self.connection() => self.lost(trouble).await,
                () = seats.until(|seat| !seat.wants(id)) => {}
            }
        }
    }

    /// Beside the lane in use: what this agent alone sees of elections, again and again.
    async fn listen(&mut self) {
        let mut backoff = Backoff::default();
        loop {
            let begun = clock::now();
            let is_ours = stream::listen(&self.wire, &mut self.aside).await;
            if clock::now().micros_since(begun) > LISTENED_US {
                backoff.succeeded();
            }
            let longest = if is_ours { Duration::from_secs(5) } else { backoff::LAST };
            tokio::time::sleep(backoff.failed(&mut self.dice, longest)).await;
        }
    }

    /// One connection from its first attempt to its end, and why it ended.
    async fn connection(&mut self) -> Trouble {
        let attempt = self.backoff.failures();
        self.wire.link(Link::Connecting { attempt, after: self.failed.clone() }).await;
        self.wire.forget_kicks();
        let level = *self.level.borrow_and_update();
        let found = match connect::detect(&self.wire, &self.memory, level).await {
            Ok(found) => found,
            Err(trouble) => return trouble,
        };
        if !self.seats.claim(self.wire.lane()) {
            // Another lane was faster; `run` sees that this one is not wanted.
            return std::future::pending().await;
        }
        self.backoff.succeeded();
        self.failed = None;
        match found {
            Found::Ours(answer) => {
                self.wire.link(Link::Live { kind: AgentKind::Quorate }).await;
                stream::follow(&self.wire, answer, &mut self.memory, &mut self.level).await
            }
            Found::HashiCorp(own) => {
                self.wire.link(Link::Live { kind: AgentKind::HashiCorp }).await;
                // Another agent's past: a stream opened later starts whole.
                self.memory = stream::Memory::default();
                poll::poll(&self.wire, own).await
            }
        }
    }

    /// Says that it is lost and waits until it is worth another attempt.
    async fn lost(&mut self, trouble: Trouble) {
        let id = self.wire.lane();
        self.wire.forget_kicks();
        self.seats.release(id);
        let pause = self.backoff.failed(&mut self.dice, longest_pause(&trouble));
        let attempt = self.backoff.failures();
        self.failed = Some(trouble.clone());
        self.wire.link(Link::Lost { trouble, attempt, retry_at: clock::after(pause) }).await;
        let mut seats = self.seats.clone();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.wire.kicked() => {}
            () = seats.until(|seat| !seat.wants(id)) => {}
        }
    }
}

/// An agent that is only away may be back any moment, and asking costs it nothing; what a person must
/// change first is asked for less and less often.
fn longest_pause(trouble: &Trouble) -> Duration {
    match trouble {
        Trouble::Refused | Trouble::Ended | Trouble::TimedOut => Duration::from_secs(5),
        _ => backoff::LAST,
    }
}
