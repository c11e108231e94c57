//! How healthy and how silent the servers are, told as messages: what autopilot says of our agents beside
//! what they push themselves.

use console::msg::{Denial, Msg, Source};
use console::polled::Polled;
use serde_json::json;
use shared::api::operator::AutopilotConfiguration;

use crate::fixture::{self, IDS, LANE, Story, answer, progress, t};
use crate::stories::{hides, shows};

/// As the leader's autopilot tells it, of which the second server is as told and the third is down.
fn health(is_healthy: bool) -> Polled {
    let server = |at: usize, healthy: bool| {
        let since = if at == 2 { "0001-01-01T00:00:00Z".to_owned() } else { t(-60_000).to_string() };
        json!({"ID": IDS[at], "Name": format!("srv-{}", at + 1), "SerfStatus": "alive", "Leader": at == 0,
            "LastContact": "1h0m0s", "LastTerm": 3, "LastIndex": 5, "Healthy": healthy, "Voter": true,
            "StableSince": since})
    };
    let servers = [server(0, true), server(1, is_healthy), server(2, false)];
    Polled::Autopilot(answer(json!({"Healthy": is_healthy, "Servers": servers})))
}

fn told() -> Story {
    let mut story = fixture::three();
    let rules =
        AutopilotConfiguration { last_contact_threshold: "200ms".into(), max_trailing_logs: 250, ..Default::default() };
    story.polled(60_000, health(true));
    story.polled(60_000, Polled::Rules(rules));
    story.polled(60_000, Polled::Syncs { mean_ms: 0.44, most_ms: 4.06 });
    story.keys("3");
    story
}

#[test]
fn the_raft_screen_tells_who_is_healthy_and_for_how_long() {
    let mut story = told();
    story.heard(60_000, 900);
    story.tick(60_000);
    shows(&mut story, &["CONTACT STABLE HEALTHY", "2m yes", "? NO, down"]);
    // What the leader pushed of their logs is newer than what autopilot says of them.
    shows(&mut story, &["18,2"]);
    hides(&mut story, &["1h"]);
    story.event(61_000, "srv-1", progress(1, 0, 17_000, 31));
    story.polled(61_000, health(false));
    shows(&mut story, &["lag > 250"]);
    story.event(62_000, "srv-1", progress(1, 0, 18_240, 931));
    shows(&mut story, &["NO, silent"]);
    // Nobody tells it without a leader, and that is no concern of its own.
    story.say(Msg::Denied { lane: LANE, at: t(63_000), source: Source::Autopilot, denial: Denial::Failed });
    hides(&mut story, &["HEALTHY", "NO, silent"]);
    story.keys("1");
    hides(&mut story, &["autopilot"]);
}

#[test]
fn contact_is_told_as_it_was_and_what_the_disk_costs_with_its_age() {
    let mut story = told();
    for (second, ms) in [(61, 11), (62, 41), (63, 12)] {
        story.event(second * 1_000, "srv-1", progress(1, 0, 18_204, ms));
        story.event(second * 1_000, "srv-1", progress(2, 0, 18_204, 9));
        story.heard(second * 1_000, 900);
        // The rows are those of the last drawing.
        story.screen(120, 36);
        story.tick(second * 1_000);
    }
    shows(&mut story, &["max 41ms of 200ms", "fsync here 0.4ms, max 4.0ms"]);
    hides(&mut story, &[" ago"]);
    story.tick(123_000);
    shows(&mut story, &["fsync here 0.4ms, max 4.0ms, 63s ago"]);
}
