//! One gossip pool of real processes on loopback addresses: anybody can run these.

use rustix::process::Signal;

use crate::support::pool::{PoolOf, SOON};
use crate::support::{own_address, within};

#[test]
fn one_address_is_enough_to_know_everybody() {
    let pool = PoolOf::strangers(4, &[], &[]);
    for place in 0..4 {
        assert_eq!(pool.seen_by(place).len(), 1, "strangers know themselves");
    }
    // Nobody is told of more than one, and no two of the same.
    for place in 1..4 {
        pool.join(place, place - 1);
    }
    pool.all_see(&[]);
}

#[test]
fn a_killed_agent_has_failed_and_comes_back() {
    let mut pool = PoolOf::joined(4, &[], &[]);
    pool.at(3).stop(Signal::KILL);
    pool.all_see(&[(3, "failed")]);
    pool.at(3).start_again();
    pool.join(3, 0);
    pool.all_see(&[]);
    pool.at(3).stop(Signal::KILL);
    pool.all_see(&[(3, "failed")]);
    // The name is somebody else's until it has been dead for a while, as in Consul.
    pool.at(3).start_again_at(own_address());
    pool.join(3, 0);
    let there = pool.at(3).address.clone();
    for place in 0..3 {
        let what = format!("n{} sees n4 at {there}", place + 1);
        within(SOON * 2, &what, || pool.seen_by(place), |seen| seen["n4"] == ("alive", there.clone()));
    }
}

#[test]
fn a_paused_agent_has_failed_and_is_alive_when_it_goes_on() {
    let mut pool = PoolOf::joined(4, &[], &[]);
    pool.at(1).signal(Signal::STOP);
    pool.all_see(&[(1, "failed")]);
    pool.at(1).signal(Signal::CONT);
    pool.all_see(&[]);
}

#[test]
fn one_that_leaves_has_left_and_may_come_back_from_anywhere() {
    let mut pool = PoolOf::joined(4, &[], &[]);
    assert_eq!(pool.at(2).stop(Signal::INT).code, Some(0));
    pool.all_see(&[(2, "left")]);
    pool.at(2).start_again_at(own_address());
    pool.join(2, 1);
    pool.all_see(&[]);
    assert_eq!(pool.at(2).put("/v1/agent/leave", "").status, 200);
    assert_eq!(pool.at(2).ended().code, Some(0));
    pool.all_see(&[(2, "left")]);
    // The server is not told to leave: it stops, and has failed.
    assert_eq!(pool.at(0).stop(Signal::TERM).code, Some(1));
    pool.all_see(&[(0, "failed"), (2, "left")]);
}

/// With `SLOW_TESTS=1` 50 agents; else 20, whose starting is all that two cores can bear beside other tests.
#[test]
fn many_agents_are_one_pool() {
    let count = if std::env::var_os("SLOW_TESTS").is_some() { 50 } else { 20 };
    let mut pool = PoolOf::strangers(count, &[], &["-log-level=warn"]);
    for place in 1..count {
        pool.join(place, 0);
    }
    pool.all_see(&[]);
    pool.at(count - 1).stop(Signal::KILL);
    pool.at(count - 2).stop(Signal::INT);
    pool.all_see(&[(count - 1, "failed"), (count - 2, "left")]);
}
