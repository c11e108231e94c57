//! What the pool tells its log, in Consul's words and under Consul's names of loggers.
//! Called by `driver` with each notice; decides nothing.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use shared::event::{MemberEvent, Pool};

use super::memory::Previous;
use crate::swim::internal::KeyAction;
use crate::swim::{Notice, Remark};

/// Whose log it is; a logger's name says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    ServerLan,
    ServerWan,
    ClientLan,
}

impl Scope {
    pub(super) fn new(pool: Pool, server: bool) -> Self {
        match (pool, server) {
            (Pool::Wan, _) => Self::ServerWan,
            (Pool::Lan, true) => Self::ServerLan,
            (Pool::Lan, false) => Self::ClientLan,
        }
    }
}

impl Scope {
    pub(super) fn pool(self) -> Pool {
        if self == Self::ServerWan { Pool::Wan } else { Pool::Lan }
    }
}

/// A target must be known when compiling: one arm for each logger.
macro_rules! line {
    ($scope:expr, serf, $level:ident, $($rest:tt)+) => {
        match $scope {
            Scope::ServerLan => tracing::$level!(target: "agent.server.serf.lan", $($rest)+),
            Scope::ServerWan => tracing::$level!(target: "agent.server.serf.wan", $($rest)+),
            Scope::ClientLan => tracing::$level!(target: "agent.client.serf.lan", $($rest)+),
        }
    };
    ($scope:expr, memberlist, $level:ident, $($rest:tt)+) => {
        match $scope {
            Scope::ServerLan => tracing::$level!(target: "agent.server.memberlist.lan", $($rest)+),
            Scope::ServerWan => tracing::$level!(target: "agent.server.memberlist.wan", $($rest)+),
            Scope::ClientLan => tracing::$level!(target: "agent.client.memberlist.lan", $($rest)+),
        }
    };
}

pub(super) fn notice(scope: Scope, notice: &Notice) {
    match notice {
        Notice::Member(event) => member(scope, event),
        Notice::Remark(told) => remark(scope, told),
        Notice::Query(asked) => {
            let name = &asked.name;
            line!(scope, serf, debug, "serf: Unanswered query: {name}");
        }
        _ => {}
    }
}

fn member(scope: Scope, event: &MemberEvent) {
    let (name, address) = (&event.state().name, &event.state().address);
    match event {
        MemberEvent::Joined(_) | MemberEvent::Rejoined(_) => {
            line!(scope, serf, info, "serf: EventMemberJoin: {name} {address}")
        }
        MemberEvent::Left(_) => line!(scope, serf, info, "serf: EventMemberLeave: {name} {address}"),
        MemberEvent::Failed(_) => line!(scope, serf, info, "serf: EventMemberFailed: {name} {address}"),
        MemberEvent::Updated(_) => line!(scope, serf, info, "serf: EventMemberUpdate: {name}"),
        MemberEvent::Reaped(_) => line!(scope, serf, info, "serf: EventMemberReap: {name}"),
        _ => {}
    }
}

fn remark(scope: Scope, told: &Remark) {
    match told {
        Remark::ForcedOut { .. } => {}
        Remark::ProbeFailed { name } => {
            line!(scope, memberlist, info, "memberlist: Suspect {name} has failed, no acks received");
        }
        Remark::PacketsLost { name } => line!(
            scope,
            memberlist,
            warn,
            "memberlist: Was able to connect to {name} but other probes failed, network may be misconfigured"
        ),
        Remark::ProcessGone { name } => {
            line!(scope, memberlist, info, "memberlist: Marking {name} as failed, its address refuses connections");
        }
        Remark::DeclaredFailed { name, confirmations } => line!(
            scope,
            memberlist,
            info,
            "memberlist: Marking {name} as failed, suspect timeout reached ({confirmations} peer confirmations)"
        ),
        Remark::SuspectRefuted { from } => {
            line!(scope, memberlist, warn, "memberlist: Refuting a suspect message (from: {from})");
        }
        Remark::DeathRefuted { from } => {
            line!(scope, memberlist, warn, "memberlist: Refuting a dead message (from: {from})");
        }
        Remark::AliveRefuted { name } => {
            line!(scope, memberlist, warn, "memberlist: Refuting an alive message for '{name}'");
        }
        Remark::LeaveRefuted => line!(scope, serf, debug, "serf: Refuting an older leave intent"),
        Remark::PushPullStarted { with } => {
            line!(scope, memberlist, debug, "memberlist: Initiating push/pull sync with:  {with}");
        }
        Remark::MergeRefused { from, reason } => {
            line!(scope, memberlist, error, "memberlist: Failed push/pull merge: {reason} from={from}");
        }
        Remark::PushPullFailed { with, reason } => {
            line!(scope, memberlist, error, "memberlist: Push/Pull with {with} failed: {reason}");
        }
        Remark::Reconnecting { name, address } => {
            line!(scope, serf, info, "serf: attempting reconnect to {name} {address}");
        }
        Remark::Rejected { name, reason } => rejected(scope, name, reason),
        Remark::WrongPing { meant_for, from } => {
            line!(scope, memberlist, warn, "memberlist: Got ping for unexpected node '{meant_for}' from={from}");
        }
        told => asked(scope, told),
    }
}

