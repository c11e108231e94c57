//! PURE: where a request goes next: answered here, asked of another server, held, or failed.
//!
//! The waist looks again after everything that changed; nothing here waits or sends.

use super::{Consistency, Error};

/// What this agent is, at the time of a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Client {
        /// How many servers gossip tells of.
        servers: usize,
    },
    Leader {
        /// A quorum acknowledged it.
        confirmed: bool,
    },
    /// A server that does not lead, and the ID of the one that does.
    Follower { leader: Option<String> },
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Read(Consistency),
    Write,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// An edge or a worker of this agent, or an agent that asks any server.
    Anyone,
    /// A server that took this one for the leader: it goes no further.
    Server,
}

/// How a try ended without an answer.
#[derive(Clone, Debug)]
pub(super) enum Trouble {
    /// Nothing changed.
    Untouched(Error),
    /// Sent, and nobody knows what became of it.
    Unknown(Error),
    /// Another try would end the same.
    Final(Error),
}

impl Trouble {
    pub(super) fn error(&self) -> &Error {
        match self {
            Self::Untouched(error) | Self::Unknown(error) | Self::Final(error) => error,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Here,
    /// To the server of this ID.
    ToLeader(String),
    ToAnyServer,
    /// Until something changes.
    Wait,
    Fail(Error),
}

pub(super) fn step(place: &Place, what: What, asker: Asker, last: Option<&Trouble>, is_time_up: bool) -> Step {
    match last {
        Some(Trouble::Final(error)) => return Step::Fail(error.clone()),
        Some(Trouble::Unknown(error)) if what == What::Write => {
            return Step::Fail(match error {
                Error::OutcomeUnknown(_) | Error::Remote(_) => error.clone(),
                other => Error::OutcomeUnknown(other.to_string()),
            });
        }
        _ => {}
    }
    // What was tried tells more than that time is up.
    let late = |otherwise: Error| Step::Fail(last.map_or(otherwise, |trouble| trouble.error().clone()));
    match (place, what) {
        (Place::Client { .. }, _) if is_time_up => late(Error::NoServers),
        (Place::Client { servers: 0 }, _) => late(Error::NoServers),
        (Place::Client { .. }, _) => Step::ToAnyServer,
        (_, What::Read(Consistency::Stale)) if last.is_none() => Step::Here,
        _ if is_time_up => Step::Fail(Error::NoLeader),
        (_, What::Read(Consistency::Stale)) | (Place::Leader { .. }, What::Write) => Step::Here,
        (Place::Leader { confirmed: true }, _) => Step::Here,
        (Place::Leader { confirmed: false }, _) => Step::Wait,
        (Place::Follower { .. }, _) if asker == Asker::Server => Step::Fail(Error::NotLeader),
        (Place::Follower { leader: Some(id) }, _) => Step::ToLeader(id.clone()),
        (Place::Follower { leader: None }, _) => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: What = What::Read(Consistency::Default);
    const STALE: What = What::Read(Consistency::Stale);

    fn follower(leader: Option<&str>) -> Place {
        Place::Follower { leader: leader.map(str::to_owned) }
    }

    fn told(step: &Step) -> String {
        match step {
            Step::Here => "here".to_owned(),
            Step::ToLeader(id) => format!("to {id}"),
            Step::ToAnyServer => "to any".to_owned(),
            Step::Wait => "wait".to_owned(),
            Step::Fail(error) => format!("fail: {error}"),
        }
    }

    #[track_caller]
    fn check(place: &Place, what: What, last: Option<&Trouble>, early: &str, late: &str) {
        assert_eq!(told(&step(place, what, Asker::Anyone, last, false)), early, "{place:?} {what:?} {last:?}");
        assert_eq!(told(&step(place, what, Asker::Anyone, last, true)), late, "late: {place:?} {what:?} {last:?}");
    }

    const NO_LEADER: &str = "fail: No cluster leader";
    const NO_SERVERS: &str = "fail: No known Consul servers";

    #[test]
    fn a_server_answers_what_it_may_and_sends_the_rest_to_the_leader() {
        let (leads, claims) = (Place::Leader { confirmed: true }, Place::Leader { confirmed: false });
        for what in [READ, What::Read(Consistency::Consistent)] {
            check(&leads, what, None, "here", NO_LEADER);
            check(&claims, what, None, "wait", NO_LEADER);
        }
        check(&leads, What::Write, None, "here", NO_LEADER);
        for what in [READ, What::Read(Consistency::Consistent), What::Write] {
            check(&follower(Some("b")), what, None, "to b", NO_LEADER);
            check(&follower(None), what, None, "wait", NO_LEADER);
        }
        for place in [leads, claims, follower(Some("b")), follower(None)] {
            check(&place, STALE, None, "here", "here");
        }
    }

    #[test]
    fn a_client_asks_any_server_and_fails_at_once_without_one() {
        for what in [READ, STALE, What::Write] {
            check(&Place::Client { servers: 3 }, what, None, "to any", NO_SERVERS);
            check(&Place::Client { servers: 0 }, what, None, NO_SERVERS, NO_SERVERS);
        }
        let held = Trouble::Untouched(Error::Remote(Box::new(Error::NoLeader)));
        let remote = "fail: rpc error making call: No cluster leader";
        check(&Place::Client { servers: 3 }, READ, Some(&held), "to any", remote);
        check(&Place::Client { servers: 0 }, READ, Some(&held), remote, remote);
    }

    #[test]
    fn only_what_was_provably_not_appended_is_written_again() {
        let untouched = Trouble::Untouched(Error::NotLeader);
        let unknown = Trouble::Unknown(Error::Unreachable("closed".to_owned()));
        let lost = "fail: the outcome of the write is unknown: closed";
        let client = Place::Client { servers: 2 };
        check(&follower(Some("b")), What::Write, Some(&untouched), "to b", NO_LEADER);
        check(&follower(Some("b")), What::Write, Some(&unknown), lost, lost);
        check(&Place::Leader { confirmed: true }, What::Write, Some(&unknown), lost, lost);
        check(&client, What::Write, Some(&unknown), lost, lost);
        check(&client, What::Write, Some(&untouched), "to any", "fail: not the leader");
        check(&client, READ, Some(&unknown), "to any", "fail: closed");
        check(&follower(Some("b")), READ, Some(&unknown), "to b", NO_LEADER);
        let refused = Trouble::Final(Error::Refused("no".to_owned()));
        check(&client, What::Write, Some(&refused), "fail: no", "fail: no");
    }

    #[test]
    fn what_a_server_sent_to_its_leader_goes_no_further() {
        let from_server = |place: &Place, what| told(&step(place, what, Asker::Server, None, false));
        for what in [READ, What::Write] {
            assert_eq!(from_server(&follower(Some("b")), what), "fail: not the leader");
            assert_eq!(from_server(&follower(None), what), "fail: not the leader");
            assert_eq!(from_server(&Place::Leader { confirmed: true }, what), "here");
        }
        assert_eq!(from_server(&Place::Leader { confirmed: false }, READ), "wait");
    }
}
