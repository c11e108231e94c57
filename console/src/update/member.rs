//! What happens to members, however it is told: written into the journal, and into the member's own
//! history, in the same words.

use shared::event::{Account, Cause, MemberEvent, MemberNews, MemberState, MemberStatus, Pool};
use shared::time::WallTime;

use super::story;
use crate::format;
use crate::model::Model;
use crate::model::mark::Mark;
use crate::model::members::{Member, Suspicion, Turn, status_word};
use crate::model::timeline::Phase;
use crate::msg::Source;

/// One event of our agents' stream; `told`: another agent told this very happening before.
pub(super) fn event(model: &mut Model, time: WallTime, from: &str, event: MemberEvent, told: bool) {
    let turn = words(time, &event);
    if let (Some(turn), false, false) = (&turn, told, model.picture) {
        tell(model, time, from, &event, turn);
    }
    let MemberNews { state, account } = event.news().clone();
    let (pool, name) = (state.pool, state.name.clone());
    match event {
        MemberEvent::Reaped(_) => return model.members.remove(pool, &name),
        // It is no member.
        MemberEvent::Rejected(_) | MemberEvent::Conflict(_) => return,
        MemberEvent::Present(_) => {
            let suspicion = suspicion(time, &state, &account);
            model.members.put(state, None);
            model.members.suspect(pool, &name, suspicion);
            return;
        }
        _ => {}
    }
    let is_server = pool == Pool::Lan && state.tags.get("role").is_some_and(|role| role == "consul");
    if is_server && matches!(state.status, MemberStatus::Failed | MemberStatus::Left) {
        model.raft.timeline.put(&name, time, Phase::Down);
    }
    let suspicion = suspicion(time, &state, &account);
    model.members.put(state, Some(time));
    model.members.suspect(pool, &name, suspicion);
    if let Some(turn) = turn {
        let note = Some(&turn.text).filter(|text| !text.is_empty());
        let note = note.map(|text| format!("{} {text}", turn.word));
        model.members.say(pool, &name, note);
        model.members.turn(pool, &name, turn);
    }
}

fn suspicion(time: WallTime, state: &MemberState, account: &Account) -> Option<Suspicion> {
    (state.status == MemberStatus::Suspect).then(|| Suspicion {
        by: account.suspected_by.clone(),
        confirmations: account.confirmations.unwrap_or(0),
        expected: account.expected.unwrap_or(0),
        fails_at: account.fails_in_ms.map(|ms| later(time, ms)),
    })
}

fn later(time: WallTime, ms: u64) -> WallTime {
    WallTime::from_micros(time.micros().saturating_add(i64::try_from(ms.saturating_mul(1_000)).unwrap_or(i64::MAX)))
}

/// What happened, in a word, and how it came about.
fn words(at: WallTime, event: &MemberEvent) -> Option<Turn> {
    let MemberNews { state, account } = event.news();
    let from = account.from.as_deref();
    let by = || from.map(|from| format!("by {from}"));
    let lasted = account.suspected_ms.map(|ms| format!("after {}", format::millis(ms)));
    let (mark, word, text) = match event {
        MemberEvent::Present(_) => return None,
        MemberEvent::Joined(_) => (Mark::Good, "joined", from.map(|from| format!("told by {from}"))),
        MemberEvent::Suspected(_) => (Mark::Suspect, "suspected", by()),
        MemberEvent::Confirmed(_) => (Mark::Suspect, "confirmed", confirmed(account)),
        MemberEvent::Refuted(_) => (Mark::Good, "refuted", refuted(account, &state.name, lasted)),
        MemberEvent::Failed(_) => (Mark::Failed, "failed", failed(account, lasted)),
        MemberEvent::Leaving(_) => (Mark::Suspect, "leaving", cause(account)),
        MemberEvent::Left(_) => (Mark::Quiet, "left", cause(account)),
        MemberEvent::Rejoined(_) => {
            let was = account.status_before.map(|before| format!("was {}", status_word(before)));
            (Mark::Good, "rejoined", was)
        }
        MemberEvent::Alive(_) => (Mark::Good, "alive", Some("it was leaving, and stays".to_owned())),
        MemberEvent::Updated(_) => (Mark::from(state.status), "updated", updated(state, account)),
        MemberEvent::Reaped(_) => (Mark::Quiet, "reaped", cause(account)),
        MemberEvent::Rejected(_) => (Mark::Warning, "rejected", Some("kept out of the pool".to_owned())),
        MemberEvent::Conflict(_) => {
            let held = account.held_by.as_ref().map(|held| format!("the name is held by {}", held.address));
            (Mark::Warning, "conflict", held)
        }
    };
    let mut text = text.unwrap_or_default();
    if let Some(reason) = &account.reason {
        text = if text.is_empty() { reason.clone() } else { format!("{text}: {reason}") };
    }
    Some(Turn { at, mark, word: word.to_owned(), text })
}

