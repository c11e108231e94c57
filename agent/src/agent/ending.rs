//! How an agent ends: which signal or order asks for it, whether it leaves first, and in what order
//! its parts stop (the reverse of `build`). The log says in words what a signal will do.

use std::time::Duration;

use shared::event::{AgentEvent, MemberState, MemberStatus, Role};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::build::Running;
use super::quorum::{self, Cost, Voters};
use crate::config::Config;
use crate::control::Refused;
use crate::raft::Operation;

/// For answers that are on their way when the edges stop.
const EDGES_END: Duration = Duration::from_secs(3);
const PARTS_END: Duration = Duration::from_secs(5);
/// For the last event to be published behind all that waits there.
const LAST_EVENT_MAX: Duration = Duration::from_secs(1);
/// Consul's grace period for a server's removal.
const DEPART_WITHIN: Duration = Duration::from_secs(5);
const HAND_OVER_WITHIN: Duration = Duration::from_secs(1);
/// As long as a good-bye that somebody hears: a client that knows nobody may be known all the same, and a
/// second signal that is meant for its leave finds it (Consul's takes 4 s).
const CLIENT_LEAVES_FOR: Duration = Duration::from_secs(1);

/// What asks the agent to end.
#[derive(Debug)]
pub(super) enum Cause {
    Interrupt,
    Terminate,
    Leave {
        lose_quorum: bool,
        answer: oneshot::Sender<Result<(), Refused>>,
    },
    /// A part failed; the text says which and why.
    Failure(String),
}

/// The exit code of a stop without a leave, and of any failure.
const STOPPED: u8 = 1;

/// What an interrupt or a terminate does, and why.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Leave(String),
    Stop(String),
}

/// What `cause` does to an agent with `config` at the price of `cost`. Pure.
pub(super) fn verdict(config: &Config, interrupt: bool, cost: Cost) -> Verdict {
    if !interrupt {
        return match config.leave_on_terminate {
            true => leave_if_safe(config, cost, "leave_on_terminate is true"),
            false => Verdict::Stop("leave_on_terminate is false: it stops and keeps its place".to_owned()),
        };
    }
    match config.skip_leave_on_interrupt {
        Some(true) => Verdict::Stop("skip_leave_on_interrupt is true: it stops and keeps its place".to_owned()),
        _ => leave_if_safe(config, cost, "an interrupt leaves"),
    }
}

fn leave_if_safe(config: &Config, cost: Cost, why: &str) -> Verdict {
    match cost {
        Cost::Lost { .. } if config.server => Verdict::Stop(format!(
            "{cost}; it stops without leaving and keeps its seat, leave with -lose-quorum to insist"
        )),
        Cost::None if !config.server => Verdict::Leave(why.to_owned()),
        _ => Verdict::Leave(format!("{why}; {cost}")),
    }
}

impl Running {
    /// What a leave of this agent costs, as it knows the voters now.
    pub(super) fn cost(&self) -> Cost {
        let Some(raft) = self.backend.status().raft else { return Cost::None };
        let members = self.lan.members().borrow().clone();
        let answers =
            |id: &str| members.iter().any(|member| is_up(member) && member.tags.get("id").is_some_and(|m| m == id));
        let voters: Vec<_> = raft.peers.iter().filter(|peer| peer.voter).collect();
        quorum::cost(Voters {
            all: voters.len(),
            up: voters.iter().filter(|peer| answers(&peer.id)).count(),
            me: voters.iter().any(|peer| self.server_id == peer.id),
        })
    }

    /// Leaves both pools; a server says so in Consul's words.
    pub(super) async fn leave(&self) {
        match self.raft {
            Some(_) => tracing::info!(target: "agent.server", "server starting leave"),
            None => tracing::info!(target: "agent.client", "client starting leave"),
        }
        self.local.fall_silent().await;
        self.depart().await;
        if let Some(wan) = &self.wan {
            wan.leave().await;
        }
        if self.raft.is_some() {
            self.lan.leave().await;
        } else {
            tokio::join!(self.lan.leave(), tokio::time::sleep(CLIENT_LEAVES_FOR));
        }
    }

    /// A server takes itself out of the Raft configuration; a leader hands over first. A lone voter
    /// keeps its seat.
    async fn depart(&self) {
        let Some(raft) = &self.raft else { return };
        let state = raft.state().borrow().clone();
        let is_there = state.peers.iter().any(|peer| peer.id == self.server_id);
        let others = state.peers.iter().any(|peer| peer.id != self.server_id && peer.voter);
        if !is_there || !others {
            return;
        }
        let removal = Operation::Remove(raft.id().as_u128());
        match timeout(DEPART_WITHIN, raft.operate(removal, DEPART_WITHIN)).await {
            Ok(Ok(_)) => {
                raft.retire();
                tracing::info!(target: "agent.server", "this server is no longer part of the Raft configuration");
            }
            Ok(Err(error)) => tracing::error!(target: "agent.server", %error, "failed to remove ourself as raft peer"),
            Err(_) => tracing::error!(target: "agent.server", "failed to remove ourself as raft peer in time"),
        }
    }

    /// A leader that stops and keeps its seat lets another lead meanwhile.
    async fn hand_over(&self) {
        let Some(raft) = &self.raft else { return };
        let state = raft.state().borrow().clone();
        if state.role != Role::Leader || state.peers.iter().filter(|peer| peer.voter).count() < 2 {
            return;
        }
        match timeout(HAND_OVER_WITHIN, raft.transfer(None)).await {
            Ok(Ok(leader)) => tracing::info!(target: "agent.server", %leader, "handed the leadership over"),
            Ok(Err(error)) => tracing::warn!(target: "agent.server", %error, "the leadership could not be handed over"),
            Err(_) => tracing::warn!(target: "agent.server", "the leadership could not be handed over in time"),
        }
    }

