//! Servers of two kinds: never in one datacenter. With the real Consul, when `QUORATE_REAL_CONSUL` names it.

use crate::support::pool::{SOON, seen_by};
use crate::support::real_consul::{RealConsul, program};
use crate::support::{Agent, Stream, scratch, within};

const FOREIGN: &str = "is a HashiCorp Consul server of datacenter 'dc1'";

#[test]
fn a_newcomer_stops_before_it_names_itself() {
    let Some(consul) = program("a_newcomer_stops_before_it_names_itself") else { return };
    let real = RealConsul::start(&consul);
    for flag in ["-join", "-retry-join"] {
        let dir = scratch();
        let data = format!("-data-dir={}", dir.path().join("data").display());
        let mut newcomer =
            Agent::launch(dir.path(), &["-server", "-node=newcomer", &data, &format!("{flag}={}", real.ip)]);
        let ended = newcomer.ended();
        assert_eq!(ended.code, Some(1), "{}", ended.output);
        assert!(ended.output.contains(FOREIGN), "{}", ended.output);
    }
    assert!(!real.http("/v1/agent/members").contains("newcomer"), "it was never heard of");
    let dir = scratch();
    let data = format!("-data-dir={}", dir.path().join("data").display());
    let client = Agent::start(dir.path(), &["-node=ours", &data, &format!("-retry-join={}", real.ip)]);
    let both = || seen_by(&client).into_keys().collect::<Vec<_>>();
    within(SOON, "a client lives with either kind", both, |names| *names == ["one", "ours"]);
}

#[test]
fn a_pool_of_ours_keeps_a_hashicorp_server_out_and_goes_on() {
    let Some(consul) = program("a_pool_of_ours_keeps_a_hashicorp_server_out_and_goes_on") else { return };
    let (dir, real) = (scratch(), RealConsul::start(&consul));
    let ours = Agent::server(dir.path());
    let (_, mut stream) = Stream::open(&ours.http(), "/v1/agent/events?kind=member", None).expect("a stream");
    stream.until(|event, _| event == "snapshot-end");
    let answer = real.order(&format!("/v1/agent/join/{}", ours.address), "");
    let (_, _, event) = stream.until(|_, data| data["Type"] == "rejected").pop().expect("an event");
    assert!(event["Reason"].as_str().is_some_and(|reason| reason.contains(FOREIGN)), "{event}");
    assert!(!real.http("/v1/agent/members").contains(&ours.address), "{answer}");
    let answer = ours.put(&format!("/v1/agent/join/{}", real.ip), "");
    assert!(answer.status == 500 && answer.body.contains(FOREIGN), "{answer:?}");
    assert_eq!(seen_by(&ours).len(), 1);
    assert_eq!(ours.put("/v1/kv/a", "1").status, 200);
}
