//! `keyring`: the keys that encrypt gossip, looked at and changed in the whole cluster.

use serde_json::json;
use shared::api::operator::KeyringResponse;
use shared::http::{Client, Request};

use super::{Call, Ended, Reach, Verb};
use crate::flags::{Flag, Kind};

pub(super) const KEYRING: Verb = Verb {
    path: "keyring",
    synopsis: "Manages the keys that encrypt gossip",
    form: "[options]",
    about: "  Shows and changes the keys that encrypt gossip, in the LAN and the WAN pool\n  \
            alike. To change the key of a running cluster: install the new one, use it,\n  \
            and remove the old one.\n\n  \
            It asks a server. It ends with 0 when every member did as asked, and with 1\n  \
            when one did not or did not answer.",
    flags: &[
        Flag::new("install", Kind::String, "Give every member this key beside those it has."),
        Flag::new("list", Kind::Bool, "List the keys, and how many members have each."),
        Flag::new("list-primary", Kind::Bool, "List the keys that members encrypt with."),
        Flag::new("local-only", Kind::Bool, "Ask the LAN pool alone; only with -list and -list-primary."),
        Flag::new("relay-factor", Kind::IntValue, "Send each answer over so many other members too, 5 at most.")
            .value("int"),
        Flag::new(
            "remove",
            Kind::String,
            "Take this key from every member. The one they encrypt with cannot be removed.",
        ),
        Flag::new("use", Kind::String, "Encrypt with this key, which must have been installed."),
    ],
    reach: Reach::Agent,
    run: |call| Box::pin(async move { Ended::from(keyring(call).await) }),
};

const PATH: &str = "/v1/operator/keyring";

/// What was asked for: one thing only.
enum Action<'a> {
    List,
    ListPrimary,
    Install(&'a str),
    Use(&'a str),
    Remove(&'a str),
}

fn action(call: &Call) -> Result<Action<'_>, Ended> {
    let text = |name: &str| Some(call.flags.text(name)).filter(|text| !text.is_empty());
    let mut wanted = Vec::new();
    wanted.extend(call.flags.is_on("list").then_some(Action::List));
    wanted.extend(call.flags.is_on("list-primary").then_some(Action::ListPrimary));
    wanted.extend(text("install").map(Action::Install));
    wanted.extend(text("use").map(Action::Use));
    wanted.extend(text("remove").map(Action::Remove));
    let only = wanted.pop().ok_or_else(|| Ended::failed(call.help()))?;
    if wanted.is_empty() { Ok(only) } else { Err(Ended::failed("Only a single action is allowed")) }
}

async fn keyring(call: &Call) -> Result<Ended, Ended> {
    let action = action(call)?;
    let relay_factor: i64 = call.flags.given_text("relay-factor").unwrap_or("0").parse().unwrap_or(-1);
    if !(0..=5).contains(&relay_factor) {
        return Err(Ended::failed("Error parsing relay factor: Relay factor must be in range: [0, 5]"));
    }
    let is_list = matches!(action, Action::List | Action::ListPrimary);
    let local_only = call.flags.is_on("local-only");
    if local_only && !is_list {
        return Err(Ended::failed("Error validating local-only: local-only can only be set for list requests"));
    }
    let client = call.client_or("Error connecting to Consul agent")?;
    let (said, request) = request(&client, &action);
    let request = request
        .query_some("relay-factor", (relay_factor > 0).then_some(relay_factor))
        .query_some("local-only", local_only.then_some("true"));
    let said = format!("==> {said}\n");
    // What is going on is said before it has come to anything.
    let failed =
        |error: shared::http::Error| Ended { out: said.clone().into(), ..Ended::failed(format!("error: {error}")) };
    if !is_list {
        request.send().await.map_err(failed)?;
        return Ok(Ended::said(said));
    }
    let responses: Vec<KeyringResponse> = request.json().await.map_err(failed)?;
    Ok(Ended::said(said.clone() + &listed(&responses, matches!(action, Action::ListPrimary))))
}

fn request<'a>(client: &'a Client, action: &Action<'_>) -> (&'static str, Request<'a>) {
    let body = |key: &str| json!({ "Key": key });
    match action {
        Action::List => ("Gathering installed encryption keys...", client.get(PATH)),
        Action::ListPrimary => ("Gathering installed primary encryption keys...", client.get(PATH)),
        Action::Install(key) => ("Installing new gossip encryption key...", client.post(PATH).json_body(&body(key))),
        Action::Use(key) => ("Changing primary gossip encryption key...", client.put(PATH).json_body(&body(key))),
        Action::Remove(key) => ("Removing gossip encryption key...", client.delete(PATH).json_body(&body(key))),
    }
}

fn listed(responses: &[KeyringResponse], primary: bool) -> String {
    let mut out = String::new();
    for response in responses {
        let pool = match (response.wan, response.segment.as_str()) {
            (true, _) => "WAN".to_owned(),
            (false, "") => format!("{} (LAN)", response.datacenter),
            (false, segment) => format!("{} (LAN) [{segment}]", response.datacenter),
        };
        out += &format!("\n{pool}:\n");
        for (key, count) in if primary { &response.primary_keys } else { &response.keys } {
            out += &format!("  {key} [{count}/{}]\n", response.num_nodes);
        }
    }
    out
}
