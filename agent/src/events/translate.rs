//! PURE: which node an event is about, and what it does to the picture, which is the set of events a
//! new stream opens with. Called by the bus for every event it publishes.

use shared::event::{
    AgentEvent, Body, CheckEvent, ElectionEvent, MemberEvent, MemberState, Pool, RaftEvent, ReplicationEvent,
    ServiceEvent,
};

/// What in the picture an event replaces.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    Agent,
    Raft,
    /// What another server told of its own Raft.
    RaftOf(String),
    Progress(String),
    Member(Pool, String),
    /// By their IDs.
    Service(String),
    Check(String),
    /// An election, by the order in which they ended.
    Election(u64),
}

/// What an event does to the picture.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    None,
    Set(Key, Body),
    Remove(Key),
    /// Goes to the list of past elections, which has a limit.
    Ended(Body),
}

/// The node an event is about; none when it is about the agent that saw it.
pub fn node(body: &Body) -> Option<String> {
    match body {
        Body::Member(event) => Some(event.state().name.clone()),
        Body::Replication(ReplicationEvent::Progress(progress)) => Some(progress.server.clone()),
        Body::Election(event) => election_node(event),
        Body::Agent(_) | Body::Raft(_) | Body::User(_) | Body::Service(_) | Body::Check(_) | Body::Log(_) => None,
    }
}

fn election_node(event: &ElectionEvent) -> Option<String> {
    match event {
        ElectionEvent::Past(record) | ElectionEvent::Ended(record) => Some(record.candidate.clone()),
        ElectionEvent::Started { candidate, .. }
        | ElectionEvent::VoteAsked { candidate, .. }
        | ElectionEvent::VoteGranted { candidate, .. }
        | ElectionEvent::VoteRefused { candidate, .. } => Some(candidate.clone()),
        ElectionEvent::SteppedDown { leader, .. } => Some(leader.clone()),
        ElectionEvent::HeartbeatLost { .. } => None,
    }
}

/// What `body` does to the picture; `from` names the agent that saw it, if that is another one.
pub fn change(body: &Body, from: Option<&str>) -> Change {
    match body {
        Body::Agent(AgentEvent::Running { .. }) => Change::Set(Key::Agent, body.clone()),
        Body::Member(MemberEvent::Reaped(news)) => Change::Remove(member_key(&news.state)),
        // It is no member.
        Body::Member(MemberEvent::Rejected(_) | MemberEvent::Conflict(_)) => Change::None,
        Body::Member(event) => {
            let news = event.news();
            Change::Set(member_key(&news.state), Body::Member(MemberEvent::Present(news.clone())))
        }
        Body::Service(event) => {
            let key = Key::Service(event.state().service_id.clone());
            match event {
                ServiceEvent::Deregistered(_) => Change::Remove(key),
                _ => Change::Set(key, Body::Service(ServiceEvent::Present(event.state().clone()))),
            }
        }
        Body::Check(event) => {
            let key = Key::Check(event.state().check_id.clone());
            match event {
                CheckEvent::Deregistered(_) => Change::Remove(key),
                _ => Change::Set(key, Body::Check(CheckEvent::Present(event.state().clone()))),
            }
        }
        Body::Raft(RaftEvent::State(_)) => {
            let key = from.map_or(Key::Raft, |node| Key::RaftOf(node.to_owned()));
            Change::Set(key, body.clone())
        }
        Body::Replication(ReplicationEvent::Progress(progress)) => {
            Change::Set(Key::Progress(progress.server_id.clone()), body.clone())
        }
        Body::Election(ElectionEvent::Ended(record)) => {
            Change::Ended(Body::Election(ElectionEvent::Past(record.clone())))
        }
        // Of another agent's picture.
        Body::Election(ElectionEvent::Past(_)) => Change::Ended(body.clone()),
        Body::Agent(_) | Body::Raft(_) | Body::Election(_) | Body::User(_) | Body::Log(_) => Change::None,
    }
}

fn member_key(state: &MemberState) -> Key {
    Key::Member(state.pool, state.name.clone())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use shared::event::MemberStatus;

    use super::*;

    fn state(status: MemberStatus) -> MemberState {
        MemberState {
            pool: Pool::Lan,
            name: "one".into(),
            address: "127.0.0.1".into(),
            port: 8301,
            status,
            incarnation: 1,
            protocol: 2,
            versions: [1, 5, 2, 2, 5, 4],
            tags: BTreeMap::new(),
        }
    }

    #[test]
    fn whatever_happens_to_a_member_the_picture_shows_it_as_present() {
        let joined = Body::Member(MemberEvent::Failed(state(MemberStatus::Failed).into()));
        let present = Body::Member(MemberEvent::Present(state(MemberStatus::Failed).into()));
        assert_eq!(change(&joined, None), Change::Set(Key::Member(Pool::Lan, "one".into()), present));
    }

    #[test]
    fn a_reaped_member_leaves_the_picture() {
        let reaped = Body::Member(MemberEvent::Reaped(state(MemberStatus::Failed).into()));
        assert_eq!(change(&reaped, None), Change::Remove(Key::Member(Pool::Lan, "one".into())));
    }

    #[test]
    fn a_confirmed_leader_is_news_and_not_a_state() {
        assert_eq!(change(&Body::Raft(RaftEvent::LeaderConfirmed { term: 3 }), None), Change::None);
    }
}
