//! The one task that owns a pool's state machine: whatever happens becomes an input, whatever
//! comes out is carried out, in the order packets, streams, replies, notices.
//!
//! Queues: orders and stream results wait for room; member events to the outside are dropped and
//! counted when their reader is slow, for the watch of members always holds the truth.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shared::api::coordinate::Coordinate;
use shared::event::{MemberEvent, MemberState};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::ask::{Answered, Fired, Waiting};
use super::journal::{self, Scope};
use super::keys::Keys;
use super::place::Places;
use super::resolve::dial_text;
use super::seal::Seal;
use super::tcp::{Received, STREAM_TIME_MAX, ask, read_message, write_answer};
use super::traffic::{LABELLED, Traffic};
use crate::clock;
use crate::cut;
use crate::seats::Seats;
use crate::swim::codec::kind;
use crate::swim::internal::KeyAction;
use crate::swim::member::Name;
use crate::swim::query::{Question, ReplyTo};
use crate::swim::{
    Dial, Facts, ForceLeaveRefusal, Input, Notice, Order, Output, Packet, Reply, StreamId, Swim, Ticket,
};
use crate::tasks::Tasks;

/// Streams of others at once; more wait in the kernel's queue.
const STREAMS_MAX: usize = 128;
/// Of them from one address: a member needs one or two at a time.
const STREAMS_OF_ONE_MAX: usize = STREAMS_MAX / 2;
/// Results of streams waiting for the task.
const EVENTS_MAX: usize = 256;
/// No packet is longer.
const PACKET_READ_MAX: usize = 65_536;
/// Packets handled before anything else gets a turn.
const PACKETS_AT_ONCE: usize = 64;

/// What a handle asks, with where the answer goes.
#[derive(Debug)]
pub(super) enum Request {
    Join { to: SocketAddr, done: oneshot::Sender<Result<(), String>> },
    ForceLeave { name: String, prune: bool, done: oneshot::Sender<Result<(), ForceLeaveRefusal>> },
    Leave { done: oneshot::Sender<()> },
    Fire { name: String, payload: Vec<u8>, done: Fired },
    Ask { question: Question, done: Answered },
    Places { done: oneshot::Sender<Places> },
    SetPlace { name: String, coordinate: Coordinate },
}

/// What a stream's task has to say.
enum StreamEvent {
    Asked {
        stream: StreamId,
        from: SocketAddr,
        received: Received,
        reply: oneshot::Sender<Vec<u8>>,
    },
    Answered {
        dial: u64,
        received: Received,
    },
    Unanswered {
        dial: u64,
        reason: String,
        refused: bool,
    },
    /// The pool asked us to do something with our keys, and it is done.
    KeysDone {
        reply: ReplyTo,
        payload: Vec<u8>,
    },
}

/// A pool whose sockets are bound and whose machine was made.
pub(super) struct Parts {
    pub(super) swim: Swim,
    /// What the machine said when it was made.
    pub(super) first: Output,
    pub(super) scope: Scope,
    pub(super) seal: Arc<Seal>,
    pub(super) keys: Keys,
    pub(super) waiting: Waiting,
    pub(super) udp: UdpSocket,
    pub(super) listener: TcpListener,
    pub(super) members: watch::Sender<Arc<Vec<MemberState>>>,
    pub(super) facts: watch::Sender<Facts>,
    pub(super) notices: mpsc::Sender<MemberEvent>,
    pub(super) requests: mpsc::Receiver<Request>,
}

pub(super) struct Driver {
    swim: Swim,
    scope: Scope,
    seal: Arc<Seal>,
    keys: Arc<Keys>,
    waiting: Waiting,
    udp: UdpSocket,
    members: watch::Sender<Arc<Vec<MemberState>>>,
    facts: watch::Sender<Facts>,
    notices: mpsc::Sender<MemberEvent>,
    tasks: Tasks,
    joins: BTreeMap<Ticket, oneshot::Sender<Result<(), String>>>,
    force_leaves: BTreeMap<Ticket, oneshot::Sender<Result<(), ForceLeaveRefusal>>>,
    leaves: Vec<oneshot::Sender<()>>,
    replies: BTreeMap<StreamId, oneshot::Sender<Vec<u8>>>,
    events: mpsc::Sender<StreamEvent>,
    last_ticket: Ticket,
    left: bool,
    notices_dropped: u64,
    traffic: Traffic,
}

