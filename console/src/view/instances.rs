//! The instances of one service: where each is, how it is and was, what its checks say; and one of them whole.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::services::emptiness;
use super::{Scene, placeholder, rows};
use crate::format;
use crate::keymap::TABLE;
use crate::model::checks::{Health, Policy, is_maintenance};
use crate::model::instances::{Instance, Probe};
use crate::model::listing::SortKey;
use crate::model::mark::Mark;
use crate::model::panes::{self, Pane};
use crate::model::strip::{CELLS, strip};
use crate::msg::Source;
use crate::theme::Part;
use crate::widget::panel::Panel;
use crate::widget::table::{Cell, Column, Table};
use crate::widget::{line, piece, put, row};

/// The column of the strip.
const STRIP: usize = 6;
/// Consul looks for what is to be deregistered twice a minute.
const REAPED_EVERY_S: u64 = 30;

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let (model, theme) = (scene.model, scene.theme);
    let instances = &model.instances;
    let focused = scene.focused(Pane::Instances);
    let arrow = if instances.listing.reversed { theme.lines().down } else { theme.lines().up };
    let mut title = vec![piece("Instances", theme.part(Part::Strong))];
    if !instances.of.is_empty() {
        let count = match (instances.known, instances.shown() == instances.count()) {
            (false, _) => String::new(),
            (true, true) => format!("  {}", instances.count()),
            (true, false) => format!("  {} of {}", instances.shown(), instances.count()),
        };
        title.push(piece(" of ", theme.part(Part::Text)));
        title.push(piece(instances.of.as_str(), theme.part(Part::Strong)));
        title.push(piece(format!("{count}   by {} {arrow}", instances.listing.sort.word()), theme.part(Part::Text)));
    }
    let is_kept_here = TABLE.iter().any(|key| key.keys == "M" && key.is_offered(model));
    let hint = match focused {
        true if is_kept_here => "enter detail  M maintenance",
        true => "enter detail",
        false => "tab",
    };
    let inner = Panel { title, note: Vec::new(), hint, focused }.draw(theme, area, buf);
    if instances.shown() == 0 {
        let text = match instances.of.is_empty() {
            true => "no service is selected".to_owned(),
            false => {
                let is_filtered = instances.listing.filter.is_active() && instances.count() > 0;
                let none = match model.services.known && model.services.find(&instances.of).is_none() {
                    true => "it is gone from the catalog",
                    false => "it has no instances now",
                };
                emptiness(scene, Source::Instances, instances.known, is_filtered, none)
            }
        };
        return placeholder(scene, inner, &text, buf);
    }
    let lines = panes::instance_lines(area.height);
    let body = Rect { height: inner.height.saturating_sub(lines), ..inner };
    table(scene, focused, body, buf);
    if let Some(instance) = instances.selected() {
        about(scene, instance, Rect { y: body.bottom(), height: inner.height - body.height, ..inner }, buf);
    }
}

