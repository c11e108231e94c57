//! The Raft screen: replication, the timeline, the ledger of elections, one election whole.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::timeline::{View, Window};
use super::{Scene, placeholder, rows, waiting};
use crate::format;
use crate::model::elections::Election;
use crate::model::mark::Mark;
use crate::model::panes::{self, Pane, Room};
use crate::model::raft::Raft;
use crate::model::servers::ServerRow;
use crate::msg::Screen;
use crate::theme::Part;
use crate::widget::panel::Panel;
use crate::widget::table::{Cell, Column, Table};
use crate::widget::{line, line_right, piece, put, row, spark};

/// Entries behind at which autopilot calls a server unhealthy, where its rules are not known: the bar is
/// full there.
const TRAILING_MOST: u64 = 250;

/// So long silent Consul's autopilot finds too long, unless told otherwise.
const CONTACT_MOST_MS: u64 = 200;

/// Voters that get a column of their own in the ledger.
const VOTERS_MAX: usize = 7;

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let heights = panes::raft(area.height, scene.model.room(), scene.model.needs());
    let mut y = area.y;
    let mut band = |height: u16| {
        let band = Rect { y, height, ..area };
        y += height;
        band
    };
    replication(scene, band(heights.replication), buf);
    if heights.timeline > 0 {
        timeline(scene, band(heights.timeline), buf);
    }
    elections(scene, band(heights.elections), buf);
    if heights.detail > 0 {
        election(scene, band(heights.detail), buf);
    }
}

pub(super) fn replication(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let focused = scene.focused(Pane::Replication);
    let title = vec![piece("Replication", theme.part(Part::Strong))];
    let inner = Panel { title, note: Vec::new(), hint: "? = not seen from here", focused }.draw(theme, area, buf);
    if model.servers.is_empty() {
        return placeholder(scene, inner, &waiting(scene), buf);
    }
    let names = rows::name_width(model.servers.iter().map(|row| row.name()), 8, 16);
    // A column that nobody fills is not there.
    let known = |rank: u8, known: bool| if known { rank } else { u8::MAX };
    let any = |of: fn(&crate::model::servers::ServerRow) -> bool| model.servers.iter().any(of);
    let mut columns = vec![
        Column::new("NODE", names),
        Column::new("ID", 8).rank(6),
        Column::new("VOTE", 4),
        Column::new("STATE", 9),
        Column::new("TERM", 4).right(),
        Column::new("LAST LOG", 9).right(),
        Column::new("COMMIT", 9).right().rank(5),
        Column::new("APPLIED", 9).right().rank(5),
        Column::new("BEHIND", 7).right(),
        Column::new(" ", 4).grows().rank(7),
        Column::new("CONTACT", 7).right(),
        Column::new("STABLE", 6).right().rank(known(4, any(|row| row.progress.stable_since.is_some()))),
        Column::new("HEALTHY", 10).rank(known(1, any(|row| row.progress.healthy.is_some()))),
    ];
    columns.retain(|column| column.rank != u8::MAX);
    let heads: Vec<Cow<'static, str>> = columns.iter().map(|column| column.head.clone()).collect();
    let table = Table { theme, columns: &columns, marked: true, focused };
    let lines = panes::raft_lines(model.room());
    let body = Rect { height: inner.height.saturating_sub(lines), ..inner };
    let list = &model.raft.list;
    table.draw(
        body,
        buf,
        (list.top, model.servers.len(), list.stands_at().filter(|_| focused)),
        |at| Some(rows::server_mark(&model.servers[at])),
        |at, column| replication_cell(scene, at, &heads[column]),
    );
    if lines > 0 {
        commit_line(scene, row(inner, body.height), buf);
        contact_line(scene, row(inner, body.height + 1), buf);
    }
}