impl Driver {
    /// What the machine said at its birth is told before this returns: nothing that follows may be
    /// logged ahead of our own join.
    pub(super) async fn start(parts: Parts, tasks: &Tasks) {
        let (events, stream_events) = mpsc::channel(EVENTS_MAX);
        let traffic = Traffic::new(parts.scope.pool());
        let seal = Arc::clone(&parts.seal);
        tasks.spawn(
            "gossip-listen",
            listen(parts.listener, parts.scope, traffic.clone(), seal, events.clone(), tasks.clone()),
        );
        let mut driver = Self {
            swim: parts.swim,
            scope: parts.scope,
            seal: parts.seal,
            keys: Arc::new(parts.keys),
            waiting: parts.waiting,
            udp: parts.udp,
            members: parts.members,
            facts: parts.facts,
            notices: parts.notices,
            tasks: tasks.clone(),
            joins: BTreeMap::new(),
            force_leaves: BTreeMap::new(),
            leaves: Vec::new(),
            replies: BTreeMap::new(),
            events,
            last_ticket: 0,
            left: false,
            notices_dropped: 0,
            traffic,
        };
        let mut first = parts.first;
        driver.carry_out(&mut first).await;
        tasks.spawn("gossip", driver.run(parts.requests, stream_events));
    }

    async fn run(mut self, mut requests: mpsc::Receiver<Request>, mut stream_events: mpsc::Receiver<StreamEvent>) {
        let token = self.tasks.token();
        let mut packet = vec![0; PACKET_READ_MAX];
        let mut out = Output::default();
        loop {
            let deadline = self.swim.next_deadline();
            let wait = deadline.map_or(Duration::MAX, |at| at.since(clock::now()));
            tokio::select! {
                () = token.cancelled() => break,
                ready = self.udp.readable() => match ready {
                    Ok(()) => self.take_packets(&mut packet, &mut out),
                    // The socket itself is broken: without it we are no member.
                    Err(error) => {
                        self.tasks.fail(format!("gossip socket: {error}"));
                        break;
                    }
                },
                Some(event) = stream_events.recv() => self.take_stream(event, &mut out),
                Some(request) = requests.recv() => self.take_request(request, &mut out),
                () = sleep(wait), if deadline.is_some() => self.swim.handle(clock::now(), Input::Wake, &mut out),
            }
            self.carry_out(&mut out).await;
        }
        if !self.left {
            journal::stopped_without_leave(self.scope);
        }
    }

    fn take_packets(&mut self, buffer: &mut [u8], out: &mut Output) {
        for _ in 0..PACKETS_AT_ONCE {
            // An error here is a report about a packet sent earlier, or that none is left.
            let Ok((length, from)) = self.udp.try_recv_from(buffer) else { return };
            if cut::is_cut(from.ip()) {
                continue;
            }
            self.traffic.udp_received.increment(length as u64);
            if buffer[..length].first() == Some(&kind::LABEL) {
                metrics::counter!(LABELLED).increment(1);
                continue;
            }
            // What does not open was counted, and never happened.
            let Ok(opened) = self.seal.open_packet(&buffer[..length]) else { continue };
            let bytes = opened.as_deref().unwrap_or(&buffer[..length]);
            self.swim.handle(clock::now(), Input::Packet { from, bytes }, out);
        }
    }

    fn take_stream(&mut self, event: StreamEvent, out: &mut Output) {
        let now = clock::now();
        match event {
            StreamEvent::Asked { stream, from, received, reply } => {
                self.replies.insert(stream, reply);
                self.swim.handle(now, Input::Accepted { stream, from, bytes: &received.bytes }, out);
            }
            StreamEvent::Answered { dial, received } => {
                self.swim.handle(now, Input::Answered { dial, bytes: &received.bytes }, out);
            }
            StreamEvent::Unanswered { dial, reason, refused } => {
                self.swim.handle(now, Input::Unanswered { dial, reason, refused }, out);
            }
            StreamEvent::KeysDone { reply, payload } => {
                self.swim.handle(now, Input::Order(Order::Respond { reply, payload }), out);
            }
        }
    }

