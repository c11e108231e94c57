//! The third line: leader, quorum, what can still be lost; or the banner that takes its place.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::Scene;
use crate::format;
use crate::model::checks::Health;
use crate::model::mark::Mark;
use crate::model::verdict::{Quorum, Verdict};
use crate::msg::{Link, Trouble};
use crate::theme::Part;
use crate::widget::{Piece, line, line_right, piece};

/// Word of a leader that is this old is told with its age.
const OLD_US: u64 = 10_000_000;

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    if !scene.model.is_live() {
        line(buf, area, &banner(scene, area.width), scene.ellipsis());
        return;
    }
    let troubles = troubles(scene, area.width < 98);
    let pieces = verdict(scene, area.width.saturating_sub(columns(&troubles)));
    let taken = line(buf, area, &pieces, scene.ellipsis());
    let rest = Rect { x: area.x + taken, width: area.width - taken, ..area };
    line_right(buf, rest, &troubles);
}

fn columns(pieces: &[Piece<'_>]) -> u16 {
    let width = pieces.iter().map(|(text, _)| format::width(&format::clean(text))).sum::<usize>();
    u16::try_from(width).unwrap_or(u16::MAX)
}

/// The verdict in pieces, in whole words where they fit and in short ones where they do not; the
/// smallest screen shows it too.
pub(super) fn verdict<'a>(scene: Scene<'a>, width: u16) -> Vec<Piece<'a>> {
    let long = told(scene, false);
    if columns(&long) <= width { long } else { told(scene, true) }
}

/// `● QUORUM OK`
fn headed<'a>(scene: Scene<'a>, mark: Mark, word: &'static str) -> Vec<Piece<'a>> {
    let style = scene.theme.mark(mark);
    vec![piece(scene.theme.glyph(mark), style), piece(" ", scene.theme.part(Part::Text)), piece(word, style)]
}

/// What the agent in use sees, unless others know better.
fn told<'a>(scene: Scene<'a>, short: bool) -> Vec<Piece<'a>> {
    if scene.model.raft.later().is_none() {
        return worded(scene, short);
    }
    let mut pieces = headed(scene, Mark::Warning, "CUT OFF");
    pieces.push(piece(elsewhere(scene, short), scene.theme.part(Part::Text)));
    pieces
}

fn worded<'a>(scene: Scene<'a>, short: bool) -> Vec<Piece<'a>> {
    let text = scene.theme.part(Part::Text);
    let dot = scene.dot();
    let model = scene.model;
    let head = |mark: Mark, word: &'static str| headed(scene, mark, word);
    let arithmetic = |q: Quorum| {
        let unseen = if q.unseen > 0 { format!(" ({} not seen)", q.unseen) } else { String::new() };
        match short {
            true => format!(" {}/{}{unseen} {dot} needs {}", q.up, q.voters, q.need()),
            false => format!("  {} of {} voters up{unseen} {dot} needs {}", q.up, q.voters, q.need()),
        }
    };
    let or = |long: &'static str, brief: &'static str| if short { brief } else { long };
    let mut pieces;
    match model.verdict() {
        Verdict::Waiting => {
            pieces = head(Mark::Unknown, "QUORUM ?");
            pieces.push(piece(or("  the Raft configuration is not known yet", "  not known yet"), text));
            pieces.extend(leader(scene, short));
        }
        Verdict::Unclear(q) => {
            pieces = head(Mark::Unknown, "QUORUM ?");
            let why = match q.voters {
                0 => "  who votes may not be seen from here".to_owned(),
                _ => arithmetic(q),
            };
            pieces.push(piece(why, text));
            pieces.extend(leader(scene, short));
        }
        Verdict::NoQuorum(q) => {
            pieces = head(Mark::Failed, "NO QUORUM");
            pieces.push(piece(arithmetic(q), text));
            let words = or("no leader can be elected, writes fail", "no leader, writes fail");
            pieces.push(piece(format!(" {dot} {words}"), text));
        }
        Verdict::Doubted(quorum) => {
            pieces = head(Mark::Warning, "LEADER ?");
            pieces.push(piece(doubt(scene, short), text));
            if !short {
                pieces.push(piece(arithmetic(quorum), text));
                pieces.push(piece(format!(" {dot} writes fail"), text));
            }
        }
        Verdict::Unseated => {
            pieces = head(Mark::Warning, "NO SEAT");
            pieces.push(piece(unseated(scene, short), text));
        }
        Verdict::NoLeader { quorum, since } => {
            pieces = head(Mark::Warning, "NO LEADER");
            let age = |since| format!(" {}", format::age(model.now.micros_since(since)));
            pieces.push(piece(since.map_or(String::new(), age), text));
            if let Some(term) = model.raft.term {
                pieces.push(piece(format!("  {}{term}", or("term ", "T")), text));
            }
            if quorum.voters > 0 {
                pieces.push(piece(arithmetic(quorum), text));
            }
            pieces.push(piece(or("  reads are stale, writes fail", "  writes fail"), text));
        }
        Verdict::Thin(q) | Verdict::Ok(q) => {
            let mark = if matches!(model.verdict(), Verdict::Thin(_)) { Mark::Warning } else { Mark::Good };
            pieces = head(mark, "QUORUM OK");
            pieces.push(piece(format!("{} {dot} ", arithmetic(q)), text));
            let spare = if q.spare() == 0 { scene.theme.mark(Mark::Warning) } else { text };
            pieces.push(piece(format!("can lose {}", q.spare()), spare));
            pieces.extend(leader(scene, short));
        }
    }
    pieces
}

