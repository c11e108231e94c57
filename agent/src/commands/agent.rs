//! `info`, `leave`, `reload`: one agent as a process.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Call, Ended, Reach, Verb, failing};
use crate::flags::{Flag, Kind};

pub(super) const INFO: Verb = Verb {
    path: "info",
    synopsis: "Shows what the agent says of itself, for debugging",
    form: "[options]",
    about: "  Prints the agent's figures: its build, its checks, Raft, and both pools.",
    flags: &[],
    reach: Reach::Agent,
    run: |call| Box::pin(async move { Ended::from(info(call).await) }),
};

pub(super) const LEAVE: Verb = Verb {
    path: "leave",
    synopsis: "Makes the agent leave its cluster in order and stop",
    form: "[options]",
    about: "  Makes the agent leave its cluster in order and stop. A server hands over\n  \
            first, and refuses where the servers that remain would have no quorum.",
    flags: &[Flag::new("lose-quorum", Kind::Bool, "Leave even where that costs the quorum of the servers.")],
    reach: Reach::Agent,
    run: |call| Box::pin(async move { Ended::from(leave(call).await) }),
};

pub(super) const RELOAD: Verb = Verb {
    path: "reload",
    synopsis: "Makes the agent read its configuration files again",
    form: "",
    about: "  Makes the agent read its configuration files again, as the signal SIGHUP\n  does.",
    flags: &[],
    reach: Reach::Agent,
    run: |call| Box::pin(async move { Ended::from(reload(call).await) }),
};

/// What `info` needs of `/v1/agent/self`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Itself {
    #[serde(default)]
    stats: BTreeMap<String, BTreeMap<String, serde_json::Value>>,
}

async fn info(call: &Call) -> Result<Ended, Ended> {
    let client = call.client()?;
    let itself: Itself = client.get("/v1/agent/self").json().await.map_err(failing("Error querying agent"))?;
    let mut text = String::new();
    for (section, figures) in &itself.stats {
        text += &format!("{section}:\n");
        for (name, figure) in figures {
            let figure = figure.as_str().map_or_else(|| figure.to_string(), str::to_owned);
            text += &format!("\t{name} = {figure}\n");
        }
    }
    Ok(Ended::said(text))
}

async fn leave(call: &Call) -> Result<Ended, Ended> {
    let rest = call.flags.rest();
    if !rest.is_empty() {
        let err = format!("Error found unexpected args: [{}]", rest.join(" "));
        return Err(Ended { out: call.help().into(), err, code: 1 });
    }
    let client = call.client()?;
    let lose_quorum = call.flags.is_on("lose-quorum").then_some("yes");
    let request = client.put("/v1/agent/leave").query_some("lose-quorum", lose_quorum);
    request.send().await.map_err(failing("Error leaving"))?;
    Ok(Ended::said("Graceful leave complete\n"))
}

async fn reload(call: &Call) -> Result<Ended, Ended> {
    call.client()?.put("/v1/agent/reload").send().await.map_err(failing("Error reloading"))?;
    Ok(Ended::said("Configuration reload triggered\n"))
}