    /// Stops every part in order and tells the exit code.
    pub(super) async fn stop(self, code: u8, reason: &str, leaving: bool) -> u8 {
        tracing::info!(target: "agent", "Requesting shutdown");
        self.hand_over().await;
        let _ = self.agent_events.try_send(AgentEvent::Stopping { reason: reason.to_owned(), leaving });
        // The last event must reach the streams before they end: the pump takes no more after it.
        let _ = timeout(LAST_EVENT_MAX, self.agent_events.closed()).await;
        for (protocol, network, addresses) in
            [("DNS", "tcp", &self.dns), ("DNS", "udp", &self.dns), ("HTTP", "tcp", &self.http)]
        {
            for address in addresses {
                tracing::info!(target: "agent", protocol, %address, network, "Stopping server");
            }
        }
        tracing::info!(target: "agent", "Waiting for endpoints to shut down");
        if !self.edges.end(EDGES_END).await {
            tracing::warn!(target: "agent", "some endpoints did not end in time");
        }
        tracing::info!(target: "agent", "Endpoints down");
        let server = self.raft.is_some();
        if server {
            tracing::info!(target: "agent.server", "shutting down server");
        } else {
            tracing::info!(target: "agent.client", "shutting down client");
        }
        let workers = self.workers.end(PARTS_END).await;
        if let Some(raft) = &self.raft {
            raft.shutdown().await;
        }
        let engines = self.engines.end(PARTS_END).await;
        let server_ended = self.server.end(PARTS_END).await;
        if !(workers && engines && server_ended) {
            tracing::warn!(target: "agent", "some parts did not end in time");
        }
        let down = if server { "consul server down" } else { "consul client down" };
        tracing::info!(target: "agent", "{down}");
        tracing::info!(target: "agent", "shutdown complete");
        tracing::info!(target: "agent", code, "Exit code");
        self.stream.end(PARTS_END).await;
        code
    }

    /// Ends as `cause` asks; an order to leave that is refused is answered and none ends.
    pub(super) async fn end(self, config: &Config, cause: Cause) -> Result<u8, Box<Self>> {
        match cause {
            Cause::Interrupt | Cause::Terminate => {
                let interrupt = matches!(cause, Cause::Interrupt);
                let name = if interrupt { "interrupt" } else { "terminated" };
                tracing::info!(target: "agent", signal = name, "Caught");
                match verdict(config, interrupt, self.cost()) {
                    Verdict::Leave(why) => {
                        tracing::info!(target: "agent", "Gracefully shutting down agent...");
                        tracing::info!(target: "agent", "this agent leaves the cluster: {why}");
                        self.leave().await;
                        tracing::info!(target: "agent", "Graceful exit completed");
                        Ok(self.stop(0, name, true).await)
                    }
                    Verdict::Stop(why) => {
                        tracing::info!(target: "agent", "Graceful shutdown disabled. Exiting");
                        tracing::info!(target: "agent", "this agent does not leave the cluster: {why}");
                        Ok(self.stop(STOPPED, name, false).await)
                    }
                }
            }
            Cause::Leave { lose_quorum, answer } => {
                let cost = self.cost();
                if matches!(cost, Cost::Lost { .. }) && !lose_quorum {
                    tracing::warn!(target: "agent.server", "leave refused: {cost}");
                    let _ = answer.send(Err(Refused(format!("leave refused: {cost}; ?lose-quorum=yes insists"))));
                    return Err(Box::new(self));
                }
                self.leave().await;
                let _ = answer.send(Ok(()));
                Ok(self.stop(0, "leave", true).await)
            }
            Cause::Failure(text) => {
                tracing::error!(target: "agent", error = text, "the agent cannot go on");
                Ok(self.stop(STOPPED, &text, false).await)
            }
        }
    }
}

fn is_up(member: &MemberState) -> bool {
    matches!(member.status, MemberStatus::Alive | MemberStatus::Suspect)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOST: Cost = Cost::Lost { remain: 2, up: 1, need: 2 };
    const SAFE: Cost = Cost::Safe { remain: 2, up: 2, need: 2 };

    #[track_caller]
    fn check(change: impl FnOnce(&mut Config), interrupt: bool, cost: Cost, leaves: bool, words: &str) {
        let mut config = Config::for_tests("one");
        config.leave_on_terminate = false;
        config.skip_leave_on_interrupt = None;
        change(&mut config);
        let verdict = verdict(&config, interrupt, cost);
        assert_eq!(matches!(verdict, Verdict::Leave(_)), leaves, "{verdict:?}");
        let (Verdict::Leave(why) | Verdict::Stop(why)) = verdict;
        assert!(why.contains(words), "{why}");
    }

    #[test]
    fn an_interrupt_leaves_where_that_is_safe() {
        check(|_| (), true, Cost::Alone, true, "start it first");
        check(|_| (), true, SAFE, true, "keep a quorum");
        check(|_| (), true, LOST, false, "1 of them up, 2 needed");
    }

    #[test]
    fn the_key_gives_consuls_default_but_never_more_than_is_safe() {
        check(|c| c.skip_leave_on_interrupt = Some(true), true, Cost::Alone, false, "skip_leave_on_interrupt is true");
        check(|c| c.skip_leave_on_interrupt = Some(false), true, LOST, false, "no quorum");
    }

    #[test]
    fn terminate_is_consuls() {
        check(|_| (), false, Cost::Alone, false, "leave_on_terminate is false");
        check(|c| c.leave_on_terminate = true, false, Cost::Alone, true, "leave_on_terminate is true");
    }

    #[test]
    fn a_client_leaves_without_arithmetic() {
        check(|c| c.server = false, true, Cost::None, true, "an interrupt leaves");
    }
}