/// `srv-3 leads term 3`, as others say and the agent in use does not see; how old that is, if it is.
fn elsewhere(scene: Scene<'_>, short: bool) -> String {
    let model = scene.model;
    let Some(later) = model.raft.later() else { return String::new() };
    let name = model.servers.iter().find(|row| row.id == later.id).map_or(later.id.as_str(), |row| row.name());
    let age = model.now.micros_since(later.seen);
    let age = if age < OLD_US { String::new() } else { format!(", heard {} ago", format::age_whole(age)) };
    let (here, term, dot) = (model.here(), later.term, scene.dot());
    match short {
        true => format!("  {name} leads term {term}, unseen by {here}{age}"),
        false => format!("  {name} leads term {term}{age}; {here}, in use here, does not see it {dot} a other agent"),
    }
}

/// `srv-3, in use here, was removed from Raft or not added yet`, and where to look instead.
fn unseated(scene: Scene<'_>, short: bool) -> String {
    let (model, dot) = (scene.model, scene.dot());
    let here = model.here();
    let next = if model.lanes.len() > 1 { "a other agent" } else { "see another server (--addr)" };
    match short {
        true => format!("  {here} was removed from Raft, or not added yet"),
        false => format!("  {here}, in use here, was removed from Raft or not added yet {dot} {next}"),
    }
}

/// `srv-1 says it leads term 2, no quorum answers it`
fn doubt(scene: Scene<'_>, short: bool) -> String {
    let raft = &scene.model.raft;
    let name = raft.leader_name().unwrap_or_default();
    let term = raft.led_term().map_or(String::new(), |term| format!(" term {term}"));
    match short {
        true => format!("  {name}: no quorum answers it {} writes fail", scene.dot()),
        false => format!("  {name} says it leads{term}, no quorum answers it"),
    }
}

/// `★ srv-1 leads term 41 for 3h12m`, or `★ srv-1 T41 3h12m`.
fn leader<'a>(scene: Scene<'a>, short: bool) -> Vec<Piece<'a>> {
    let (model, theme) = (scene.model, scene.theme);
    let text = theme.part(Part::Text);
    let Some(name) = model.raft.leader_name() else { return Vec::new() };
    let (gap, word, long) = if short { (" ", " T", " ") } else { ("    ", " leads term ", " for ") };
    let term =
        model.raft.led_term().map_or(if short { "" } else { " leads" }.to_owned(), |term| format!("{word}{term}"));
    let since = model.raft.leading().and_then(|leading| leading.since);
    let since = since.map_or(String::new(), |at| format!("{long}{}", format::age_whole(model.now.micros_since(at))));
    vec![
        piece(gap, text),
        piece(theme.glyph(Mark::Leader), theme.mark(Mark::Leader)),
        piece(" ", text),
        piece(name, theme.part(Part::Strong)),
        piece(format!("{term}{since}"), text),
    ]
}

/// What is wrong, counted: `✖ 1 member  ✖ 2 checks`.
fn troubles<'a>(scene: Scene<'a>, short: bool) -> Vec<Piece<'a>> {
    let (model, theme) = (scene.model, scene.theme);
    let text = theme.part(Part::Text);
    let census = model.members.census;
    let gap = if short { "" } else { " " };
    let many = |n: usize, one: &str, more: &str| format!("{gap}{n} {}", if n == 1 { one } else { more });
    let (critical, warning) = (model.checks.count(Health::Critical), model.checks.count(Health::Warning));
    let worst = if critical > 0 { Mark::Failed } else { Mark::Warning };
    let counts = [
        (Mark::Failed, census.failed, "member", "members"),
        (Mark::Suspect, census.suspect, "suspect", "suspects"),
        (worst, critical + warning, "check", "checks"),
    ];
    let mut pieces = Vec::new();
    for (mark, n, one, more) in counts.into_iter().filter(|(_, n, _, _)| *n > 0) {
        pieces.push(piece(if short { " " } else { "  " }, text));
        pieces.push(piece(theme.glyph(mark), theme.mark(mark)));
        pieces.push(piece(many(n, one, more), text));
    }
    pieces
}