fn replication_cell<'a>(scene: Scene<'a>, at: usize, head: &str) -> Cell<'a> {
    let (theme, server) = (scene.theme, &scene.model.servers[at]);
    let (text, progress) = (theme.part(Part::Text), &server.progress);
    match head {
        "NODE" => Cell::new(server.name(), theme.part(Part::Strong)),
        // Where the configuration may not be read the address stands for it.
        "ID" if server.id == server.address => Cell::new("?", text),
        "ID" => Cell::new(format::head(&server.id, 8).0, text),
        "VOTE" => Cell::new(rows::vote_word(server.vote), text),
        "STATE" => Cell::new(rows::role_word(server), theme.mark(rows::server_mark(server))),
        "TERM" => Cell::new(rows::figure(progress.term), text),
        "LAST LOG" => Cell::new(rows::figure(progress.last_log), text),
        "COMMIT" => Cell::new(rows::figure(progress.commit), text),
        "APPLIED" => Cell::new(rows::figure(progress.applied), text),
        "BEHIND" => Cell::new(rows::figure(server.behind), text),
        " " => match server.behind {
            Some(behind) => {
                let most = scene.model.raft.rules.map_or(TRAILING_MOST, |rules| rules.trailing);
                let mark = if behind > most { Mark::Warning } else { Mark::Good };
                Cell::new(spark::bar(behind, most, 12, theme.lines()), theme.mark(mark))
            }
            None => Cell::new("", text),
        },
        "CONTACT" => Cell::new(rows::contact(server), text),
        "STABLE" => Cell::new(rows::age(scene, progress.stable_since), text),
        _ => match progress.healthy {
            Some(true) => Cell::new("yes", theme.mark(Mark::Good)),
            Some(false) => Cell::new(ailment(scene, server), theme.mark(Mark::Failed)),
            None => Cell::new("?", text),
        },
    }
}

