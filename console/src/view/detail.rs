//! Dialogs over the screen: the selected row, whole, wrapped and scrolled.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Scene, rows};
use crate::format;
use crate::model::members::{Member, status_word};
use crate::model::panes::Pane;
use crate::theme::Part;
use crate::widget::panel::Panel;
use crate::widget::{Piece, line, piece, row};

const WIDTH_MAX: u16 = 96;
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

/// A box in the middle, as high as its lines where there is room, scrolled where there is not.
pub(super) fn dialog(scene: Scene<'_>, area: Rect, buf: &mut Buffer, title: Vec<Piece<'_>>, lines: &[Vec<Piece<'_>>]) {
    let width = area.width.min(WIDTH_MAX);
    let wanted = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2);
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
    let shown = usize::from(height - 2);
    let top = scene.model.overlay_top.min(lines.len().saturating_sub(shown));
    let hint = if lines.len() > shown {
        format!("{}-{} of {}   j k scroll   esc closes", top + 1, top + shown, lines.len())
    } else {
        "esc closes".to_owned()
    };
    let inner = Panel { title, note: Vec::new(), hint: &hint, focused: true }.draw(scene.theme, place, buf);
    for (at, pieces) in (0..).zip(lines.iter().skip(top).take(shown)) {
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
    let Some(row) = model.servers.get(model.raft.list.at) else { return nothing() };
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
    let state = &member.state;
    let mut facts = vec![
        fact("gossip", format!("{}:{}", state.address, state.port)),
        fact("status", status_word(state.status)),
        fact("since", rows::age(scene, member.since)),
        fact("type", member.kind()),
        fact("protocol", state.protocol.to_string()),
    ];
    if state.incarnation > 0 {
        facts.push(fact("incarnation", state.incarnation.to_string()));
    }
    if let Some(note) = &member.note {
        facts.push(fact("gossip says", note.clone()));
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
