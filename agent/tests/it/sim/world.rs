//! Members, a clock that is a value, and the events between them in order of time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use agent::moment::Moment;
use agent::swim::timing::Timing;
use agent::swim::{Config, DialId, Input, Notice, Order, Output, Swim};
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use shared::event::{MemberStatus, Pool};

use super::judge::Judge;
use super::network::{Network, Place};

const PORT: u16 = 8301;
/// How long the kernel of a host that is there takes to refuse a stream.
const REFUSED_AFTER: Duration = Duration::from_millis(1);

#[derive(Debug)]
enum Event {
    Wake {
        place: Place,
        life: u32,
    },
    Packet {
        to: Place,
        from: Place,
        bytes: Vec<u8>,
    },
    /// A stream's message, and who waits for the answer.
    Asked {
        to: Place,
        from: Place,
        life: u32,
        dial: DialId,
        bytes: Vec<u8>,
    },
    Answered {
        to: Place,
        life: u32,
        dial: DialId,
        bytes: Vec<u8>,
    },
    Unanswered {
        to: Place,
        life: u32,
        dial: DialId,
        reason: &'static str,
        refused: bool,
    },
}

impl Event {
    fn place(&self) -> Place {
        match self {
            Self::Wake { place, .. } => *place,
            Self::Packet { to, .. }
            | Self::Asked { to, .. }
            | Self::Answered { to, .. }
            | Self::Unanswered { to, .. } => *to,
        }
    }
}

struct Node {
    /// None: its process has ended.
    swim: Option<Swim>,
    /// Counts restarts, so that what was meant for an earlier life does not reach a later one.
    life: u32,
    name: String,
    woken_at: Option<Moment>,
    /// Stopped by a signal: what arrives waits.
    paused: bool,
    waiting: Vec<Event>,
    left: bool,
}

pub(crate) struct World {
    pub(crate) now: Moment,
    pub(crate) network: Network,
    pub(crate) judge: Judge,
    pub(crate) packets_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) steps: u64,
    timing: Timing,
    nodes: Vec<Node>,
    events: BinaryHeap<Reverse<(Moment, u64)>>,
    bodies: BTreeMap<u64, Event>,
    last_event: u64,
    dice: SmallRng,
}

pub(crate) fn address(place: Place) -> SocketAddr {
    let [_, high, middle, low] = u32::try_from(place).expect("few members").to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, high, middle, low)), PORT)
}

fn place_of(address: SocketAddr) -> Option<Place> {
    let IpAddr::V4(ip) = address.ip() else { return None };
    let [_, high, middle, low] = ip.octets();
    usize::try_from(u32::from_be_bytes([0, high, middle, low])).ok()
}

impl World {
    pub(crate) fn new(members: usize, timing: Timing, seed: u64) -> Self {
        let mut world = Self {
            now: Moment::from_micros(1),
            network: Network::default(),
            judge: Judge::default(),
            packets_sent: 0,
            bytes_sent: 0,
            steps: 0,
            timing,
            nodes: Vec::new(),
            events: BinaryHeap::new(),
            bodies: BTreeMap::new(),
            last_event: 0,
            dice: SmallRng::seed_from_u64(seed),
        };
        for place in 0..members {
            world.nodes.push(Node {
                swim: None,
                life: 0,
                name: format!("node-{place}"),
                woken_at: None,
                paused: false,
                waiting: Vec::new(),
                left: false,
            });
            world.start(place);
        }
        world
    }

    pub(crate) fn dice(&mut self) -> &mut SmallRng {
        &mut self.dice
    }

