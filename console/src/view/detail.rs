//! Dialogs over the screen: the selected row, whole, wrapped and scrolled.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use shared::event::{MemberStatus, Pool};

use super::{Scene, instances, members, rows};
use crate::format;
use crate::model::members::{Member, status_word};
use crate::model::panes::Pane;
use crate::msg::Source;
use crate::theme::Part;
use crate::widget::panel::Panel;
use crate::widget::{Piece, line, piece, row};

pub(super) const WIDTH_MAX: u16 = 96;
/// Columns of the labels.
const LABEL: usize = 14;

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (title, facts) = facts(scene);
    let theme = scene.theme;
    let columns = usize::from(area.width.min(WIDTH_MAX)).saturating_sub(LABEL + 6);
    let mut lines = Vec::new();
    for (label, value) in facts {
        let value = format::clean(&value).into_owned();
        for (at, part) in format::wrap(&value, columns).into_iter().enumerate() {
            let label = if at == 0 { label.as_str() } else { "" };
            let label = format::fit(label, LABEL - 1, scene.ellipsis()).into_owned();
            let pad = " ".repeat(LABEL.saturating_sub(format::width(&label)));
            lines.push(vec![
                piece(format!("{label}{pad}"), theme.part(Part::Faint)),
                piece(part, theme.part(Part::Text)),
            ]);
        }
    }
    dialog(scene, area, buf, vec![piece(title, theme.part(Part::Strong))], &lines);
}

/// What a box over the screen holds.
pub(super) struct Sheet<'a> {
    pub(super) title: Vec<Piece<'a>>,
    pub(super) lines: &'a [Vec<Piece<'a>>],
    /// Stays in sight, however little room there is.
    pub(super) foot: &'a [Vec<Piece<'a>>],
    pub(super) hint: &'a str,
}

pub(super) fn dialog(scene: Scene<'_>, area: Rect, buf: &mut Buffer, title: Vec<Piece<'_>>, lines: &[Vec<Piece<'_>>]) {
    sheet(scene, area, buf, &Sheet { title, lines, foot: &[], hint: "esc closes" });
}

/// A box in the middle, as high as its lines where there is room, scrolled where there is not.
pub(super) fn sheet(scene: Scene<'_>, area: Rect, buf: &mut Buffer, sheet: &Sheet<'_>) {
    let Sheet { title, lines, foot, hint } = sheet;
    let width = area.width.min(WIDTH_MAX);
    let wanted = u16::try_from(lines.len() + foot.len()).unwrap_or(u16::MAX).saturating_add(2);
    let height = wanted.min(area.height.saturating_sub(2)).max(3);
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height.saturating_sub(height)) / 2,
        width,
        height,
    };
    for y in place.y..place.bottom() {
        for x in place.x..place.right() {
            buf[(x, y)].reset();
        }
    }
    let shown = usize::from(height - 2).saturating_sub(foot.len());
    let scrolls = lines.len().saturating_sub(shown);
    scene.scrolls.set(scrolls);
    let top = scene.model.overlay_top.min(scrolls);
    let scroll = if foot.is_empty() { "j k scroll" } else { "PgDn PgUp scroll" };
    let hint = if lines.len() > shown {
        format!("{}-{} of {}   {scroll}   {hint}", top + 1, top + shown, lines.len())
    } else {
        (*hint).to_owned()
    };
    let inner =
        Panel { title: title.clone(), note: Vec::new(), hint: &hint, focused: true }.draw(scene.theme, place, buf);
    let seen = lines.iter().skip(top).take(shown).chain(foot.iter());
    for (at, pieces) in (0..).zip(seen) {
        let row = row(inner, at);
        line(buf, Rect { x: row.x + 1, width: row.width.saturating_sub(2), ..row }, pieces, scene.ellipsis());
    }
}

type Facts = Vec<(String, String)>;