fn table(scene: Scene<'_>, focused: bool, area: Rect, buf: &mut Buffer) {
    let (instances, theme) = (&scene.model.instances, scene.theme);
    let list = &instances.listing.list;
    let page = usize::from(area.height.saturating_sub(1));
    let seen = || (list.top..list.top + page).filter_map(|at| instances.shown_at(at));
    let addresses: Vec<String> = seen().map(Instance::host_port).collect();
    // What is named as its service has nothing to tell by its ID; of two on one node nothing else tells more.
    let has_ids = seen().any(|row| row.id != instances.of);
    let is_crowded = seen().zip(seen().skip(1)).any(|(one, next)| one.node == next.node);
    let id_rank = if is_crowded { 2 } else { 6 };
    let mut columns = [
        Column::new("NODE", rows::name_width(seen().map(|row| row.node.as_str()), 6, 16)),
        Column::new("ID", rows::name_width(seen().map(|row| row.id.as_str()), 4, 14)).rank(if has_ids {
            id_rank
        } else {
            9
        }),
        Column::new("ADDRESS", rows::name_width(addresses.iter().map(String::as_str), 8, 26)).rank(1),
        Column::new("STATUS", 8),
        Column::new("CHECK", rows::name_width(seen().filter_map(Instance::telling).map(|it| it.name.as_str()), 6, 14))
            .grows()
            .rank(4),
        Column::new("CHANGED", 7).right().rank(3),
        Column::new("LAST 10m", u16::try_from(CELLS).unwrap_or(8)).rank(5),
    ];
    if !has_ids {
        columns[1].width = area.width;
    }
    let table = Table { theme, columns: &columns, marked: true, focused };
    let drawn = table.draw(
        area,
        buf,
        (list.top, instances.shown(), list.stands_at()),
        |at| instances.shown_at(at).map(mark),
        |at, column| match instances.shown_at(at) {
            Some(instance) => cell(scene, instance, column),
            None => Cell::new("", theme.part(Part::Text)),
        },
    );
    // Each cell of the strip has a style of its own.
    let fit = table.fit(area.width);
    let before = fit.0.iter().take_while(|(at, _)| *at != STRIP).map(|(_, width)| width + 1).sum::<u16>();
    if fit.0.iter().any(|(at, _)| *at == STRIP) {
        for at in 0..drawn {
            let place = row(area, u16::try_from(at + 1).unwrap_or(u16::MAX));
            if let Some(instance) = instances.shown_at(list.top + at) {
                let x = place.x + 3 + before;
                draw_strip(scene, instance.probes.iter(), &instance.node, (x, place.y), place.right(), buf);
            }
        }
    }
}

/// `●●▲●▲●▲▲`: the worst of some checks in each part of the last ten minutes.
fn draw_strip<'p>(
    scene: Scene<'_>,
    probes: impl Iterator<Item = &'p Probe>,
    node: &str,
    (x, y): (u16, u16),
    end: u16,
    buf: &mut Buffer,
) {
    for (at, (glyph, style)) in (0..).zip(strip_of(scene, probes, node)) {
        put(buf, (x + at, y), end.saturating_sub(x + at).min(1), glyph, style, "");
    }
}

fn strip_of<'p>(scene: Scene<'_>, probes: impl Iterator<Item = &'p Probe>, node: &str) -> Vec<(&'static str, Style)> {
    let (checks, theme) = (&scene.model.checks, scene.theme);
    let pasts = probes.filter_map(|probe| checks.find(node, &probe.id)).map(|check| &check.past);
    let one = |cell: Option<Health>| match cell.map(rows::health_mark) {
        Some(mark) => (theme.glyph(mark), theme.mark(mark)),
        // Before it was looked at.
        None => (theme.lines().middle_dot, theme.part(Part::Faint)),
    };
    strip(pasts, &checks.unseen, scene.model.now).into_iter().map(one).collect()
}

fn mark(instance: &Instance) -> Mark {
    match instance.is_kept() {
        // Somebody meant it.
        true => Mark::Suspect,
        false => rows::health_mark(instance.health()),
    }
}

fn cell<'a>(scene: Scene<'a>, instance: &'a Instance, column: usize) -> Cell<'a> {
    let theme = scene.theme;
    let text = theme.part(Part::Text);
    match column {
        0 => Cell::new(instance.node.as_str(), theme.part(Part::Strong)),
        1 => Cell::new(instance.id.as_str(), text),
        2 => Cell::new(instance.host_port(), text),
        3 => Cell::new(instance.status(), theme.mark(mark(instance))),
        4 => match instance.telling() {
            Some(probe) => Cell::new(probe.name.as_str(), text),
            None => Cell::new("none", theme.part(Part::Faint)),
        },
        5 => Cell::new(rows::age(scene, instance.since(&scene.model.checks)), text),
        _ => Cell::new("", text),
    }
}

