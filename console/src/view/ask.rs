//! The dialogs that ask before something changes the cluster, and what then comes of it.
//!
//! What it costs stands above, what it takes to go on below, where it stays when there is little room.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use shared::event::{MemberStatus, Pool};

use super::Scene;
use super::detail::{Sheet, sheet};
use crate::format;
use crate::model::dialog::{Demand, Dialog, Field, LOSE_QUORUM, gossip_address, place};
use crate::model::mark::Mark;
use crate::model::members::{Member, status_word};
use crate::model::pursuit::Pursuit;
use crate::model::risk::{Cost, Later};
use crate::model::verdict::Quorum;
use crate::msg::{Act, AgentKind};
use crate::order::Seen;
use crate::theme::Part;
use crate::widget::{Piece, piece};

/// Columns of a label, and of a column of the table of costs.
const LABEL: usize = 14;
const SIDE: usize = 20;

pub(super) type Line = Vec<Piece<'static>>;

pub(super) fn draw(scene: Scene<'_>, area: Rect, buf: &mut Buffer) {
    let Some(dialog) = &scene.model.dialog else { return };
    let pursuit = dialog.ordered.and_then(|id| scene.model.pursuits.find(id));
    let view = View { scene, dialog, columns: usize::from(area.width.min(super::detail::WIDTH_MAX)).saturating_sub(4) };
    let (lines, foot, hint) = match pursuit {
        Some(pursuit) => (view.course(pursuit), vec![view.close()], "it goes on when this is closed"),
        None => (view.lines(), view.foot(), "tab next field"),
    };
    sheet(scene, area, buf, &Sheet { title: view.title(), lines: &lines, foot: &foot, hint });
}

/// The open dialog; those about Raft's own servers are told in `handover`.
pub(super) struct View<'a> {
    pub(super) scene: Scene<'a>,
    pub(super) dialog: &'a Dialog,
    pub(super) columns: usize,
}

