//! The one `select!` that turns what rooms saw into published events. Started once by the root.
//! It stamps the wall time and decides nothing else.

use std::sync::Arc;

use shared::event::{AgentEvent, Body, LogEvent, MemberEvent, UserEvent};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::bus::Bus;
use crate::clock;
use crate::logs::{Line, Logs, Subscription};
use crate::raft::Notice;

/// Where events come from. A closed source is simply quiet.
pub struct Sources {
    pub members: mpsc::Receiver<MemberEvent>,
    pub raft: mpsc::Receiver<Notice>,
    pub agent: mpsc::Receiver<AgentEvent>,
    pub user: mpsc::Receiver<UserEvent>,
    /// Services and checks.
    pub local: mpsc::Receiver<Body>,
    pub logs: Logs,
}

/// Publishes until the token is cancelled, then what is still queued.
pub async fn run(bus: Bus, mut sources: Sources, end: CancellationToken) {
    let mut lines = sources.logs.subscribe(bus.log_level());
    loop {
        tokio::select! {
            biased;
            Some(notice) = sources.raft.recv() => publish(&bus, from_raft(notice)),
            Some(event) = sources.members.recv() => publish(&bus, Body::Member(event)),
            Some(event) = sources.agent.recv() => {
                let is_last = matches!(event, AgentEvent::Stopping { .. });
                publish(&bus, Body::Agent(event));
                if is_last {
                    // The root waits for this before it ends the streams.
                    sources.agent.close();
                }
            }
            Some(event) = sources.user.recv() => publish(&bus, Body::User(event)),
            Some(body) = sources.local.recv() => publish(&bus, body),
            () = bus.log_level_changed() => lines.set_level(bus.log_level()),
            Some(line) = lines.next() => publish_line(&bus, &lines, &line),
            () = end.cancelled() => break,
        }
    }
    while let Ok(notice) = sources.raft.try_recv() {
        publish(&bus, from_raft(notice));
    }
    while let Ok(event) = sources.members.try_recv() {
        publish(&bus, Body::Member(event));
    }
    while let Ok(event) = sources.user.try_recv() {
        publish(&bus, Body::User(event));
    }
    while let Ok(body) = sources.local.try_recv() {
        publish(&bus, body);
    }
    while let Ok(event) = sources.agent.try_recv() {
        publish(&bus, Body::Agent(event));
    }
}

fn publish(bus: &Bus, body: Body) {
    bus.publish(clock::wall(), body);
}

fn from_raft(notice: Notice) -> Body {
    match notice {
        Notice::Raft(event) => Body::Raft(event),
        Notice::Election(event) => Body::Election(event),
        Notice::Replication(event) => Body::Replication(event),
    }
}

fn publish_line(bus: &Bus, lines: &Subscription, line: &Arc<Line>) {
    let dropped = lines.dropped();
    if dropped > 0 {
        let message = format!("{dropped} log lines were lost to the event stream");
        let lost = LogEvent::Line { level: shared::event::Level::Warn, logger: "agent.events".to_owned(), message };
        publish(bus, Body::Log(lost));
    }
    let event = LogEvent::Line { level: line.level, logger: line.logger.clone(), message: line.message.clone() };
    bus.publish(line.at, Body::Log(event));
}