/// What its telling check says, how that works, and when it would be deregistered.
fn about(scene: Scene<'_>, instance: &Instance, area: Rect, buf: &mut Buffer) {
    let theme = scene.theme;
    let Some(probe) = instance.telling() else {
        let text = "no check watches it: it counts as passing";
        return put_line(scene, "checks", text, theme.part(Part::Text), row(area, 1), buf);
    };
    let all = instance.probes.len();
    let more = if all > 1 { format!(", the worst of {all}") } else { String::new() };
    let check = format!("{}{}{more}", probe.name, if probe.is_nodes { ", of its node" } else { "" });
    let text = theme.part(Part::Text);
    let flaps = scene.model.checks.find(&instance.node, &probe.id).and_then(|check| check.flaps(scene.model.now));
    let flaps = flaps.map_or(String::new(), |count| format!("   flapped {count}x in 10m"));
    put_line(scene, "check", &format!("{check}{flaps}"), text, row(area, 0), buf);
    let (label, said) = said(probe);
    put_line(scene, label, said, text, row(area, 1), buf);
    put_line(scene, "policy", &policy(scene, instance, probe), text, row(area, 2), buf);
    if let Some(gone) = gone(scene, instance) {
        put_line(scene, "gone", &gone, theme.mark(Mark::Warning), row(area, 3), buf);
    }
}

/// What a check said in one line; of maintenance, why somebody set it.
fn said(probe: &Probe) -> (&'static str, &str) {
    match first(&probe.output) {
        Some(output) => ("output", output),
        None if is_maintenance(&probe.id) => ("reason", first(&probe.notes).unwrap_or("none was given")),
        None => ("output", "none in the catalog yet"),
    }
}

fn first(text: &str) -> Option<&str> {
    text.lines().find(|line| !line.trim().is_empty())
}

fn put_line(scene: Scene<'_>, label: &str, text: &str, style: Style, area: Rect, buf: &mut Buffer) {
    let area = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
    let pieces = [piece(format!("{label:8}"), scene.theme.part(Part::Faint)), piece(text, style)];
    line(buf, area, &pieces, scene.ellipsis());
}

/// As the catalog was told, else as its own agent tells it.
fn known_policy(scene: Scene<'_>, instance: &Instance, probe: &Probe) -> Policy {
    let policy = probe.policy.clone();
    match scene.model.checks.told(&instance.node, &probe.id) {
        Some(told) => policy.or(told),
        None => policy,
    }
}

/// `http, every 10s, timeout 5s, gone after 1m critical`, as far as anybody told it.
fn policy(scene: Scene<'_>, instance: &Instance, probe: &Probe) -> String {
    let Policy { interval_ms, timeout_ms, ttl_ms, deregister_ms, .. } = known_policy(scene, instance, probe);
    let mut said = Vec::new();
    // `ttl 20s` says it already.
    if !probe.kind.is_empty() && ttl_ms.is_none() {
        said.push(probe.kind.clone());
    }
    let span = |ms: u64| shared::duration::format(std::time::Duration::from_millis(ms));
    said.extend(interval_ms.map(|ms| format!("every {}", span(ms))));
    said.extend(ttl_ms.map(|ms| format!("ttl {}", span(ms))));
    said.extend(timeout_ms.map(|ms| format!("timeout {}", span(ms))));
    said.extend(deregister_ms.map(|ms| format!("gone after {} critical", span(ms))));
    match probe.kind.as_str() {
        _ if is_maintenance(&probe.id) => return "somebody set it, and takes it back".to_owned(),
        "" if probe.is_nodes => return "gossip tells it: there is no interval".to_owned(),
        "alias" => said.push("as what it stands for".to_owned()),
        _ if interval_ms.is_none() && ttl_ms.is_none() => said.push("the catalog does not say how often".to_owned()),
        _ => {}
    }
    said.join(", ")
}