impl View<'_> {
    pub(super) fn text(&self, text: impl Into<String>) -> Piece<'static> {
        piece(text.into(), self.scene.theme.part(Part::Text))
    }

    pub(super) fn faint(&self, text: impl Into<String>) -> Piece<'static> {
        piece(text.into(), self.scene.theme.part(Part::Faint))
    }

    /// `● text`, wrapped under itself.
    pub(super) fn marked(&self, mark: Mark, text: &str) -> Vec<Line> {
        let theme = self.scene.theme;
        let parts = format::wrap(text, self.columns.saturating_sub(2));
        let line = |(at, part): (usize, String)| {
            let lead = if at == 0 { format!("{} ", theme.glyph(mark)) } else { "  ".to_owned() };
            vec![piece(lead, theme.mark(mark)), self.text(part)]
        };
        parts.into_iter().enumerate().map(line).collect()
    }

    /// `label text`, wrapped under itself.
    fn labelled(&self, label: &str, text: &str) -> Vec<Line> {
        let parts = format::wrap(text, self.columns.saturating_sub(9));
        let line = |(at, part): (usize, String)| {
            vec![self.faint(format!("{:9}", if at == 0 { label } else { "" })), self.text(part)]
        };
        parts.into_iter().enumerate().map(line).collect()
    }

    fn title(&self) -> Line {
        let (model, dialog) = (self.scene.model, self.dialog);
        let subject = &dialog.subject;
        let since = |member: &Member| {
            let age = member.since.map(|at| format::age_whole(model.now.micros_since(at)));
            let age = match (age, member.state.status) {
                (Some(age), MemberStatus::Alive) => format!(" for {age}"),
                (Some(age), _) => format!(" {age} ago"),
                (None, _) => String::new(),
            };
            format!("{}{age}", status_word(member.state.status))
        };
        let member = model.members.find(Pool::Lan, subject);
        let is = member.map_or("no longer listed".to_owned(), since);
        let cluster = model.datacenter.as_deref().unwrap_or("the cluster");
        let (head, rest) = match dialog.act {
            Act::Join => ("Join", format!("through {}, {}", model.here(), place(model))),
            Act::Leave => ("Leave", format!("{subject}: it leaves {cluster} and its agent process STOPS")),
            Act::ForceLeave => ("Force-leave", format!("{subject}: {is}")),
            Act::Prune => ("Prune", format!("{subject}: {is}")),
            Act::Transfer => ("Transfer leadership", self.reign()),
            Act::Maintain => ("Maintenance", self.upkeep()),
            Act::RemovePeer => ("Remove from Raft", format!("{subject}: {is}")),
        };
        vec![piece(head, self.scene.theme.part(Part::Strong)), self.text(format!("   {rest}"))]
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = match self.dialog.act {
            Act::Join => self.join(),
            Act::Leave => self.leave(),
            Act::ForceLeave | Act::Prune => self.force(),
            Act::Transfer => self.transfer(),
            Act::RemovePeer => self.removal(),
            Act::Maintain => self.maintenance(),
        };
        lines.push(Vec::new());
        let (to, order) = self.dialog.order(self.scene.model);
        let to = to.address.unwrap_or_else(|| place(self.scene.model).to_owned());
        let is_theirs = self.scene.model.lane().and_then(|lane| lane.kind) == Some(AgentKind::HashiCorp);
        let program = if is_theirs { "consul" } else { "agent" };
        lines.extend(self.labelled("same as", &order.shell(program, &to)));
        lines
    }

    pub(super) fn field(&self, label: &str, value: &str, field: Field) -> Line {
        let theme = self.scene.theme;
        let is_here = self.dialog.focus == field;
        let cursor = if is_here { theme.lines().cursor } else { "" };
        let part = if is_here { Part::Strong } else { Part::Text };
        vec![self.faint(format!("{label}  ")), piece(value.to_owned(), theme.part(part)), self.text(cursor)]
    }

    /// Of one choice among several.
    pub(super) fn radio(&self, is_chosen: bool) -> &'static str {
        match (is_chosen, self.scene.theme.is_ascii()) {
            (false, _) => " ",
            (true, true) => "x",
            (true, false) => "•",
        }
    }

    fn join(&self) -> Vec<Line> {
        let (model, dialog, theme) = (self.scene.model, self.dialog, self.scene.theme);
        let mut first = self.field("Address", &dialog.address, Field::Address);
        let is_here = dialog.focus == Field::Pool;
        let chosen = |pool: Pool, word: &str| {
            let dot = self.radio(dialog.pool == pool);
            let part = if is_here && dialog.pool == pool { Part::Selected } else { Part::Text };
            piece(format!("({dot}) {word}"), theme.part(part))
        };
        let used: usize = first.iter().map(|(text, _)| format::width(text)).sum();
        first.push(self.text(" ".repeat(38usize.saturating_sub(used).max(3))));
        first.extend([self.faint("pool  "), chosen(Pool::Lan, "LAN"), self.text("   "), chosen(Pool::Wan, "WAN")]);
        let mut lines = vec![first, Vec::new()];
        let address = dialog.address.trim();
        if address.is_empty() {
            lines.push(vec![self.faint("an agent's address: host, or host:port when it is not the usual one")]);
            return lines;
        }
        let full = gossip_address(address, dialog.pool);
        let assumed = match full == address {
            true => String::new(),
            false => format!(" ({} assumed; 8500 would be HTTP)", full.rsplit(':').next().unwrap_or_default()),
        };
        match &dialog.seen {
            None => lines.push(vec![self.faint(format!("looking at {full} ..."))]),
            Some(Seen::Accepts { address, took_us }) => {
                let text = format!("{address} takes a connection from here in {}{assumed}", format::rtt(*took_us));
                lines.extend(self.marked(Mark::Good, &text));
            }
            Some(Seen::Away(trouble)) => {
                let text = format!("{full} {trouble}, seen from this console{assumed}");
                lines.extend(self.marked(Mark::Warning, &text));
            }
            Some(Seen::Agent(_)) => {}
        }
        let host = full.rsplit_once(':').map_or("", |(host, _)| host.trim_matches(['[', ']']));
        let known = model.members.of(dialog.pool).filter(|m| m.state.address == host || m.node() == host);
        // The one that is here, if there are several.
        let known = known.min_by_key(|m| m.state.status);
        let (mark, text) = match known {
            Some(member) => {
                let (name, status) = (&member.state.name, member.state.status);
                let is_here = matches!(status, MemberStatus::Alive | MemberStatus::Suspect);
                let mark = if is_here { Mark::Warning } else { Mark::Quiet };
                (mark, format!("a member of this address is known: {name}, {}", status_word(status)))
            }
            None => (Mark::Good, "no member with this address yet".to_owned()),
        };
        lines.extend(self.marked(mark, &text));
        lines
    }

    fn leave(&self) -> Vec<Line> {
        let (model, dialog) = (self.scene.model, self.dialog);
        let node = &dialog.subject;
        let mut lines = self.cost(dialog.cost(model).as_ref());
        lines.push(self.field("its agent answers HTTP at", &dialog.address, Field::Address));
        lines.extend(match &dialog.seen {
            None => vec![vec![self.faint("  looking whose agent that is ...")]],
            Some(Seen::Agent(found)) if found.node == *node => {
                self.marked(Mark::Good, &format!("that is {node}: it is asked itself, as only it can leave"))
            }
            Some(Seen::Agent(found)) => {
                let text =
                    format!("that is {}, not {node}: it would leave instead. Type {node}'s own address", found.node);
                self.marked(Mark::Failed, &text)
            }
            Some(Seen::Away(trouble)) => {
                let text = format!(
                    "{} {trouble}. Type where it answers (tab), or run this on its host: leave",
                    dialog.address
                );
                self.marked(Mark::Failed, &text)
            }
            Some(Seen::Accepts { .. }) => Vec::new(),
        });
        lines.push(Vec::new());
        lines.extend(
            self.labelled("also", "its services go from the catalog; it comes back only when it is started again"),
        );
        if dialog.cost(model).is_some() {
            let text = "stop the process: a server that merely stops keeps its seat (72 h)";
            lines.extend(self.labelled("restart?", text));
        }
        lines
    }

    fn force(&self) -> Vec<Line> {
        let (model, dialog, theme) = (self.scene.model, self.dialog, self.scene.theme);
        let node = &dialog.subject;
        let mut lines = self.cost(dialog.cost(model).as_ref());
        if dialog.act == Act::ForceLeave {
            let mark = if dialog.prune { "x" } else { " " };
            let part = if dialog.focus == Field::Prune { Part::Selected } else { Part::Text };
            let text = format!("prune too: forget {node} at once instead of listing it as left");
            for (at, words) in format::wrap(&text, self.columns.saturating_sub(4)).into_iter().enumerate() {
                let mark = if at == 0 { piece(format!("[{mark}]"), theme.part(part)) } else { self.text("   ") };
                lines.push(vec![mark, self.text(format!(" {words}"))]);
            }
            lines.push(Vec::new());
            let text = "Stop its process for good first: an agent that still runs refutes this, or hangs in leaving.";
            lines.extend(self.marked(Mark::Warning, text));
        } else {
            let text = format!("{node} goes from the list at once, and its address and tags with it.");
            lines.extend(self.marked(Mark::Good, &text));
        }
        if model.raft.leading().is_none() {
            let text = "There is no leader: gossip does this, the catalog and Raft follow when there is one.";
            lines.extend(self.marked(Mark::Warning, text));
        }
        lines
    }

    /// What it does to the quorum, when it is about a server with a seat.
    pub(super) fn cost(&self, cost: Option<&Cost>) -> Vec<Line> {
        let (model, theme, node) = (self.scene.model, self.scene.theme, &self.dialog.subject);
        let Some(cost) = cost else {
            let text = format!("{node} has no seat in Raft: the quorum stays as it is");
            let mut lines = self.marked(Mark::Good, &text);
            lines.push(Vec::new());
            return lines;
        };
        let cluster = model.datacenter.as_deref().unwrap_or("the cluster");
        let mut lines = Vec::new();
        if self.dialog.is_worse {
            lines.extend(self.marked(Mark::Failed, "It got worse while this was open: it is locked again."));
        }
        if cost.is_lost {
            let why = match (cost.after.voters, cost.is_hidden) {
                (0, _) => "it is the only voter",
                (_, true) => "of those who are seen from here too few remain",
                (_, false) => "no leader, no writes, and the change itself cannot commit",
            };
            let text = format!("{} {cluster} WOULD LOSE ITS QUORUM: {why}.", theme.glyph(Mark::Failed));
            let parts = format::wrap(&text, self.columns).into_iter();
            lines.extend(parts.map(|part| vec![piece(part, theme.part(Part::Alarm))]));
        } else if cost.is_hidden {
            lines.extend(self.marked(Mark::Warning, "Not all voters are seen from here: this counts those that are."));
        }
        if cost.leads {
            lines.extend(self.marked(Mark::Warning, &format!("{node} leads now: the others elect another leader.")));
        }
        if !lines.is_empty() {
            lines.push(Vec::new());
        }
        lines.extend(self.table(cost));
        lines.push(Vec::new());
        if let Some((Later::Back { first }, with)) = &cost.later {
            let need = with.need();
            let text = format!(
                "start {first} again, or force it out (X), and then: {} of {} up, {need} needed",
                with.up, with.voters
            );
            lines.extend(self.labelled("safer", &text));
        }
        lines
    }

    /// Now, after, and the third way where there is room for it.
    fn table(&self, cost: &Cost) -> Vec<Line> {
        let node = &self.dialog.subject;
        let mut sides = vec![("now".to_owned(), cost.now)];
        let after = if self.dialog.act == Act::Leave { format!("after {node} left") } else { "after".to_owned() };
        sides.push((after, cost.after));
        if let Some((later, quorum)) = &cost.later {
            let head = match later {
                Later::Back { first } => format!("{first} back first"),
                Later::Returns => "if it returns".to_owned(),
            };
            sides.push((head, *quorum));
        }
        sides.truncate((self.columns.saturating_sub(LABEL) / SIDE).max(1));
        let row = |label: &str, cell: &dyn Fn(&Quorum) -> Line| {
            let mut line = vec![self.faint(format!("{label:LABEL$}"))];
            for (_, quorum) in &sides {
                let cell = cell(quorum);
                let used: usize = cell.iter().map(|(text, _)| format::width(text)).sum();
                line.extend(cell);
                line.push(self.text(" ".repeat(SIDE.saturating_sub(used))));
            }
            line
        };
        let mut head = vec![self.faint(" ".repeat(LABEL))];
        for (text, _) in &sides {
            let text = format::fit(text, SIDE - 1, self.scene.ellipsis()).into_owned();
            let pad = " ".repeat(SIDE.saturating_sub(format::width(&text)));
            head.push(self.faint(format!("{text}{pad}")));
        }
        vec![
            head,
            row("voters", &|quorum| self.dots(quorum)),
            row("needs / up", &|quorum| vec![self.text(format!("{} / {}", quorum.need(), quorum.up))]),
            row("can lose", &|quorum| self.spare(quorum)),
        ]
    }

    /// `3  ● ● ✖`
    fn dots(&self, quorum: &Quorum) -> Line {
        let theme = self.scene.theme;
        let mut line = vec![self.text(format!("{}  ", quorum.voters))];
        let down = quorum.voters.saturating_sub(quorum.up + quorum.unseen);
        for (count, mark) in [(quorum.up, Mark::Good), (quorum.unseen, Mark::Unknown), (down, Mark::Failed)] {
            // Nine is more than anybody runs; the number says the rest.
            for _ in 0..count.min(5) {
                line.push(piece(format!("{} ", theme.glyph(mark)), theme.mark(mark)));
            }
        }
        line
    }

    fn spare(&self, quorum: &Quorum) -> Line {
        let theme = self.scene.theme;
        match quorum.is_met() {
            true => vec![self.text(quorum.spare().to_string())],
            false => {
                let text = format!("{} no quorum", theme.glyph(Mark::Failed));
                vec![piece(text, theme.mark(Mark::Failed))]
            }
        }
    }

    /// What it takes, and the buttons.
    fn foot(&self) -> Vec<Line> {
        let (dialog, theme) = (self.dialog, self.scene.theme);
        let mut foot = vec![Vec::new()];
        if let Demand::Words(words) = &dialog.demand {
            let style = if words == LOSE_QUORUM { theme.part(Part::Alarm) } else { theme.part(Part::Strong) };
            foot.push(vec![
                self.faint("type  "),
                piece(words.clone(), style),
                self.faint("  to go on:  "),
                piece(dialog.word.clone(), theme.part(Part::Strong)),
                self.text(if dialog.focus == Field::Address { "" } else { theme.lines().cursor }),
            ]);
        }
        let word = match dialog.act {
            Act::Join => "Join",
            Act::Leave => "Leave",
            Act::ForceLeave => "Force-leave",
            Act::Prune => "Prune",
            Act::Transfer => "Transfer",
            Act::RemovePeer => "Remove",
            Act::Maintain if dialog.enables => "Take out",
            Act::Maintain => "Take back",
        };
        let label = match (&dialog.demand, dialog.is_unlocked()) {
            (_, false) => format!("{word} (locked)"),
            (Demand::Yes, true) => format!("{word}  y"),
            (_, true) => format!("{word}  enter"),
        };
        let button = |text: &str, field: Field| {
            let part = if dialog.focus == field { Part::Selected } else { Part::Text };
            piece(format!("[ {text} ]"), theme.part(part))
        };
        let buttons = [button("Cancel  esc", Field::Cancel), self.text("    "), button(&label, Field::Do)];
        let used: usize = buttons.iter().map(|(text, _)| format::width(text)).sum();
        let mut line = vec![self.text(" ".repeat(self.columns.saturating_sub(used)))];
        line.extend(buttons);
        foot.push(line);
        foot
    }

    /// What came of it, as far as it is known.
    fn course(&self, pursuit: &Pursuit) -> Vec<Line> {
        let (model, theme) = (self.scene.model, self.scene.theme);
        let mut lines = Vec::new();
        for step in &pursuit.steps {
            let at = format::clock_millis(step.at, model.setup.utc_offset_s);
            for (row, part) in format::wrap(&step.text, self.columns.saturating_sub(15)).into_iter().enumerate() {
                let lead = if row == 0 { format!("{at} ") } else { " ".repeat(13) };
                let glyph = if row == 0 { theme.glyph(step.mark) } else { " " };
                lines.push(vec![self.faint(lead), piece(glyph, theme.mark(step.mark)), self.text(format!(" {part}"))]);
            }
        }
        if pursuit.ended.is_none() {
            let what = if pursuit.taken.is_some() { "watching what happens" } else { "waiting for the answer" };
            let age = format::age_whole(model.now.micros_since(pursuit.begun));
            lines.push(vec![self.faint(format!("{:13}{what}, {age}", ""))]);
        }
        lines
    }

    fn close(&self) -> Line {
        let text = "[ Close  esc ]";
        let pad = " ".repeat(self.columns.saturating_sub(text.len()));
        vec![self.text(pad), piece(text, self.scene.theme.part(Part::Selected))]
    }
}