/// What takes the verdict's place while the agent does not answer. The date of the data stays longest.
pub(super) fn banner<'a>(scene: Scene<'a>, width: u16) -> Vec<Piece<'a>> {
    let (model, theme) = (scene.model, scene.theme);
    let (text, faint) = (theme.part(Part::Text), theme.part(Part::Faint));
    let Some(lane) = model.lane() else { return vec![piece("no agent was given", text)] };
    let mut head = Vec::new();
    let mut brief = String::new();
    let (trouble, mut retry) = match &lane.link {
        Link::Lost { trouble, attempt, retry_at } => {
            let wait = retry_at.micros_since(model.now).div_ceil(1_000_000);
            brief = format!("  retry in {wait}s");
            (Some(trouble), format!("  retry {attempt} in {wait}s"))
        }
        Link::Connecting { attempt, after } if lane.lost.is_some() => {
            (after.as_ref(), format!("  trying now, attempt {attempt}"))
        }
        _ => (None, String::new()),
    };
    let mut address = lane.address.clone();
    if lane.lost.is_none() {
        head.push(piece(theme.glyph(Mark::Candidate), theme.mark(Mark::Candidate)));
        head.push(piece(" CONNECTING  to ", text));
    } else {
        let age = lane.lost.map_or(String::new(), |at| format!(" {}", format::age_whole(model.now.micros_since(at))));
        head.push(piece(theme.glyph(Mark::Failed), theme.part(Part::Alarm)));
        head.push(piece(" ", text));
        head.push(piece(banner_word(trouble, model.has_picture()), theme.part(Part::Alarm)));
        head.push(piece(format!("{age}  "), text));
    }
    let why = trouble.map_or(String::new(), |trouble| format!(" {trouble}"));
    let heard = lane.heard.filter(|_| model.has_picture()).map(|at| format::clock(at, model.setup.utc_offset_s));
    let dated = |label: &str| heard.as_ref().map_or(String::new(), |heard| format!("  {label} {heard}"));
    let mut tail = dated("data from");
    let size = |text: &str| u16::try_from(format::width(text)).unwrap_or(u16::MAX);
    let told = columns(&head) + size(why.trim_start());
    // Why it is away is told whole before which attempt it is, and when the next one.
    for (shorter, label) in [(brief.as_str(), "data from"), (brief.as_str(), "data"), ("", "data")] {
        if lane.lost.is_some() && told + size(&retry) + size(&tail) > width {
            (retry, tail) = (shorter.to_owned(), dated(label));
        }
    }
    let tail = if tail.is_empty() { Vec::new() } else { vec![piece(tail, text)] };
    let mut keys = Vec::new();
    if lane.lost.is_some() {
        keys.extend([piece("  r", theme.part(Part::Key)), piece(" now", faint)]);
        if model.lanes.len() > 1 {
            keys.extend([piece("  a", theme.part(Part::Key)), piece(" other agent", faint)]);
        }
    }
    let fixed = columns(&head) + columns(&tail);
    let with = |address: &str| columns(&[piece(format!("{address}{why}{retry}"), text)]);
    // The header names the address as well; the keys are in the help.
    if fixed + with(&address) + columns(&keys) > width {
        keys.clear();
    }
    if fixed + with(&address) > width && !why.is_empty() {
        address.clear();
    }
    let room = usize::from(width.saturating_sub(fixed)).saturating_sub(format::width(&retry));
    let why = format::fit(&format!("{address}{why}"), room, scene.ellipsis()).trim_start().to_owned();
    head.push(piece(why, text));
    head.push(piece(retry, text));
    head.extend(tail);
    head.extend(keys);
    head
}

fn banner_word(trouble: Option<&Trouble>, has_picture: bool) -> &'static str {
    match trouble {
        Some(Trouble::Forbidden) => "NO ACCESS",
        Some(Trouble::NotAnAgent(_)) => "NOT AN AGENT",
        Some(Trouble::TlsExpected | Trouble::TlsFailed(_)) => "TLS",
        _ if has_picture => "DISCONNECTED",
        _ => "NOT CONNECTED",
    }
}