/// When the first of its critical checks takes it out of the catalog, where that is known.
fn gone(scene: Scene<'_>, instance: &Instance) -> Option<String> {
    let model = scene.model;
    let left = |probe: &Probe| {
        let after_us = known_policy(scene, instance, probe).deregister_ms?.saturating_mul(1_000);
        let check = model.checks.find(&instance.node, &probe.id).filter(|it| it.health == Health::Critical)?;
        Some(after_us.saturating_sub(model.now.micros_since(check.since?)))
    };
    let soonest = instance.probes.iter().filter(|probe| !probe.is_nodes).filter_map(left).min()?;
    let left = format::age_whole(soonest);
    Some(format!("deregistered in {left} unless it recovers (+ 0-{REAPED_EVERY_S}s)"))
}

type Facts = Vec<(String, String)>;

/// The selected instance, whole: its checks with all they said, its meta, its weights.
pub(super) fn facts(scene: Scene<'_>) -> Option<(String, Facts)> {
    let model = scene.model;
    let instance = model.instances.selected()?;
    let fact = |label: &str, value: String| (label.to_owned(), value);
    let mut facts = vec![
        fact("service", model.instances.of.clone()),
        fact("ID", instance.id.clone()),
        fact("node", format!("{}  {}", instance.node, instance.node_address)),
        fact("address", instance.host_port()),
        fact("status", format!("{} {}", scene.theme.glyph(mark(instance)), instance.status())),
    ];
    if !instance.tags.is_empty() {
        facts.push(fact("tags", instance.tags.join("  ")));
    }
    let (passing, warning) = instance.weights;
    facts.push(fact("weights", format!("{passing} passing, {warning} warning")));
    if instance.tag_override {
        facts.push(fact("tags", "others may change them in the catalog (EnableTagOverride)".to_owned()));
    }
    facts.extend(instance.meta.iter().map(|(key, value)| fact(&format!("meta {key}"), value.clone())));
    facts.extend(gone(scene, instance).map(|text| fact("gone", text)));
    for probe in &instance.probes {
        facts.push(fact("", String::new()));
        facts.extend(of_probe(scene, instance, probe));
    }
    if instance.probes.is_empty() {
        facts.push(fact("checks", "none: it counts as passing".to_owned()));
    }
    Some((format!("Instance {} on {}", instance.id, instance.node), facts))
}

fn of_probe(scene: Scene<'_>, instance: &Instance, probe: &Probe) -> Facts {
    let model = scene.model;
    let fact = |label: &str, value: String| (label.to_owned(), value);
    let glyph = scene.theme.glyph(rows::health_mark(probe.health));
    let of = if probe.is_nodes { ", of the node" } else { "" };
    let mut facts = vec![fact("check", format!("{glyph} {}  {}{of}", probe.name, probe.id))];
    let known = model.checks.find(&instance.node, &probe.id);
    let since = rows::age(scene, known.and_then(|check| check.since));
    let strip: String = strip_of(scene, std::iter::once(probe), &instance.node).into_iter().map(|it| it.0).collect();
    facts.push(fact("status", format!("{} for {since}   last 10m {strip}", probe.status)));
    facts.push(fact("policy", policy(scene, instance, probe)));
    if !probe.policy.target.is_empty() {
        facts.push(fact("asks", probe.policy.target.clone()));
    }
    if !probe.notes.is_empty() {
        facts.push(fact("notes", probe.notes.clone()));
    }
    let mut lines = probe.output.lines();
    match lines.next() {
        Some(first) => facts.push(fact("output", first.to_owned())),
        // Its notes say why it was set: nothing else is to come.
        None if is_maintenance(&probe.id) => {}
        None => facts.push(fact("output", "none in the catalog yet".to_owned())),
    }
    facts.extend(lines.map(|line| fact("", line.to_owned())));
    for turn in known.into_iter().flat_map(|check| check.past.turns().rev()) {
        let at = format::clock_millis(turn.at, model.setup.utc_offset_s);
        facts.push((at, format!("{} {}", scene.theme.glyph(rows::health_mark(turn.to)), turn.to.word())));
    }
    facts
}