fn facts(scene: Scene<'_>) -> (String, Facts) {
    let model = scene.model;
    match model.pane() {
        Pane::Servers | Pane::Replication => server(scene),
        Pane::Members => model.members.selected().map_or_else(nothing, |member| of_member(scene, member)),
        Pane::Attention => concern(scene),
        Pane::Checks => check(scene),
        Pane::Elections => election(scene),
        Pane::Services | Pane::Instances => instances::facts(scene).unwrap_or_else(nothing),
        Pane::Journal | Pane::Recent => entry(scene),
    }
}

fn nothing() -> (String, Facts) {
    ("Detail".into(), vec![(String::new(), "this row is gone".into())])
}

fn fact(label: &str, value: impl Into<String>) -> (String, String) {
    (label.to_owned(), value.into())
}

fn server(scene: Scene<'_>) -> (String, Facts) {
    let model = scene.model;
    let Some(row) = model.raft.list.stands_at().and_then(|at| model.servers.get(at)) else { return nothing() };
    let progress = &row.progress;
    let mut facts = vec![
        fact("Raft server ID", row.id.clone()),
        fact("address", row.address.clone()),
        fact("role", rows::role_word(row)),
        fact("vote", rows::vote_word(row.vote)),
        fact("term", rows::figure(progress.term)),
        fact("last log", rows::figure(progress.last_log)),
        fact("on its disk", rows::figure(progress.matched)),
        fact("commit", rows::figure(progress.commit)),
        fact("applied", rows::figure(progress.applied)),
        fact("behind", rows::figure(row.behind)),
        fact("contact", rows::contact(row)),
        fact("stable for", rows::age(scene, progress.stable_since)),
    ];
    if let Some(member) = model.members.by_id(&row.id) {
        facts.push(fact("", ""));
        facts.extend(of_member(scene, member).1);
    }
    (format!("Server {}", row.name()), facts)
}

fn of_member(scene: Scene<'_>, member: &Member) -> (String, Facts) {
    let (model, state) = (scene.model, &member.state);
    let mut facts = vec![
        fact("status", format!("{}, since {}", status_word(state.status), rows::age(scene, member.since))),
        fact("type", member.kind()),
        fact("gossip", shared::addr::host_port(&state.address, state.port)),
    ];
    if let Some(port) = member.tag("port") {
        facts.push(fact("Raft and RPC", format!("{}:{port}", state.address)));
    }
    if let Some(port) = member.tag("wan_join_port") {
        facts.push(fact("WAN gossip", format!("{}:{port}", state.address)));
    }
    let elsewhere = if state.pool == Pool::Lan { Pool::Wan } else { Pool::Lan };
    if let Some(other) = model.members.of(elsewhere).find(|other| other.id().is_some() && other.id() == member.id()) {
        let word = if elsewhere == Pool::Wan { "in the WAN" } else { "in the LAN" };
        facts.push(fact(word, format!("{}, {}", other.state.name, status_word(other.state.status))));
    }
    let [least, most, current, delegate_least, delegate_most, delegate] = state.versions;
    let gossip = match most {
        0 => format!("gossip {}", state.protocol),
        _ => format!("gossip {current} of {least} to {most}, serf's {delegate} of {delegate_least} to {delegate_most}"),
    };
    let raft = member.tag("raft_vsn").map_or(String::new(), |version| format!("; Raft {version}"));
    facts.push(fact("protocols", format!("{gossip}{raft}")));
    if state.pool == Pool::Lan {
        let words = match members::rtt(scene, member) {
            known if known != "?" => known,
            _ if model.denials.contains_key(&Source::Coordinates) => "? (this agent does not tell coordinates)".into(),
            _ => "measuring".to_owned(),
        };
        facts.push(fact("round trip", words));
    }
    if state.incarnation > 0 {
        facts.push(fact("incarnation", state.incarnation.to_string()));
    }
    if let Some(suspicion) = member.suspicion.as_ref().filter(|_| state.status == MemberStatus::Suspect) {
        facts.push(fact("suspected", members::suspected(scene, suspicion)));
        if suspicion.by.len() > 1 {
            facts.push(fact("", format!("by {}", suspicion.by.join(", "))));
        }
    } else if let Some(note) = &member.note {
        facts.push(fact("gossip says", note.clone()));
    }
    if !member.turns.is_empty() {
        facts.push(fact("", ""));
        facts.push(fact("history", ""));
    }
    for turn in member.turns.iter().rev() {
        let at = format::clock_millis(turn.at, model.setup.utc_offset_s);
        let glyph = scene.theme.glyph(turn.mark);
        facts.push((at, format!("{glyph} {:9}  {}", turn.word, turn.text).trim_end().to_owned()));
    }
    facts.push(fact("", ""));
    facts.extend(state.tags.iter().map(|(key, value)| fact(&format!("tag {key}"), value.clone())));
    (format!("Member {}", state.name), facts)
}

