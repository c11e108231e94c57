//! `operator autopilot`: the rules by which servers vote and are cleaned away, and changing them.

use shared::api::operator::AutopilotConfiguration;
use shared::duration;

use super::{Call, Ended, Group, Reach, Verb, Word, failing};
use crate::flags::{Flag, Kind};

pub(super) const GROUP: Group = Group {
    path: "operator autopilot",
    synopsis: "Shows and changes the rules for servers",
    form: "[options]",
    about: "Shows and changes by which rules servers get a vote and dead ones are removed.",
    words: &[Word::Verb(&GET_CONFIG), Word::Verb(&SET_CONFIG)],
};

const GET_CONFIG: Verb = Verb {
    path: "operator autopilot get-config",
    synopsis: "Shows the rules in force",
    form: "[options]",
    about: "  Shows the rules in force.",
    flags: &[],
    reach: Reach::Servers,
    run: |call| Box::pin(async move { Ended::from(get_config(call).await) }),
};

const ENTERPRISE: &str = "Kept and shown; a part of Consul Enterprise, it rules nothing here.";

const SET_CONFIG: Verb = Verb {
    path: "operator autopilot set-config",
    synopsis: "Changes the rules",
    form: "[options]",
    about: "  Changes the rules that are given; the others stay. They count at once, on\n  every server.",
    flags: &[
        Flag::new("cleanup-dead-servers", Kind::BoolValue, "Remove servers that are dead, where enough others live.")
            .value("true|false"),
        Flag::new("disable-upgrade-migration", Kind::BoolValue, ENTERPRISE).value("true|false"),
        Flag::new(
            "last-contact-threshold",
            Kind::DurationValue,
            "A server that its leader has not heard for longer is unhealthy.",
        )
        .value("200ms"),
        Flag::new("max-trailing-logs", Kind::UintValue, "A server that lacks more entries of the log is unhealthy."),
        Flag::new("min-quorum", Kind::UintValue, "Dead servers are only removed while so many voters live."),
        Flag::new("redundancy-zone-tag", Kind::String, ENTERPRISE).value("value"),
        Flag::new(
            "server-stabilization-time",
            Kind::DurationValue,
            "How long a new server must have been healthy before it votes.",
        )
        .value("10s"),
        Flag::new("upgrade-version-tag", Kind::String, ENTERPRISE).value("value"),
    ],
    reach: Reach::Servers,
    run: |call| Box::pin(async move { Ended::from(set_config(call).await) }),
};

const PATH: &str = "/v1/operator/autopilot/configuration";

async fn read(call: &Call) -> Result<AutopilotConfiguration, Ended> {
    let client = call.client_or("Error initializing client")?;
    let request = call.scoped(client.get(PATH));
    request.json().await.map_err(failing("Error querying Autopilot configuration"))
}

async fn get_config(call: &Call) -> Result<Ended, Ended> {
    let rules = read(call).await?;
    Ok(Ended::said(format!(
        "CleanupDeadServers = {}\nLastContactThreshold = {}\nMaxTrailingLogs = {}\nMinQuorum = {}\n\
         ServerStabilizationTime = {}\nRedundancyZoneTag = {:?}\nDisableUpgradeMigration = {}\nUpgradeVersionTag = {:?}\n",
        rules.cleanup_dead_servers,
        rules.last_contact_threshold,
        rules.max_trailing_logs,
        rules.min_quorum,
        rules.server_stabilization_time,
        rules.redundancy_zone_tag,
        rules.disable_upgrade_migration,
        rules.upgrade_version_tag,
    )))
}

/// Only over the rules that were read: another's change in between is not lost.
async fn set_config(call: &Call) -> Result<Ended, Ended> {
    let mut rules = read(call).await?;
    let flags = &call.flags;
    let put = |field: &mut bool, name| *field = flags.given_bool(name).unwrap_or(*field);
    put(&mut rules.cleanup_dead_servers, "cleanup-dead-servers");
    put(&mut rules.disable_upgrade_migration, "disable-upgrade-migration");
    for (field, name) in [(&mut rules.max_trailing_logs, "max-trailing-logs"), (&mut rules.min_quorum, "min-quorum")] {
        if flags.is_given(name) {
            *field = flags.uint(name);
        }
    }
    for (field, name) in [
        (&mut rules.last_contact_threshold, "last-contact-threshold"),
        (&mut rules.server_stabilization_time, "server-stabilization-time"),
    ] {
        // The parser has accepted it.
        if let Some(span) = flags.given_text(name).and_then(|text| duration::parse(text).ok()) {
            *field = duration::format(span);
        }
    }
    for (field, name) in [
        (&mut rules.redundancy_zone_tag, "redundancy-zone-tag"),
        (&mut rules.upgrade_version_tag, "upgrade-version-tag"),
    ] {
        if let Some(text) = flags.given_text(name) {
            text.clone_into(field);
        }
    }
    let client = call.client_or("Error initializing client")?;
    let body = serde_json::to_vec(&rules).map_err(|error| Ended::failed(error.to_string()))?;
    let request = call.scoped_to_datacenter(client.put(PATH).query("cas", rules.modify_index)).body(body);
    let is_done: bool = request.json().await.map_err(failing("Error setting Autopilot configuration"))?;
    if is_done {
        Ok(Ended::said("Configuration updated!\n"))
    } else {
        Ok(Ended { code: 1, ..Ended::said("Configuration could not be atomically updated, please try again\n") })
    }
}