    fn take_request(&mut self, request: Request, out: &mut Output) {
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        let order = match request {
            Request::Join { to, done } => {
                self.joins.insert(ticket, done);
                Order::Join { ticket, to }
            }
            Request::ForceLeave { name, prune, done } => {
                self.force_leaves.insert(ticket, done);
                Order::ForceLeave { ticket, name, prune }
            }
            Request::Leave { done } => {
                self.leaves.push(done);
                Order::Leave
            }
            Request::Fire { name, payload, done } => {
                self.waiting.fire(ticket, done);
                Order::Fire { ticket, name, payload, coalesce: false }
            }
            Request::Ask { question, done } => {
                self.waiting.ask(ticket, done);
                Order::Ask { ticket, question }
            }
            Request::Places { done } => {
                // Who asked and went away needs no answer.
                let _ = done.send(self.places());
                return;
            }
            Request::SetPlace { name, coordinate } => Order::SetCoordinate { name, coordinate },
        };
        self.swim.handle(clock::now(), Input::Order(order), out);
    }

    fn places(&self) -> Places {
        let list = |places: &mut dyn Iterator<Item = (&Name, Coordinate)>| {
            places.map(|(name, coordinate)| (name.to_string(), coordinate)).collect()
        };
        Places {
            index: self.swim.facts().coordinate_index,
            ours: self.swim.coordinate(),
            members: list(&mut self.swim.coordinates()),
            others: list(&mut self.swim.other_coordinates()),
        }
    }

    async fn carry_out(&mut self, out: &mut Output) {
        for Packet { to, bytes } in out.packets.drain(..) {
            if cut::is_cut(to.ip()) {
                continue;
            }
            let sealed = self.seal.seal_packet(bytes);
            // Packets are best effort: one that cannot be sent is one that was lost.
            if let Ok(sent) = self.udp.send_to(&sealed, to).await {
                self.traffic.udp_sent.increment(sent as u64);
            }
        }
        for dial in out.dials.drain(..) {
            let (events, seal, token) = (self.events.clone(), Arc::clone(&self.seal), self.tasks.token());
            let traffic = self.traffic.clone();
            self.tasks.spawn("gossip-dial", async move {
                tokio::select! {
                    () = token.cancelled() => {}
                    () = run_dial(dial, &seal, &traffic, events) => {}
                }
            });
        }
        for Reply { stream, bytes } in out.replies.drain(..) {
            if let Some(reply) = self.replies.remove(&stream) {
                // Its task has given up: nobody is there to read an answer.
                let _ = reply.send(bytes);
            }
        }
        // The log first: whoever sees the new members logs what it does about them.
        for notice in &out.notices {
            journal::notice(self.scope, notice);
        }
        if std::mem::take(&mut out.members_changed) {
            self.members.send_replace(Arc::new(self.swim.member_states()));
        }
        let facts = self.swim.facts();
        self.facts.send_if_modified(|known| std::mem::replace(known, facts) != facts);
        for notice in out.notices.drain(..) {
            self.tell(notice);
        }
    }

    /// Gives a notice to whom it is for. Who asked and went away is not told.
    fn tell(&mut self, notice: Notice) {
        match notice {
            Notice::Member(event) => {
                if self.notices.try_send(event).is_err() && !self.notices.is_closed() {
                    self.notices_dropped += 1;
                    journal::notices_dropped(self.scope, self.notices_dropped);
                }
            }
            Notice::JoinEnded { ticket, outcome } => {
                if let Some(done) = self.joins.remove(&ticket) {
                    let _ = done.send(outcome);
                }
            }
            Notice::ForceLeaveEnded { ticket, outcome } => {
                if let Some(done) = self.force_leaves.remove(&ticket) {
                    let _ = done.send(outcome);
                }
            }
            Notice::Left => {
                self.left = true;
                for done in self.leaves.drain(..) {
                    let _ = done.send(());
                }
            }
            Notice::KeyAsked { action, key, reply } => self.ask_keys(action, key, reply),
            Notice::Outvoted { matching, responses } => {
                // Without a leave: that would make the others take the one they mean for gone.
                self.tasks.fail(format!(
                    "another node has the name of this one, and {matching} of {responses} members hold that it is \
                     this one's: give this node another name"
                ));
            }
            Notice::Remark(_) => {}
            heard => self.waiting.tell(heard),
        }
    }
}

