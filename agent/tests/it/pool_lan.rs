//! One gossip pool of real processes on a network that fails: as root, each agent on a host of its own.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::lan::Lan;
use crate::support::pool::{PoolOf, SOON};
use crate::support::{Agent, scratch, throughout, within};

/// What an operator would see in the log of any member.
const FAILED: &str = "EventMemberFailed";

#[test]
fn both_sides_of_a_partition_go_on_and_are_one_again() {
    let Some(lan) = Lan::new("both_sides_of_a_partition_go_on_and_are_one_again", 5) else { return };
    let pool = PoolOf::joined(5, &lan.hosts, &[]);
    lan.part(&[0, 1, 2], &[3, 4]);
    pool.among_see(&[0, 1, 2], &[(3, "failed"), (4, "failed")]);
    pool.among_see(&[3, 4], &[(0, "failed"), (1, "failed"), (2, "failed")]);
    lan.heal();
    pool.all_see(&[]);
}

#[test]
fn one_that_cannot_send_to_one_other_is_alive_for_all() {
    let Some(lan) = Lan::new("one_that_cannot_send_to_one_other_is_alive_for_all", 4) else { return };
    let pool = PoolOf::joined(4, &lan.hosts, &[]);
    lan.cut(&[1], &[2]);
    throughout(Duration::from_secs(20), "nobody fails", || pool.said(FAILED), |failed| *failed == 0);
    pool.all_see(&[]);
    // And one that hears nobody is given up by those who hear it.
    lan.cut(&[0, 2, 3], &[1]);
    pool.among_see(&[0, 2, 3], &[(1, "failed")]);
    lan.heal();
    pool.all_see(&[]);
}

#[test]
fn a_host_that_is_gone_comes_back_somewhere_else() {
    let Some(lan) = Lan::new("a_host_that_is_gone_comes_back_somewhere_else", 4) else { return };
    let mut pool = PoolOf::joined(3, &lan.hosts, &[]);
    // No host answers for it: silence, and no refusal that would prove a death.
    lan.part(&[2], &[0, 1]);
    pool.at(2).stop(Signal::KILL);
    pool.among_see(&[0, 1], &[(2, "failed")]);
    let dir = scratch();
    let data = format!("-data-dir={}", dir.path().join("data").display());
    let more = ["-node=n3", data.as_str()];
    let moved = Agent::launch_at(lan.hosts[3].address.clone(), Some(&lan.hosts[3]), dir.path(), &more);
    moved.wait_for_http();
    pool.agents[2].1 = moved;
    pool.join(2, 0);
    pool.all_see(&[]);
}

/// How bad the weather is, how many bear it, and for how long: `QUORATE_WEATHER`, as `25 agents 600 s`.
fn weather() -> (usize, Duration) {
    let Some(text) = std::env::var_os("QUORATE_WEATHER") else { return (8, Duration::from_secs(45)) };
    let text = text.into_string().expect("text");
    let words: Vec<&str> = text.split_whitespace().collect();
    let [count, "agents", seconds, "s"] = words[..] else {
        panic!("QUORATE_WEATHER is `25 agents 600 s`, not `{text}`")
    };
    (count.parse().expect("a count of agents"), Duration::from_secs(seconds.parse().expect("seconds")))
}

#[test]
fn in_bad_weather_no_live_member_is_declared_failed() {
    let (count, span) = weather();
    let Some(lan) = Lan::new("in_bad_weather_no_live_member_is_declared_failed", count) else { return };
    lan.worsen(0.05, Duration::from_millis(50));
    let pool = PoolOf::joined(count, &lan.hosts, &["-log-level=debug"]);
    throughout(span, "nobody fails", || pool.said(FAILED), |failed| *failed == 0);
    pool.all_see(&[]);
    assert_eq!(pool.said(FAILED), 0);
    let (carried, lost) = lan.packets();
    assert!(lost > carried / 40, "the weather was fine: {lost} packets lost, {carried} carried");
    println!(
        "{count} agents, {span:?}, {lost} packets lost of {}, 50 ms late each way: nobody declared failed; \
         {} probes without an ack, {} suspicions refuted",
        carried + lost,
        pool.said("has failed, no acks received"),
        pool.said("Refuting a suspect message"),
    );
    // And who is gone is still found out.
    let (_, last) = pool.agents.last().expect("an agent");
    last.signal(Signal::KILL);
    let told = || pool.seen_by(0).get(&format!("n{count}")).map(|(status, _)| *status);
    within(SOON, "the dead one has failed", told, |status| *status == Some("failed"));
}