/// Of names, user events and queries.
fn asked(scope: Scope, told: &Remark) {
    match told {
        Remark::NameConflict { name, ours, ours_id, theirs, theirs_id, is_us } => {
            line!(
                scope,
                memberlist,
                error,
                "memberlist: Conflicting address for {name}. Mine: {ours} (ID {ours_id}) Theirs: {theirs} (ID {theirs_id})"
            );
            if *is_us {
                line!(
                    scope,
                    serf,
                    error,
                    "serf: Node name conflicts with another node at {theirs}. Names must be unique! (Resolution enabled: true)"
                );
            } else {
                line!(scope, serf, warn, "serf: Name conflict for '{name}' both {ours} and {theirs} are claiming");
            }
        }
        Remark::Voted { matching, responses: 0, .. } => {
            line!(scope, serf, warn, matching, "serf: nobody else was there to resolve the name conflict");
        }
        Remark::Voted { matching, responses, lost: false } => {
            line!(scope, serf, info, "serf: majority in name conflict resolution [{matching} / {responses}]");
        }
        Remark::Voted { matching, responses, lost: true } => {
            line!(scope, serf, warn, "serf: minority in name conflict resolution, quiting [{matching} / {responses}]");
        }
        Remark::OldEvent { name, ltime, now } => {
            line!(scope, serf, warn, "serf: received old event {name} from time {ltime} (current: {now})");
        }
        Remark::OldQuery { name, ltime, now } => {
            line!(scope, serf, warn, "serf: received old query {name} from time {ltime} (current: {now})");
        }
        Remark::BadFilter { query } => {
            line!(scope, serf, warn, "serf: query {query} has a filter that cannot be read");
        }
        Remark::UnknownQuery { name } => line!(scope, serf, warn, "serf: Unhandled internal query '{name}'"),
        _ => {}
    }
}

pub(super) fn rejected(scope: Scope, name: &str, reason: &str) {
    line!(scope, memberlist, warn, "memberlist: ignoring alive message for '{name}': {reason}");
}

pub(super) fn stream_accepted(scope: Scope, from: SocketAddr) {
    line!(scope, memberlist, debug, "memberlist: Stream connection from={from}");
}

pub(super) fn join_failed(scope: Scope, text: &str) {
    line!(scope, memberlist, debug, "memberlist: {text}");
}

pub(super) fn resolve_failed(scope: Scope, text: &str) {
    line!(scope, memberlist, warn, "memberlist: {text}");
}

pub(super) fn user_event_dropped(scope: Scope) {
    line!(scope, serf, warn, "serf: a user event was lost, its reader is too slow");
}

pub(super) fn key_asked(scope: Scope, action: KeyAction) {
    match action {
        KeyAction::Install => line!(scope, serf, info, "serf: Received install-key query"),
        KeyAction::Use => line!(scope, serf, info, "serf: Received use-key query"),
        KeyAction::Remove => line!(scope, serf, info, "serf: Received remove-key query"),
        KeyAction::List => line!(scope, serf, info, "serf: Received list-keys query"),
    }
}

pub(super) fn key_refused(scope: Scope, reason: &str) {
    line!(scope, serf, error, "serf: {reason}");
}

pub(super) fn stopped_without_leave(scope: Scope) {
    line!(scope, serf, warn, "serf: Shutdown without a Leave");
}

pub(super) fn public_address(scope: Scope) {
    line!(scope, memberlist, warn, "memberlist: Binding to public address without encryption!");
}

pub(super) fn notices_dropped(scope: Scope, count: u64) {
    line!(scope, serf, warn, count, "serf: events were lost, their reader is too slow");
}

pub(super) fn memory_lines_unknown(scope: Scope, path: &Path, count: u64) {
    line!(scope, serf, warn, count, path = %path.display(), "serf: Unrecognized snapshot lines were passed over");
}

pub(super) fn memory_failed(scope: Scope, what: &str, path: &Path, problem: &std::io::Error) {
    let path = path.display();
    line!(
        scope,
        serf,
        error,
        "serf: Failed to update snapshot: {what} {path}: {problem}; the agent goes on, but may not find the pool \
         again after a restart"
    );
}

pub(super) fn memory_recovered(scope: Scope, path: &Path) {
    line!(scope, serf, info, "serf: The snapshot {} is written again", path.display());
}

pub(super) fn rejoining(scope: Scope, previous: &Previous) {
    line!(
        scope,
        serf,
        info,
        "serf: Attempting re-join to previously known node: {}: {}",
        previous.name,
        previous.address
    );
}

pub(super) fn rejoined(scope: Scope, previous: &Previous) {
    line!(scope, serf, info, "serf: Re-joined to previously known node: {}: {}", previous.name, previous.address);
}

pub(super) fn not_rejoined(scope: Scope) {
    line!(scope, serf, warn, "serf: Failed to re-join any previously known node");
}

/// Whether strangers may reach it: neither private, shared, local to the link nor to the host.
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(four) => {
            let [first, second, ..] = four.octets();
            let shared = first == 100 && (64..128).contains(&second);
            !(four.is_private() || four.is_loopback() || four.is_link_local() || four.is_unspecified() || shared)
        }
        IpAddr::V6(six) => {
            let unique_local = six.segments()[0] & 0xfe00 == 0xfc00;
            !(six.is_loopback() || six.is_unspecified() || six.is_unicast_link_local() || unique_local)
        }
    }
}