impl Driver {
    /// Keys are changed in a file too, for which the pool does not wait.
    fn ask_keys(&self, action: KeyAction, key: Vec<u8>, reply: ReplyTo) {
        let (keys, events) = (Arc::clone(&self.keys), self.events.clone());
        self.tasks.spawn("gossip-keys", async move {
            let obeyed = tokio::task::spawn_blocking(move || keys.obey(action, &key)).await;
            // Only a panic is an error, and it has been told.
            let Ok(answer) = obeyed else { return };
            // Closed only when the pool has ended.
            let _ = events.send(StreamEvent::KeysDone { reply, payload: answer.to_bytes() }).await;
        });
    }
}

async fn run_dial(dial: Dial, seal: &Seal, traffic: &Traffic, events: mpsc::Sender<StreamEvent>) {
    let event = match ask(dial.to, &seal.seal_stream(dial.bytes), dial.limit, seal, traffic).await {
        Ok(received) => StreamEvent::Answered { dial: dial.id, received },
        Err(failure) => {
            let reason = dial_text(dial.to, &failure);
            StreamEvent::Unanswered { dial: dial.id, reason, refused: failure.is_refusal() }
        }
    };
    // Closed only when the pool has ended.
    let _ = events.send(event).await;
}

async fn listen(
    listener: TcpListener,
    scope: Scope,
    traffic: Traffic,
    seal: Arc<Seal>,
    events: mpsc::Sender<StreamEvent>,
    tasks: Tasks,
) {
    let token = tasks.token();
    let places = Arc::new(Semaphore::new(STREAMS_MAX));
    let seats = Seats::new(STREAMS_OF_ONE_MAX);
    let mut last_stream: StreamId = 0;
    loop {
        let accepted = tokio::select! {
            () = token.cancelled() => return,
            accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            } => accepted,
        };
        let (Ok(place), Ok((stream, from))) = accepted else {
            // Out of descriptors, most likely: trying at once again would only spin.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let Some(seat) = seats.take(from.ip()) else {
            metrics::counter!("quorate.gossip.streams_over_limit").increment(1);
            continue;
        };
        last_stream += 1;
        let (id, events, seal, token) = (last_stream, events.clone(), Arc::clone(&seal), token.clone());
        let traffic = traffic.clone();
        traffic.tcp_accept.increment(1);
        journal::stream_accepted(scope, from);
        tasks.spawn("gossip-stream", async move {
            tokio::select! {
                () = token.cancelled() => {}
                _ = timeout(STREAM_TIME_MAX, serve(stream, from, id, &seal, &traffic, events)) => {}
            }
            drop((place, seat));
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    from: SocketAddr,
    id: StreamId,
    seal: &Seal,
    traffic: &Traffic,
    events: mpsc::Sender<StreamEvent>,
) {
    cut::passage(from.ip()).await;
    // Who says nothing whole gets no answer.
    let Ok(received) = read_message(&mut stream, seal, traffic, &traffic.questions).await else {
        traffic.tcp_refused.increment(1);
        return;
    };
    let (reply, answer) = oneshot::channel();
    if events.send(StreamEvent::Asked { stream: id, from, received, reply }).await.is_err() {
        return;
    }
    if let Ok(bytes) = answer.await {
        // It may have gone away meanwhile; then there is nothing to do.
        let _ = write_answer(&mut stream, &seal.seal_stream(bytes), traffic).await;
    }
}
