//! One gossip pool of five agents of ours, two of HashiCorp's `serf` and one Consul client of theirs, where
//! `QUORATE_REAL_CONSUL` and `QUORATE_REAL_SERF` name the programs.

use rustix::process::Signal;

use crate::support::pool::{self, PoolOf, SOON, Seen};
use crate::support::real_consul::{self, RealConsul};
use crate::support::real_serf::{self, RealSerf};
use crate::support::{eventually, scratch, within};

/// 16 bytes, as `keygen` prints them.
const KEY: &str = "-encrypt=pUqJrVyVRj5jsiYEkM/tFQ==";

struct Mixed {
    ours: PoolOf,
    serfs: Vec<RealSerf>,
    consul: RealConsul,
    /// Where theirs keep what they keep.
    _dir: tempfile::TempDir,
}

impl Mixed {
    /// All joined to our first agent; none when a program is missing.
    fn new(test: &str, more: &[&str]) -> Option<Self> {
        let (serf, consul) = (real_serf::program(test)?, real_consul::program(test)?);
        let dir = scratch();
        let ours = PoolOf::joined(5, &[], more);
        let first = &ours.agents[0].1.address;
        let (join, retry) = (format!("-retry-join={first}:8301"), format!("-retry-join={first}"));
        let with = |join| [&[join, "-retry-interval=1s"], more].concat();
        let serfs = ["s1", "s2"].map(|name| RealSerf::start(&serf, name, dir.path(), &with(&join)));
        let consul = RealConsul::client(&consul, &dir.path().join("c1"), &[&with(&retry)[..], &["-node=c1"]].concat());
        Some(Self { ours, serfs: serfs.into(), consul, _dir: dir })
    }

    fn seen_by(&self, name: &str) -> Seen {
        match name {
            "s1" => self.serfs[0].members(),
            "s2" => self.serfs[1].members(),
            "c1" => {
                serde_json::from_str(&self.consul.http("/v1/agent/members")).map(|v| pool::read(&v)).unwrap_or_default()
            }
            _ => {
                let (_, agent) = self.ours.agents.iter().find(|(own, _)| own == name).expect("an agent of ours");
                pool::seen_by(agent)
            }
        }
    }

    /// Everybody who is there sees everybody alive, but for these, which are so.
    #[track_caller]
    fn all_see(&self, but: &[(&str, &'static str)]) {
        let status = |name: &str| but.iter().find(|(other, _)| *other == name).map_or("alive", |(_, status)| status);
        let ours = self.ours.agents.iter().map(|(name, agent)| (name.as_str(), &agent.address));
        let theirs = [("s1", &self.serfs[0].ip), ("s2", &self.serfs[1].ip), ("c1", &self.consul.ip)];
        let all = ours.chain(theirs);
        let expected: Seen = all.map(|(name, ip)| (name.to_owned(), (status(name), ip.clone()))).collect();
        for name in expected.keys().filter(|name| status(name) == "alive") {
            let ask = || (self.seen_by(name), self.serfs[0].log().lines().rev().take(5).collect::<Vec<_>>().join("\n"));
            within(SOON, &format!("what {name} sees is {expected:?}"), ask, |(seen, _)| *seen == expected);
        }
    }

    /// A user event fired on either side is heard on the other. Consul's own client asks a server of its
    /// kind to fire, and there is none.
    #[track_caller]
    fn events_arrive(&self) {
        let answer = self.ours.agents[0].1.put("/v1/event/fire/from-ours", "v1");
        assert_eq!(answer.status, 200, "{answer:?}");
        let mut payload = b"\x83\xa2ID\xd9\x24".to_vec();
        payload.extend(uuid::Uuid::new_v4().to_string().into_bytes());
        payload.extend(b"\xa1n\xa9from-serf\xa1v\x01");
        self.serfs[0].fire("consul:event:from-serf", &payload);
        for serf in &self.serfs {
            eventually("serf hears ours", || serf.log(), |log| log.contains("user-event: consul:event:from-ours"));
        }
        for event in ["from-ours", "from-serf"] {
            let path = "/v1/event/list";
            eventually("Consul hears it", || self.consul.http(path), |list| list.contains(event));
            for (_, agent) in &self.ours.agents {
                eventually("ours hear it", || agent.get(path).body, |list| list.contains(event));
            }
        }
    }

    /// Each kind dies once, one of ours leaves, and everybody knows each time.
    fn lives(mut self) {
        self.all_see(&[]);
        self.events_arrive();
        self.ours.at(4).stop(Signal::KILL);
        self.all_see(&[("n5", "failed")]);
        self.serfs[1].kill();
        self.all_see(&[("n5", "failed"), ("s2", "failed")]);
        self.consul.kill();
        self.all_see(&[("c1", "failed"), ("n5", "failed"), ("s2", "failed")]);
        assert_eq!(self.ours.at(3).stop(Signal::INT).code, Some(0));
        self.all_see(&[("c1", "failed"), ("n4", "left"), ("n5", "failed"), ("s2", "failed")]);
        self.ours.at(4).start_again();
        self.ours.join(4, 1);
        // Whoever comes in is not told of the gone.
        let back = |seen: &Seen| seen.get("n5").is_some_and(|(status, _)| *status == "alive");
        for name in ["n1", "n2", "n3", "n5", "s1"] {
            within(SOON, &format!("{name} sees n5 again"), || self.seen_by(name), back);
        }
        within(SOON, "n5 sees the living", || self.seen_by("n5"), |seen| seen.len() >= 5);
    }
}

#[test]
fn ours_and_theirs_are_one_pool() {
    let Some(mixed) = Mixed::new("ours_and_theirs_are_one_pool", &[]) else { return };
    mixed.lives();
}

#[test]
fn ours_and_theirs_are_one_encrypted_pool() {
    let Some(mixed) = Mixed::new("ours_and_theirs_are_one_encrypted_pool", &[KEY]) else { return };
    mixed.lives();
}
