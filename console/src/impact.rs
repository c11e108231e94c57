//! `console impact NODE...`: what the loss of these would do, once, for scripts: a crash, which keeps their
//! seats, and a leave, which takes them along. The arithmetic is the screen's. Called by `cli`.

use std::fmt::Write;
use std::process::ExitCode;

use color_eyre::eyre::{Result, bail};
use serde_json::{Value, json};
use shared::event::Pool;
use shared::http::Settings;

use crate::model::Model;
use crate::model::risk;
use crate::model::servers::ServerRow;
use crate::model::verdict::Quorum;
use crate::{cli, status};

/// Prints the quorum now, after a crash and after a leave of all of them, and tells how a crash leaves the
/// cluster: 0 one more may be lost, 2 none may or it cannot be told, 3 no quorum.
pub fn run(places: &[Settings], nodes: &[String], is_json: bool) -> Result<ExitCode> {
    if nodes.is_empty() {
        bail!("impact needs the names of one or more nodes; see console --help");
    }
    let model = status::first(places)?;
    let unknown = nodes.iter().find(|node| !is_known(&model, node));
    if let Some(unknown) = unknown {
        bail!("{unknown:?} is no member and no server of this cluster");
    }
    let impact = Impact::of(&model.servers, nodes);
    let text = if is_json { format!("{:#}\n", impact.to_json(nodes)) } else { impact.to_text(nodes) };
    cli::say(&text);
    Ok(ExitCode::from(impact.code()))
}

fn is_known(model: &Model, node: &str) -> bool {
    let is_server = model.servers.iter().any(|row| row.node == node || row.id == node);
    is_server || model.members.find(Pool::Lan, node).is_some()
}

struct Impact {
    now: Quorum,
    crash: Quorum,
    leave: Quorum,
    /// The leader is among them.
    leads: bool,
    /// Who votes is not seen whole.
    is_hidden: bool,
}

impl Impact {
    fn of(servers: &[ServerRow], nodes: &[String]) -> Self {
        let names: Vec<&str> = nodes.iter().map(String::as_str).collect();
        let (crash, leads) = risk::crashing(servers, &names);
        // They leave one after the other: what remains is the same.
        let stays = |row: &&ServerRow| !names.contains(&row.node.as_str()) && !names.contains(&row.id.as_str());
        let left: Vec<ServerRow> = servers.iter().filter(stays).cloned().collect();
        let is_hidden = servers.iter().any(|row| row.in_raft && row.vote.is_none());
        Self { now: Quorum::of(servers), crash, leave: Quorum::of(&left), leads, is_hidden }
    }

    fn code(&self) -> u8 {
        let Self { crash, is_hidden, .. } = self;
        match () {
            () if *is_hidden || (crash.voters == 0) => 2,
            () if crash.up + crash.unseen < crash.need() => 3,
            () if crash.up < crash.need() || crash.spare() == 0 => 2,
            () => 0,
        }
    }

    fn told(quorum: Quorum) -> String {
        match quorum.voters {
            0 => "no voters".to_owned(),
            _ if quorum.is_met() => format!("ok, can lose {}", quorum.spare()),
            _ if quorum.up + quorum.unseen >= quorum.need() => "not to be told: some are not seen".to_owned(),
            _ => "NO QUORUM".to_owned(),
        }
    }

    fn to_text(&self, nodes: &[String]) -> String {
        let mut text = format!("loss of {}\n        VOTERS  NEED  UP  THEN\n", nodes.join(", "));
        for (word, quorum) in [("now", self.now), ("crash", self.crash), ("leave", self.leave)] {
            let Quorum { voters, up, .. } = quorum;
            let _ = writeln!(text, "{word:8}{voters:>6}{:>6}{up:>4}  {}", quorum.need(), Self::told(quorum));
        }
        if self.leads && self.crash.is_met() {
            text.push_str("the leader is among them: the others elect another\n");
        }
        text
    }

    fn to_json(&self, nodes: &[String]) -> Value {
        let side = |quorum: Quorum| {
            json!({
                "Voters": quorum.voters,
                "VotersUp": quorum.up,
                "VotersUnseen": quorum.unseen,
                "Need": quorum.need(),
                "CanLose": quorum.spare(),
                "Quorum": quorum.is_met(),
            })
        };
        json!({
            "Nodes": nodes,
            "LosesLeader": self.leads,
            "Now": side(self.now),
            "AfterCrash": side(self.crash),
            "AfterLeave": side(self.leave),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `L` leads, `f` follows, `x` is down, `l` learns.
    #[track_caller]
    fn check(spec: &str, nodes: &[&str], expected: u8) {
        let row = |(at, c): (usize, char)| ServerRow {
            id: format!("id-{at}"),
            node: format!("srv-{}", at + 1),
            in_raft: true,
            vote: Some(c != 'l'),
            up: Some(c != 'x'),
            ..ServerRow::default()
        };
        let servers: Vec<ServerRow> = spec.chars().enumerate().map(row).collect();
        let nodes: Vec<String> = nodes.iter().map(|node| (*node).to_owned()).collect();
        assert_eq!(Impact::of(&servers, &nodes).code(), expected, "{spec}, {nodes:?}");
    }

    #[test]
    fn the_code_tells_how_a_crash_leaves_the_cluster() {
        check("Lff", &["srv-1"], 2);
        check("Lffff", &["srv-1"], 0);
        check("Lffff", &["srv-1", "srv-2"], 2);
        check("Lffff", &["srv-1", "srv-2", "srv-3"], 3);
        check("Lfx", &["srv-2"], 3);
        check("Lfl", &["srv-3"], 2);
        check("Lfffl", &["web-1"], 0);
        check("L", &["srv-1"], 3);
    }
}