/// Why autopilot does not call it healthy, as far as its rules tell.
fn ailment(scene: Scene<'_>, server: &ServerRow) -> Cow<'static, str> {
    let rules = scene.model.raft.rules;
    match rules {
        _ if server.up == Some(false) => "NO, down".into(),
        Some(rules) if server.behind.is_some_and(|behind| behind > rules.trailing) => {
            format!("lag > {}", rules.trailing).into()
        }
        Some(rules) if server.progress.contact_ms.is_some_and(|ms| ms > rules.contact_ms) => "NO, silent".into(),
        _ => "NO".into(),
    }
}

/// `contact p50 11ms ▁▁▂▁ max 41ms of 200ms   fsync 0.4ms, max 4.0ms`
fn contact_line(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let (text, faint) = (theme.part(Part::Text), theme.part(Part::Faint));
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let Raft { contacts, syncs, rules, .. } = &model.raft;
    let mut pieces = vec![piece("contact ", faint)];
    match contacts.middle_and_most() {
        None => pieces.push(piece("no follower was heard yet", text)),
        Some((middle, most)) => {
            let limit = rules.map(|rules| rules.contact_ms);
            // Full where it is too long, as far as that is known.
            let full = limit.unwrap_or(0).max(CONTACT_MOST_MS) as f64;
            let columns = usize::from(area.width / 4).min(30);
            let bars = spark::spark_against(&contacts.values(), full, columns, theme.lines());
            let of = limit.map_or(String::new(), |limit| format!(" of {}", format::millis(limit)));
            let mark = if limit.is_some_and(|limit| most > limit) { Mark::Warning } else { Mark::Good };
            pieces.push(piece(bars, theme.mark(mark)));
            let words = format!(" p50 {}, max {}{of}", format::millis(middle), format::millis(most));
            pieces.push(piece(words, text));
        }
    }
    if let Some(syncs) = syncs {
        let age = syncs.age_us(model.now).map_or(String::new(), |us| format!(", {} ago", format::age_whole(us)));
        let words = format!("{}, max {}{age}", format::rtt(syncs.mean_us), format::rtt(syncs.most_us));
        pieces.extend([piece("   fsync here ", faint), piece(words, text)]);
    }
    line(buf, area, &pieces, scene.ellipsis());
}

/// Commits per second, snapshot, the last time without a leader.
pub(super) fn commit_line(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (raft, theme) = (&scene.model.raft, scene.theme);
    let (text, faint) = (theme.part(Part::Text), theme.part(Part::Faint));
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let rates = raft.commit_rates();
    let bars = spark::spark(&rates, usize::from(area.width / 4).min(30), theme.lines());
    let rate = rates.last().map_or("?".to_owned(), |rate| format!("{}/s", format::rate(*rate)));
    let mut pieces = vec![
        piece("commit ", faint),
        piece(bars, theme.mark(Mark::Good)),
        piece(format!(" {} at {rate}", rows::figure(raft.commit())), text),
    ];
    let snapshot = raft.own.snapshot.filter(|snapshot| *snapshot > 0);
    let snapshot = snapshot.map(|snapshot| ("   snapshot ", format!("at {}", format::count(snapshot))));
    let gap = raft.last_gap.map(|gap| ("   last gap ", format!("{} without a leader", rows::gap(Some(gap)))));
    let width = |text: &str| u16::try_from(format::width(text)).unwrap_or(u16::MAX);
    let mut room = area.width.saturating_sub(pieces.iter().map(|(text, _)| width(text)).sum());
    for (label, words) in [snapshot, gap].into_iter().flatten() {
        let needs = width(label) + width(&words);
        // Whole or not at all.
        if needs <= room {
            room -= needs;
            pieces.extend([piece(label, faint), piece(words, text)]);
        }
    }
    line(buf, area, &pieces, scene.ellipsis());
}

pub(super) fn timeline(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let timeline = &model.raft.timeline;
    // About the election that is looked at, if one is.
    let about = model.raft.elections.selected().filter(|_| model.pane() == Pane::Elections);
    let window = Window::of(timeline, model.now, model.span, about.map(|election| election.at));
    let faint = theme.part(Part::Faint);
    let mut title = vec![piece("Leadership", theme.part(Part::Strong))];
    let span = match window.span_us() {
        us @ ..1_000_000 => format::millis(us / 1_000),
        us => format::age_whole(us),
    };
    let words = match about.filter(|_| !model.span.is_all()) {
        Some(election) => format!("  {span} about election {}", election.term),
        None => format!("  last {span}"),
    };
    title.push(piece(words, theme.part(Part::Text)));
    let lines = theme.lines();
    let legend = [
        (format!("{}{}", theme.glyph(Mark::Leader), lines.leads), Mark::Leader, " leads  "),
        (lines.follows.repeat(2), Mark::Good, " follows  "),
        (theme.glyph(Mark::Candidate).to_owned(), Mark::Candidate, " candidate  "),
        (lines.adrift.repeat(2), Mark::Quiet, " no leader  "),
        (theme.glyph(Mark::Failed).to_owned(), Mark::Failed, " down"),
    ];
    let note = legend.into_iter().flat_map(|(glyph, mark, word)| [piece(glyph, theme.mark(mark)), piece(word, faint)]);
    let inner = Panel {
        title,
        note: note.collect(),
        hint: if model.screen == Screen::Raft { "+ - zoom" } else { "" },
        focused: false,
    }
    .draw(theme, area, buf);
    if timeline.is_empty() {
        return placeholder(scene, inner, &waiting(scene), buf);
    }
    let room = inner.height.saturating_sub(u16::try_from(timeline.len()).unwrap_or(u16::MAX));
    View {
        theme,
        timeline,
        window,
        now: model.now,
        utc_offset_s: model.setup.utc_offset_s,
        with_leader: room >= 3 && timeline.len() > 1,
        with_terms: room >= 2,
    }
    .draw(inner, buf);
}

pub(super) fn elections(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let focused = scene.focused(Pane::Elections);
    let ledger = &model.raft.elections;
    let title =
        vec![piece("Elections", theme.part(Part::Strong)), piece(format!(" {}", ledger.len()), theme.part(Part::Text))];
    let hint = "- no answer   ? not seen from here";
    let inner = Panel { title, note: Vec::new(), hint, focused }.draw(theme, area, buf);
    if ledger.is_empty() {
        let text = if model.has_picture() { "none seen from here".to_owned() } else { waiting(scene) };
        return placeholder(scene, inner, &text, buf);
    }
    let voters = voters(scene);
    let columns = election_columns(scene, &voters);
    let table = Table { theme, columns: &columns, marked: false, focused };
    let list = &ledger.list;
    // The ledger is a hundred rows at most; those in sight are looked up once.
    let seen: Vec<&Election> = ledger.newest().skip(list.top).take(usize::from(inner.height)).collect();
    table.draw(
        inner,
        buf,
        (list.top, ledger.len(), list.stands_at()),
        |_| None,
        |at, column| match seen.get(at - list.top) {
            Some(election) => election_cell(scene, election, column, &voters),
            None => Cell::new("", theme.part(Part::Text)),
        },
    );
}

fn election_columns(scene: Scene<'_>, voters: &[String]) -> Vec<Column> {
    let wide = scene.model.room() == Room::Wide;
    let candidates = scene.model.raft.elections.newest().map(|election| election.candidate.as_str());
    let mut columns = vec![
        Column::new("TERM", 4).right(),
        Column::new("AT", if wide { 12 } else { 8 }),
        Column::new("CAND.", rows::name_width(candidates, 6, 14)),
        Column::new("CAUSE", 12).grows(),
    ];
    for voter in voters {
        let head = format::fit(voter, 9, scene.ellipsis()).into_owned();
        let width = u16::try_from(format::width(&head)).unwrap_or(3).max(3);
        columns.push(Column { head: head.into(), rank: 3, ..Column::new("", width) });
    }
    columns.push(Column::new("TALLY", 5).right());
    columns.push(Column::new("NEED", 4).right().rank(4));
    columns.push(Column::new("RESULT", 9));
    columns.push(if wide {
        Column::new("NO LEADER", 9).right().rank(2)
    } else {
        Column::new("GAP", 6).right().rank(2)
    });
    columns
}

/// Voters by name: those of the configuration, else those that answered.
fn voters(scene: Scene<'_>) -> Vec<String> {
    let raft = &scene.model.raft;
    let mut names: Vec<String> = raft.peers.iter().map(|peer| peer.node.clone()).filter(|n| !n.is_empty()).collect();
    for election in raft.elections.newest() {
        for voter in election.votes.keys() {
            if !names.contains(voter) {
                names.push(voter.clone());
            }
        }
    }
    names.sort();
    names.truncate(VOTERS_MAX);
    names
}

fn election_cell<'a>(scene: Scene<'a>, election: &'a Election, column: usize, voters: &[String]) -> Cell<'a> {
    let (model, theme) = (scene.model, scene.theme);
    let text = theme.part(Part::Text);
    let number = |n: Option<u32>| n.map_or("?".to_owned(), |n| n.to_string());
    match column {
        0 => Cell::new(election.term.to_string(), theme.part(Part::Strong)),
        1 => {
            let at = format::when(election.at, model.now, model.setup.utc_offset_s);
            // Without its milliseconds where there is less room.
            let short = at.split('.').next().filter(|_| model.room() != Room::Wide).map(str::to_owned);
            Cell::new(short.unwrap_or(at), text)
        }
        2 => Cell::new(election.candidate.as_str(), text),
        3 if election.cause.is_empty() => Cell::new("?", text),
        3 => Cell::new(election.cause.as_str(), text),
        at if at < 4 + voters.len() => {
            let voter = &voters[at - 4];
            let answer = election.votes.get(voter).copied();
            Cell::new(rows::answer_word(answer), text)
        }
        at => match at - 4 - voters.len() {
            0 => Cell::new(number(election.tally), text),
            1 => Cell::new(number(election.need), text),
            2 => {
                let (word, mark) = rows::outcome_word(election.outcome);
                Cell::new(word, theme.mark(mark))
            }
            _ => Cell::new(rows::gap(election.gap), text),
        },
    }
}

/// The story of the selected election.
fn election(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let Some(election) = model.raft.elections.selected() else {
        let title = vec![piece("Election", theme.part(Part::Strong))];
        let inner = Panel { title, note: Vec::new(), hint: "", focused: false }.draw(theme, area, buf);
        return placeholder(scene, inner, "none selected", buf);
    };
    let title = vec![piece(format!("Election {}", election.term), theme.part(Part::Strong))];
    let inner = Panel { title, note: Vec::new(), hint: "", focused: false }.draw(theme, area, buf);
    if election.steps.is_empty() {
        return placeholder(scene, inner, "its steps were not seen from here", buf);
    }
    let node = rows::name_width(election.steps.iter().map(|step| step.node.as_str()), 5, 14);
    let shown = usize::from(inner.height);
    // The end of a story tells more than its beginning.
    let skipped = election.steps.len().saturating_sub(shown);
    for (line_at, step) in (0..).zip(election.steps.iter().skip(skipped)) {
        let place = row(inner, line_at);
        let at = format::clock_millis(step.at, model.setup.utc_offset_s);
        put(buf, (place.x + 1, place.y), 12, &at, theme.part(Part::Faint), "");
        put(buf, (place.x + 14, place.y), node, &step.node, theme.part(Part::Strong), scene.ellipsis());
        let x = place.x + 15 + node;
        let columns = place.right().saturating_sub(x + 1);
        put(buf, (x, place.y), columns, &step.text, theme.part(Part::Text), scene.ellipsis());
    }
    if skipped > 0 {
        let hint = [piece(format!(" {skipped} earlier: enter "), theme.part(Part::Faint))];
        let foot = Rect { y: area.bottom() - 1, height: 1, width: area.width.saturating_sub(2), ..area };
        line_right(buf, foot, &hint);
    }
}