fn confirmed(account: &Account) -> Option<String> {
    let by = account.from.as_deref().map(|from| format!("by {from}"));
    let count = match (account.confirmations, account.expected) {
        (Some(so_far), Some(expected)) => Some(format!("{so_far} of {expected}")),
        _ => None,
    };
    join([by, count])
}

/// Whose doubt it was, when it was about ourselves; else how long it lasted.
fn refuted(account: &Account, name: &str, lasted: Option<String>) -> Option<String> {
    let accuser = account.from.as_deref().filter(|from| *from != name).map(|from| format!("a doubt of {from}"));
    join([accuser, lasted])
}

fn failed(account: &Account, lasted: Option<String>) -> Option<String> {
    let confirmed = account.confirmations.filter(|count| *count > 0);
    let confirmed = confirmed.map(|count| format!("{count} confirmed it"));
    let why = match (account.cause, account.from.as_deref()) {
        (Some(Cause::Told), Some(from)) => Some(format!("declared by {from}")),
        _ => cause(account),
    };
    join([why, confirmed, lasted])
}

fn cause(account: &Account) -> Option<String> {
    let from = account.from.as_deref().map(|from| format!(" of {from}")).unwrap_or_default();
    Some(match account.cause? {
        Cause::Silent => "no answer".to_owned(),
        Cause::Refused => "its host refuses connections".to_owned(),
        Cause::Told => format!("by the word{from}"),
        Cause::Goodbye => "it said good-bye".to_owned(),
        Cause::Forced => format!("by the order{from}"),
        Cause::Expired => "gone for too long".to_owned(),
        Cause::Pruned => "by order".to_owned(),
    })
}

fn updated(state: &MemberState, account: &Account) -> Option<String> {
    let place = shared::addr::host_port(&state.address, state.port);
    let moved = account.address_before.as_deref().map(|before| format!("moved from {before} to {place}"));
    let tags = match account.tags_changed.as_slice() {
        [] => None,
        tags => Some(format!("tags {}", tags.join(", "))),
    };
    join([moved, tags])
}

fn join<const N: usize>(parts: [Option<String>; N]) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// One line of the journal: `server failed: srv-3, no answer, 2 confirmed it`.
fn tell(model: &mut Model, at: WallTime, from: &str, event: &MemberEvent, turn: &Turn) {
    let state = event.state();
    let MemberState { name, address, port, .. } = state;
    let role = match state.tags.get("role").map(String::as_str) {
        Some("consul") => "server",
        Some("node") => "client",
        _ => "member",
    };
    let pool = suffix(state.pool);
    let place = match event {
        MemberEvent::Joined(_) | MemberEvent::Rejoined(_) | MemberEvent::Rejected(_) | MemberEvent::Conflict(_) => {
            format!(" {address}:{port}")
        }
        _ => String::new(),
    };
    let why = if turn.text.is_empty() { String::new() } else { format!(", {}", turn.text) };
    story::gossip(model, at, from, turn.mark, format!("{role} {}{pool}: {name}{place}{why}", turn.word));
}

/// A poll shows another status than before; none: it was not there.
pub(super) fn polled(model: &mut Model, at: WallTime, pool: Pool, name: &str, before: Option<MemberStatus>) {
    let Some(member) = model.members.find(pool, name) else { return };
    let status = member.state.status;
    let word = match (before, status) {
        (None, MemberStatus::Alive) => "joined",
        (Some(MemberStatus::Failed | MemberStatus::Left), MemberStatus::Alive) => "rejoined",
        (_, status) => status_word(status),
    };
    let text = before.map_or(String::new(), |before| format!("was {}", status_word(before)));
    model.members.turn(pool, name, Turn { at, mark: status.into(), word: word.to_owned(), text });
    // Where the agent's log is read, that tells it, with who says so.
    if pool == Pool::Wan || model.denials.contains_key(&Source::Monitor) {
        let (here, pool) = (model.here().to_owned(), suffix(pool));
        story::gossip(model, at, &here, Mark::from(status), format!("{name}{pool} {word}"));
    }
}

/// A poll does not list it any more.
pub(super) fn reaped(model: &mut Model, at: WallTime, member: &Member) {
    let (here, pool) = (model.here().to_owned(), suffix(member.state.pool));
    let text = format!("{}{pool} is forgotten: no longer listed", member.state.name);
    story::gossip(model, at, &here, Mark::Quiet, text);
}

/// What a log line shows of a LAN member.
pub(super) fn logged(model: &mut Model, of: &str, at: WallTime, mark: Mark, word: &str, text: String) {
    model.members.turn(Pool::Lan, of, Turn { at, mark, word: word.to_owned(), text });
}

fn suffix(pool: Pool) -> &'static str {
    if pool == Pool::Wan { " (WAN)" } else { "" }
}