    pub(crate) fn size(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn name(&self, place: Place) -> &str {
        &self.nodes[place].name
    }

    pub(crate) fn swim(&self, place: Place) -> Option<&Swim> {
        self.nodes[place].swim.as_ref()
    }

    pub(crate) fn is_running(&self, place: Place) -> bool {
        let node = &self.nodes[place];
        node.swim.is_some() && !node.paused && !node.left
    }

    pub(crate) fn running(&self) -> Vec<Place> {
        (0..self.size()).filter(|place| self.is_running(*place)).collect()
    }

    /// A process starts, knowing nobody.
    pub(crate) fn start(&mut self, place: Place) {
        let seed = self.dice.next_u64();
        let node = &mut self.nodes[place];
        node.life += 1;
        node.paused = false;
        node.left = false;
        node.waiting.clear();
        node.woken_at = None;
        let config = Config {
            pool: Pool::Lan,
            name: node.name.clone(),
            address: address(place),
            tags: BTreeMap::from([("role".to_owned(), "node".to_owned())]),
            timing: self.timing.clone(),
            seal_bytes: 0,
            coordinates: true,
        };
        let mut out = Output::default();
        node.swim = Some(Swim::new(config, self.now, seed, &mut out));
        self.judge.forget(place);
        self.carry_out(place, out);
    }

    /// kill -9.
    pub(crate) fn kill(&mut self, place: Place) {
        self.nodes[place].swim = None;
        self.nodes[place].paused = false;
        self.nodes[place].waiting.clear();
    }

    pub(crate) fn pause(&mut self, place: Place) {
        self.nodes[place].paused = true;
    }

    /// Goes on; what came meanwhile is there at once.
    pub(crate) fn resume(&mut self, place: Place) {
        self.nodes[place].paused = false;
        for event in std::mem::take(&mut self.nodes[place].waiting) {
            self.push(self.now, event);
        }
    }

    pub(crate) fn join(&mut self, place: Place, to: Place) {
        self.give(place, Input::Order(Order::Join { ticket: 0, to: address(to) }));
    }

    pub(crate) fn leave(&mut self, place: Place) {
        self.give(place, Input::Order(Order::Leave));
    }

    pub(crate) fn force_leave(&mut self, place: Place, name: &str, prune: bool) {
        self.give(place, Input::Order(Order::ForceLeave { ticket: 0, name: name.to_owned(), prune }));
    }

    /// Runs until no event is left before `until`.
    pub(crate) fn run_until(&mut self, until: Moment) {
        while let Some(Reverse((at, number))) = self.events.peek().copied() {
            if at > until {
                break;
            }
            self.events.pop();
            self.now = at;
            if let Some(event) = self.bodies.remove(&number) {
                self.happen(event);
            }
        }
        self.now = until;
    }

    pub(crate) fn run(&mut self, span: Duration) {
        self.run_until(self.now + span);
    }

    /// Runs until `holds`, looked at every `step`; false when `limit` is over first.
    pub(crate) fn run_while_not(
        &mut self,
        limit: Duration,
        step: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> bool {
        let end = self.now + limit;
        while !holds(self) {
            if self.now >= end {
                return false;
            }
            self.run(step);
        }
        true
    }

    /// Everybody who runs lists everybody who runs as alive, and nobody else so.
    pub(crate) fn agrees(&self) -> bool {
        let running = self.running();
        running.iter().all(|place| {
            let Some(swim) = self.swim(*place) else { return false };
            let mut alive = 0;
            for member in swim.members().filter(|member| member.shown_status() == MemberStatus::Alive) {
                let is_there = place_of(member.address).is_some_and(|other| self.is_running(other));
                if !is_there {
                    return false;
                }
                alive += 1;
            }
            alive == running.len()
        })
    }

    pub(crate) fn status(&self, seen_by: Place, of: Place) -> Option<MemberStatus> {
        let name = self.name(of);
        self.swim(seen_by)?
            .members()
            .find(|member| &*member.name == name)
            .map(agent::swim::member::Member::shown_status)
    }

    fn push(&mut self, at: Moment, event: Event) {
        self.last_event += 1;
        self.events.push(Reverse((at, self.last_event)));
        self.bodies.insert(self.last_event, event);
    }

    fn happen(&mut self, event: Event) {
        let place = event.place();
        let node = &mut self.nodes[place];
        if node.paused {
            node.waiting.push(event);
            return;
        }
        let (exists, life) = (node.swim.is_some(), node.life);
        match event {
            Event::Wake { life: meant, .. } => {
                if exists && meant == life && node.woken_at.is_some_and(|at| at <= self.now) {
                    node.woken_at = None;
                    self.give(place, Input::Wake);
                }
            }
            Event::Packet { from, bytes, .. } => {
                if exists {
                    self.give(place, Input::Packet { from: address(from), bytes: &bytes });
                }
            }
            Event::Asked { from, life: asker, dial, bytes, .. } => {
                if exists {
                    self.ask(place, from, asker, dial, &bytes);
                } else {
                    let reason = "connection refused";
                    let refusal = Event::Unanswered { to: from, life: asker, dial, reason, refused: true };
                    self.push(self.now + REFUSED_AFTER, refusal);
                }
            }
            Event::Answered { life: meant, dial, bytes, .. } => {
                if exists && meant == life {
                    self.give(place, Input::Answered { dial, bytes: &bytes });
                }
            }
            Event::Unanswered { life: meant, dial, reason, refused, .. } => {
                if exists && meant == life {
                    self.give(place, Input::Unanswered { dial, reason: reason.to_owned(), refused });
                }
            }
        }
    }

    /// A stream's message is heard, and its answer travels back.
    fn ask(&mut self, place: Place, from: Place, life: u32, dial: DialId, bytes: &[u8]) {
        let plain = agent::swim::stream::plain(bytes.to_vec()).expect("our own bytes");
        let input = Input::Accepted { stream: dial, from: address(from), bytes: &plain };
        let replies = self.give(place, input);
        for reply in replies {
            let bytes = agent::swim::stream::plain(reply).expect("our own bytes");
            if let Some(after) = self.network.stream(place, from, &mut self.dice) {
                let answer = Event::Answered { to: from, life, dial, bytes };
                self.push(self.now + after, answer);
            }
        }
    }

    fn give(&mut self, place: Place, input: Input<'_>) -> Vec<Vec<u8>> {
        let mut out = Output::default();
        let Some(swim) = &mut self.nodes[place].swim else { return Vec::new() };
        swim.handle(self.now, input, &mut out);
        self.steps += 1;
        self.carry_out(place, out)
    }

    /// Sends what is to be sent; what goes back on an open stream is returned.
    fn carry_out(&mut self, place: Place, out: Output) -> Vec<Vec<u8>> {
        let life = self.nodes[place].life;
        for packet in out.packets {
            assert!(packet.bytes.len() <= agent::swim::packet::PACKET_BYTES_MAX, "a packet within its budget");
            self.packets_sent += 1;
            self.bytes_sent += packet.bytes.len() as u64;
            let Some(to) = place_of(packet.to).filter(|to| *to < self.nodes.len()) else { continue };
            for after in self.network.packet(place, to, &mut self.dice) {
                self.push(self.now + after, Event::Packet { to, from: place, bytes: packet.bytes.clone() });
            }
        }
        for dial in out.dials {
            let to = place_of(dial.to).filter(|to| *to < self.nodes.len());
            let after = to.and_then(|to| self.network.stream(place, to, &mut self.dice));
            if let (Some(to), Some(after)) = (to, after) {
                self.push(self.now + after, Event::Asked { to, from: place, life, dial: dial.id, bytes: dial.bytes });
            }
            // Whichever comes first counts; the machine ignores the other.
            let late = Event::Unanswered { to: place, life, dial: dial.id, reason: "i/o timeout", refused: false };
            self.push(self.now + dial.limit, late);
        }
        for notice in &out.notices {
            if matches!(notice, Notice::Left) {
                self.nodes[place].left = true;
                self.kill(place);
            }
            self.judge.hear(place, self.now, notice);
        }
        self.judge.look(place, self.nodes[place].swim.as_ref(), out.members_changed);
        self.schedule(place);
        out.replies.into_iter().map(|reply| reply.bytes).filter(|bytes| !bytes.is_empty()).collect()
    }

    fn schedule(&mut self, place: Place) {
        let node = &mut self.nodes[place];
        let Some(at) = node.swim.as_ref().and_then(Swim::next_deadline) else {
            node.woken_at = None;
            return;
        };
        let at = at.max(self.now);
        if node.woken_at.is_none_or(|woken| at < woken) {
            node.woken_at = Some(at);
            let life = node.life;
            self.push(at, Event::Wake { place, life });
        }
    }
}