fn concern(scene: Scene<'_>) -> (String, Facts) {
    let model = scene.model;
    let Some(concern) = model.attention.selected() else { return nothing() };
    let mut facts = vec![
        fact("what", concern.what.clone()),
        fact("which", concern.subject.clone()),
        fact("", concern.text.clone()),
        fact("since", rows::age(scene, concern.since)),
    ];
    let member = concern.member.as_ref().and_then(|name| model.members.find(shared::event::Pool::Lan, name));
    if let Some(member) = member {
        facts.push(fact("", ""));
        facts.extend(of_member(scene, member).1);
    }
    (format!("Needs attention: {}", concern.subject), facts)
}

fn check(scene: Scene<'_>) -> (String, Facts) {
    let Some(check) = scene.model.checks.selected() else { return nothing() };
    let mut facts =
        vec![fact("node", check.node.clone()), fact("check ID", check.id.clone()), fact("name", check.name.clone())];
    if !check.service.is_empty() {
        facts.push(fact("service", check.service.clone()));
    }
    facts.extend([
        fact("status", check.status.clone()),
        fact("since", rows::age(scene, check.since)),
        fact("output", check.output.clone()),
    ]);
    (format!("Check {}", check.subject()), facts)
}

fn election(scene: Scene<'_>) -> (String, Facts) {
    let model = scene.model;
    let Some(election) = model.raft.elections.selected() else { return nothing() };
    let number = |n: Option<u32>| n.map_or("?".to_owned(), |n| n.to_string());
    let cause = if election.cause.is_empty() { "?" } else { election.cause.as_str() };
    let mut facts = vec![
        fact("candidate", election.candidate.clone()),
        fact("at", format::when(election.at, model.now, model.setup.utc_offset_s)),
        fact("cause", cause),
        fact("tally", format!("{} of {} needed", number(election.tally), number(election.need))),
        fact("result", rows::outcome_word(election.outcome).0),
        fact("no leader", rows::gap(election.gap)),
    ];
    for (voter, answer) in &election.votes {
        facts.push(fact("vote", format!("{voter} {}", rows::answer_word(Some(*answer)))));
    }
    if !election.steps.is_empty() {
        facts.push(fact("", ""));
    }
    for step in &election.steps {
        let at = format::clock_millis(step.at, model.setup.utc_offset_s);
        facts.push((at, format!("{}  {}", step.node, step.text)));
    }
    (format!("Election of term {}", election.term), facts)
}

fn entry(scene: Scene<'_>) -> (String, Facts) {
    let model = scene.model;
    let Some(entry) = model.journal.selected() else { return nothing() };
    let mut facts = vec![
        fact("time", entry.at.to_string()),
        fact("from", entry.node.clone()),
        fact("kind", entry.kind.word()),
        fact("level", format!("{:?}", entry.level).to_lowercase()),
    ];
    if entry.times > 1 {
        facts.push(fact("seen", format!("{} times", entry.times)));
    }
    facts.push(fact("", ""));
    facts.push(fact("what", entry.text.clone()));
    ("Event".into(), facts)
}
