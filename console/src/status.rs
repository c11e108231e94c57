//! `console status [--json]`: the verdict of the first screen, once, for scripts. Called by `cli`.
//! It asks what polling asks and lets the model judge, so that both say the same.

use std::fmt::Write;
use std::process::ExitCode;

use color_eyre::eyre::{Result, WrapErr, bail};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use shared::http::{Client, Error, Settings};

use crate::client::identity_of;
use crate::client::wire::DEADLINE;
use crate::model::members::status_word;
use crate::model::verdict::{Quorum, Verdict};
use crate::model::{Model, Setup};
use crate::msg::{AgentKind, Denial, LaneId, Link, Msg, Source};
use crate::polled::Polled;
use crate::update::{settle, update};
use crate::{cli, clock};

const LANE: LaneId = LaneId(0);

/// Asks the first of these that answers, prints what it says, and tells how the cluster is: 0 fine, 2 one
/// loss from trouble or not to be told, 3 no quorum or no leader. An agent that cannot be asked is an error.
pub fn run(places: &[Settings], is_json: bool) -> Result<ExitCode> {
    let model = first(places)?;
    let verdict = model.verdict();
    let text = if is_json { format!("{:#}\n", to_json(&model, verdict)) } else { to_text(&model, verdict) };
    cli::say(&text);
    Ok(ExitCode::from(code(verdict)))
}

fn code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Ok(_) => 0,
        Verdict::Thin(_) | Verdict::Unclear(_) | Verdict::Waiting | Verdict::Unseated => 2,
        Verdict::NoQuorum(_) | Verdict::NoLeader { .. } | Verdict::Doubted(_) => 3,
    }
}

/// What the first of these that answers shows.
pub(crate) fn first(places: &[Settings]) -> Result<Model> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().wrap_err("start the runtime")?;
    let mut troubles = Vec::new();
    for place in places {
        match runtime.block_on(picture(place)) {
            Ok(model) => return Ok(model),
            Err(error) => troubles.push(format!("{}: {error}", place.address)),
        }
    }
    bail!("{}", troubles.join("\n"))
}

/// The model after one round of questions.
async fn picture(place: &Settings) -> Result<Model, Error> {
    let client = Client::new(place)?;
    let mut model = Model::new(Setup { addresses: vec![place.address.clone()], ..Setup::default() });
    let own: Value = ask(&client, "/v1/agent/self").await?;
    let link = Link::Live { kind: AgentKind::HashiCorp };
    update(&mut model, Msg::Link { lane: LANE, at: clock::now(), link });
    if let Some(identity) = identity_of(&own) {
        take(&mut model, Polled::Identity(identity));
    }
    let members: Option<Vec<_>> = ask(&client, "/v1/agent/members").await?;
    take(&mut model, Polled::Members(members.unwrap_or_default()));
    match ask(&client, "/v1/operator/raft/configuration").await {
        Ok(configuration) => take(&mut model, Polled::RaftConfiguration(configuration)),
        Err(error) => {
            let denial = if error.status() == Some(403) { Denial::Forbidden } else { Denial::Failed };
            let source = Source::RaftConfiguration;
            update(&mut model, Msg::Denied { lane: LANE, at: clock::now(), source, denial });
            take(&mut model, Polled::Peers(ask(&client, "/v1/status/peers").await?));
        }
    }
    // Asked last: no leader here is no leader now.
    let leader: String = ask(&client, "/v1/status/leader").await?;
    take(&mut model, Polled::Leader(Some(leader).filter(|leader| !leader.is_empty())));
    settle(&mut model);
    Ok(model)
}

async fn ask<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, Error> {
    let request = client.get(path).within(DEADLINE);
    // What a server has, leader or not.
    let request = if path.starts_with("/v1/operator/") { request.query("stale", "") } else { request };
    request.json().await
}

fn take(model: &mut Model, polled: Polled) {
    update(model, Msg::Polled { lane: LANE, at: clock::now(), polled });
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok(_) => "ok",
        Verdict::Thin(_) => "degraded",
        Verdict::NoQuorum(_) => "no quorum",
        Verdict::NoLeader { .. } | Verdict::Doubted(_) => "no leader",
        Verdict::Unclear(_) | Verdict::Waiting => "unclear",
        Verdict::Unseated => "no seat",
    }
}

fn quorum(model: &Model) -> Quorum {
    Quorum::of(&model.servers)
}

fn to_text(model: &Model, verdict: Verdict) -> String {
    let quorum = quorum(model);
    let mut text = format!(
        "quorum  {}: {} of {} voters up, needs {}, can lose {}\nleader  {}\n",
        word(verdict),
        quorum.up,
        quorum.voters,
        quorum.need(),
        quorum.spare(),
        model.raft.leader_name().unwrap_or("none"),
    );
    if verdict == Verdict::Unseated {
        let here = model.here();
        let _ = writeln!(
            text,
            "note    {here} has no seat in Raft: it was removed, or is not added yet; ask another server"
        );
    }
    let wide = model.members.lan().map(|member| member.state.name.len()).max().unwrap_or(0);
    for member in model.members.lan() {
        let state = &member.state;
        let (name, status) = (&state.name, status_word(state.status));
        let _ =
            writeln!(text, "member  {name:wide$}  {status:7}  {:6}  {}:{}", member.kind(), state.address, state.port);
    }
    text
}

fn to_json(model: &Model, verdict: Verdict) -> Value {
    let quorum = quorum(model);
    let members = model.members.lan().map(|member| {
        let state = &member.state;
        json!({
            "Name": state.name,
            "Address": state.address,
            "Port": state.port,
            "Status": status_word(state.status),
            "Type": member.kind(),
        })
    });
    json!({
        "Verdict": word(verdict),
        "Leader": model.raft.leader_name(),
        "Voters": quorum.voters,
        "VotersUp": quorum.up,
        "VotersUnseen": quorum.unseen,
        "Need": quorum.need(),
        "CanLose": quorum.spare(),
        "Members": members.collect::<Vec<_>>(),
    })
}
