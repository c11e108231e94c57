//! `members`, `join`, `force-leave`: who is in the pool.

use std::collections::BTreeMap;

use shared::addr;
use shared::api::agent::AgentMember;
use shared::api::query;

use super::{Call, Ended, Reach, Verb, failing, table};
use crate::flags::{Flag, Kind};

pub(super) const MEMBERS: Verb = Verb {
    path: "members",
    synopsis: "Lists the members of the cluster",
    form: "[options]",
    about: "  Lists the members of the pool as the agent sees them.",
    flags: &[
        Flag::new("detailed", Kind::Bool, "Show each member's tags."),
        Flag::new("format", Kind::String, "What to print: pretty or json.").value("format").default("pretty"),
        Flag::new("segment", Kind::String, "Accepted for Consul's sake; there is one segment.").default("_all"),
        Flag::new("status", Kind::String, "Only members whose status matches this regular expression.").default(".*"),
        Flag::new("wan", Kind::Bool, "The WAN pool of servers instead of the LAN pool."),
    ],
    reach: Reach::Agent,
    run: |call| Box::pin(async move { Ended::from(members(call).await) }),
};

pub(super) const JOIN: Verb = Verb {
    path: "join",
    synopsis: "Makes the agent join a cluster",
    form: "[options] address ...",
    about: "  Tells a running agent to join the pool of any member at one of the\n  addresses given.",
    flags: &[Flag::new("wan", Kind::Bool, "Join the WAN pool of servers.")],
    reach: Reach::Agent,
    run: |call| Box::pin(async move { Ended::from(join(call).await) }),
};

pub(super) const FORCE_LEAVE: Verb = Verb {
    path: "force-leave",
    synopsis: "Forces a member to enter the \"left\" state",
    form: "[options] name",
    about: "  Makes the pool take a failed member for one that has left, so that nobody\n  \
            tries to reach it any more. A member that is alive after all comes back.",
    flags: &[Flag::new("prune", Kind::Bool, "Remove the member from the list of members altogether.")],
    reach: Reach::Agent,
    run: |call| Box::pin(async move { Ended::from(force_leave(call).await) }),
};

async fn members(call: &Call) -> Result<Ended, Ended> {
    let status = regex_lite::Regex::new(call.flags.text("status"))
        .map_err(|e| Ended::failed(format!("Failed to compile status regexp: error parsing regexp: {e}")))?;
    let is_json = match call.flags.text("format") {
        "pretty" => false,
        "json" => true,
        other => return Err(Ended::failed(format!("Unknown format: {other}"))),
    };
    let client = call.client()?;
    let wan = call.flags.is_on("wan").then_some("1");
    let request = client.get("/v1/agent/members").query("segment", call.flags.text("segment")).query_some("wan", wan);
    let mut members: Vec<AgentMember> = request.json().await.map_err(failing("Error retrieving members"))?;
    members.retain(|member| status.is_match(status_word(member.status)));
    if members.is_empty() {
        return Err(Ended { code: 2, ..Ended::default() });
    }
    for member in &mut members {
        let segment = member.tags.entry("segment".to_owned()).or_default();
        if segment.is_empty() {
            *segment = "<default>".to_owned();
        }
        if member.tags.get("role").is_some_and(|role| role == "consul") {
            member.tags.insert("segment".to_owned(), "<all>".to_owned());
        }
    }
    members.sort_by(|a, b| (&a.tags["segment"], &a.name).cmp(&(&b.tags["segment"], &b.name)));
    if is_json {
        let text = serde_json::to_string_pretty(&members).expect("members are plain data");
        return Ok(Ended::said(text + "\n"));
    }
    Ok(Ended::said(if call.flags.is_on("detailed") { detailed(&members) } else { standard(&members) }))
}

/// Serf's words for its numbers.
fn status_word(status: u8) -> &'static str {
    match status {
        1 => "alive",
        2 => "leaving",
        3 => "left",
        4 => "failed",
        _ => "none",
    }
}

fn standard(members: &[AgentMember]) -> String {
    let mut rows = vec![table::row(["Node", "Address", "Status", "Type", "Build", "Protocol", "DC", "Segment"])];
    for member in members {
        let tag = |name: &str| member.tags.get(name).map_or("", String::as_str);
        let kind = match tag("role") {
            "node" => "client",
            "consul" => "server",
            _ => "unknown",
        };
        let address = addr::host_port(&member.addr, member.port);
        let status = status_word(member.status);
        let build = match tag("build") {
            "" => "< 0.3",
            build => build.split(':').next().unwrap_or(build),
        };
        rows.push(match kind {
            "unknown" => table::row([&member.name, &address, status, kind, "", "", "", ""]),
            _ => table::row([&member.name, &address, status, kind, build, tag("vsn"), tag("dc"), tag("segment")]),
        });
    }
    table::columns(&rows)
}

fn detailed(members: &[AgentMember]) -> String {
    let mut rows = vec![table::row(["Node", "Address", "Status", "Tags"])];
    for member in members {
        let address = addr::host_port(&member.addr, member.port);
        rows.push(table::row([&member.name, &address, status_word(member.status), &pairs(&member.tags, ",")]));
    }
    table::columns(&rows)
}

/// `k=v` in order of keys.
pub(super) fn pairs(map: &BTreeMap<String, String>, between: &str) -> String {
    map.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(between)
}

async fn join(call: &Call) -> Result<Ended, Ended> {
    let addresses = call.flags.rest();
    if addresses.is_empty() {
        return Err(Ended::failed(format!("At least one address to join must be specified.\n\n{}", call.help())));
    }
    let client = call.client()?;
    let mut ended = Ended::default();
    let mut joined = 0;
    for address in addresses {
        let wan = call.flags.is_on("wan").then_some("1");
        match client.put(&format!("/v1/agent/join/{address}")).query_some("wan", wan).send().await {
            Ok(_) => joined += 1,
            Err(error) => ended.err += &format!("Error joining address '{address}': {error}\n"),
        }
    }
    if joined == 0 {
        ended.err += "Failed to join any nodes.\n";
        ended.code = 1;
    } else {
        ended.out = format!("Successfully joined cluster by contacting {joined} nodes.\n").into();
    }
    Ok(ended)
}

async fn force_leave(call: &Call) -> Result<Ended, Ended> {
    let [name] = call.flags.rest() else {
        return Err(Ended::failed(format!("A single node name must be specified to force leave.\n\n{}", call.help())));
    };
    let client = call.client()?;
    let prune = call.flags.is_on("prune").then_some("1");
    let request = client.put(&format!("/v1/agent/force-leave/{name}")).query_some("prune", prune);
    let answer = request.send().await.map_err(failing("Error force leaving"))?;
    Ok(answer.header(query::WARNING).map_or_else(Ended::default, |warning| Ended::remarked(format!("{warning}\n"))))
}
