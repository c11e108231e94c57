//! Numbers events, keeps the last of them and the picture, and hands them to readers, each with a
//! bounded queue. Called by the pump (one publisher) and by the stream endpoint (many readers).
//! It must not know HTTP: a frame is text that any transport may carry.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use shared::event::{Body, Event, EventId, Framing, LAGGED, Level, LogEvent, Origin, RESET, SNAPSHOT_END};
use tokio::sync::{Notify, mpsc, watch};

use super::translate::{self, Change, Key};
use crate::moment::WallTime;

/// Events kept for those who come back.
pub const RING: usize = 10_000;
/// Log lines kept beside them: they are many, and must not push elections out of the ring.
pub const LINES: usize = 2_000;
/// Elections the picture holds.
const ELECTIONS: usize = 100;
/// Events one reader may be behind before it loses some.
const READER_QUEUE: usize = 1_024;
/// Agents whose events are told apart from what was taken before; servers are far fewer.
const ORIGINS_MAX: usize = 256;
/// Streams at once.
const READERS_MAX: usize = 256;

/// One event, written out once for all readers.
#[derive(Debug)]
struct Frame {
    seq: u64,
    kind: &'static str,
    node: String,
    /// Of a log line.
    level: Option<Level>,
    /// Another agent saw it first.
    relayed: bool,
    text: Bytes,
}

/// Who saw an event, when, and which node it is about.
struct Seen {
    origin: Origin,
    at: WallTime,
    node: String,
}

/// What a reader wants.
#[derive(Clone, Debug)]
pub struct Filter {
    pub kinds: BTreeSet<&'static str>,
    /// The lowest level of log lines.
    pub level: Level,
    pub node: Option<String>,
    /// Only what this agent saw itself, as other servers ask: they hear the rest from whoever saw it.
    pub own: bool,
}

impl Filter {
    fn wants(&self, frame: &Frame) -> bool {
        self.kinds.contains(frame.kind)
            && !(self.own && frame.relayed)
            && frame.level.is_none_or(|level| level >= self.level)
            && self.node.as_ref().is_none_or(|node| *node == frame.node)
    }
}

/// What comes out of a reader: SSE text, ready to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Frame(Bytes),
    /// This many events that the reader asked for are lost to it.
    Lagged(u64),
}

/// How a stream begins: frames to send before the live ones.
pub struct Opening {
    pub frames: Vec<Bytes>,
    pub reader: Reader,
}

/// Too many streams; try again when one ends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many event streams: {READERS_MAX} are open")]
pub struct TooManyReaders;

struct Listener {
    id: u64,
    filter: Filter,
    queue: mpsc::Sender<Item>,
    missed: Arc<AtomicU64>,
}

struct Inner {
    last_seq: u64,
    ring: VecDeque<Arc<Frame>>,
    lines: VecDeque<Arc<Frame>>,
    picture: BTreeMap<Key, Arc<Frame>>,
    elections_ended: u64,
    listeners: Vec<Listener>,
    next_listener: u64,
    /// Of each agent whose events are relayed: its boot, and the last event of each kind.
    relayed: BTreeMap<String, (String, BTreeMap<&'static str, u64>)>,
}

/// The stream's source; clones speak of the same one.
#[derive(Clone)]
pub struct Bus {
    node: Arc<str>,
    boot: Arc<str>,
    inner: Arc<Mutex<Inner>>,
    lost: Arc<AtomicU64>,
    log_level: Arc<LogLevel>,
    /// How many read what other agents see.
    readers: watch::Sender<usize>,
}

/// The most talkative level that any reader of log lines wants; the pump follows it.
#[derive(Default)]
struct LogLevel {
    wanted: [AtomicUsize; 5],
    changed: Notify,
}

impl Bus {
    /// `boot` names this run of the process: random, hexadecimal.
    pub fn new(node: &str, boot: &str) -> Self {
        let inner = Inner {
            last_seq: 0,
            ring: VecDeque::new(),
            lines: VecDeque::new(),
            picture: BTreeMap::new(),
            elections_ended: 0,
            listeners: Vec::new(),
            next_listener: 0,
            relayed: BTreeMap::new(),
        };
        Self {
            node: node.into(),
            boot: boot.into(),
            inner: Arc::new(Mutex::new(inner)),
            lost: Arc::new(AtomicU64::new(0)),
            log_level: Arc::new(LogLevel::default()),
            readers: watch::Sender::new(0),
        }
    }

    /// How many streams are open that tell of all agents; those of other servers do not count.
    pub fn followed(&self) -> watch::Receiver<usize> {
        self.readers.subscribe()
    }

    /// Events lost to readers that could not keep up, since the start.
    pub fn lost_total(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Streams that are open now.
    pub fn readers(&self) -> usize {
        self.lock().listeners.len()
    }

    /// Gives the event its number, keeps it, and hands it to every reader that wants it. Never waits.
    pub fn publish(&self, at: WallTime, body: Body) {
        let mut inner = self.lock();
        let seq = inner.last_seq + 1;
        let origin = Origin { node: self.node.to_string(), boot: self.boot.to_string(), seq };
        let node = translate::node(&body).unwrap_or_else(|| self.node.to_string());
        self.put(&mut inner, &Seen { origin, at, node }, body);
    }

    /// An event that another agent saw first. It keeps its origin, and is taken once.
    pub fn relay(&self, event: Event) {
        let Event { origin, time, node, body, .. } = event;
        let mut inner = self.lock();
        if *origin.node != *self.node && inner.is_news(&origin, body.kind()) {
            self.put(&mut inner, &Seen { origin, at: time, node }, body);
        }
    }

    /// What the picture tells of the Raft of agents that are not `there` any more is void.
    pub fn forget(&self, there: impl Fn(&str) -> bool) {
        self.lock().picture.retain(|key, _| !matches!(key, Key::RaftOf(node) if !there(node)));
    }

    fn put(&self, inner: &mut Inner, seen: &Seen, body: Body) {
        inner.last_seq += 1;
        let seq = inner.last_seq;
        let relayed = seen.origin.boot != *self.boot;
        let change = translate::change(&body, relayed.then_some(seen.origin.node.as_str()));
        let frame = self.frame(seq, seen, body);
        match change {
            Change::None => {}
            Change::Set(key, body) => {
                let state = self.frame(seq, seen, body);
                inner.picture.insert(key, state);
            }
            Change::Remove(key) => {
                inner.picture.remove(&key);
            }
            Change::Ended(body) => inner.remember_election(self.frame(seq, seen, body)),
        }
        let (kept, limit) = match frame.level {
            Some(_) => (&mut inner.lines, LINES),
            None => (&mut inner.ring, RING),
        };
        if kept.len() == limit {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&frame));
        for listener in inner.listeners.iter().filter(|l| l.filter.wants(&frame)) {
            if !listener.offer(&frame) {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Opens a stream. Without `since` it begins with the picture; with it, with what happened since,
    /// or, when that is not all here any more, with `reset` and the picture.
    pub fn open(&self, filter: Filter, since: Option<&EventId>) -> Result<Opening, TooManyReaders> {
        let mut inner = self.lock();
        if inner.listeners.len() >= READERS_MAX {
            return Err(TooManyReaders);
        }
        let frames = match since {
            None => self.picture(&inner, &filter),
            Some(id) => match self.resume(&inner, &filter, id) {
                Ok(frames) => frames,
                Err(reason) => {
                    // `<boot>-0`: a reader that is cut off before the picture's end starts over.
                    let mut frames =
                        vec![self.framing(RESET, 0, &Framing { reason: Some(reason), ..Framing::default() })];
                    frames.extend(self.picture(&inner, &filter));
                    frames
                }
            },
        };
        let (tx, rx) = mpsc::channel(READER_QUEUE);
        let missed = Arc::new(AtomicU64::new(0));
        let id = inner.next_listener;
        inner.next_listener += 1;
        let log_level = filter.kinds.contains("log").then_some(filter.level);
        let counts = !filter.own;
        inner.listeners.push(Listener { id, filter, queue: tx, missed: Arc::clone(&missed) });
        drop(inner);
        if let Some(level) = log_level {
            self.log_level.wanted[level as usize].fetch_add(1, Ordering::Relaxed);
            self.log_level.changed.notify_one();
        }
        if counts {
            self.readers.send_modify(|readers| *readers += 1);
        }
        Ok(Opening { frames, reader: Reader { bus: self.clone(), id, queue: rx, missed, log_level, counts } })
    }

    /// The level of log lines that the pump should follow: the lowest wanted, `INFO` at least.
    pub fn log_level(&self) -> Level {
        let lowest = [Level::Trace, Level::Debug]
            .into_iter()
            .find(|level| self.log_level.wanted[*level as usize].load(Ordering::Relaxed) > 0);
        lowest.unwrap_or(Level::Info)
    }

    /// Returns when [`Bus::log_level`] may have changed.
    pub async fn log_level_changed(&self) {
        self.log_level.changed.notified().await;
    }

    /// The text of a `lagged` frame.
    pub fn lagged(&self, missed: u64) -> Bytes {
        let last = self.lock().last_seq;
        self.framing(LAGGED, last, &Framing { missed: Some(missed), ..Framing::default() })
    }

    fn picture(&self, inner: &Inner, filter: &Filter) -> Vec<Bytes> {
        // In the order of their numbers, so that a reader cut off in the middle can resume from the last.
        let mut frames: Vec<_> = inner.picture.values().filter(|f| filter.wants(f)).collect();
        frames.sort_by_key(|frame| frame.seq);
        let mut texts: Vec<_> = frames.into_iter().map(|frame| frame.text.clone()).collect();
        texts.push(self.framing(SNAPSHOT_END, inner.last_seq, &Framing::default()));
        texts
    }

    fn resume(&self, inner: &Inner, filter: &Filter, since: &EventId) -> Result<Vec<Bytes>, String> {
        if since.boot != *self.boot {
            return Err("this agent was restarted, or it is another one".to_owned());
        }
        if since.seq > inner.last_seq {
            return Err("that event has not happened yet".to_owned());
        }
        let whole = |kept: &VecDeque<Arc<Frame>>, limit| {
            kept.len() < limit || kept.front().is_none_or(|oldest| oldest.seq <= since.seq.saturating_add(1))
        };
        if !whole(&inner.ring, RING) || (filter.kinds.contains("log") && !whole(&inner.lines, LINES)) {
            return Err("what happened since is no longer kept".to_owned());
        }
        let mut frames: Vec<_> =
            inner.ring.iter().chain(&inner.lines).filter(|f| f.seq > since.seq && filter.wants(f)).collect();
        frames.sort_by_key(|frame| frame.seq);
        Ok(frames.into_iter().map(|frame| frame.text.clone()).collect())
    }

    fn frame(&self, seq: u64, seen: &Seen, body: Body) -> Arc<Frame> {
        let id = EventId { boot: self.boot.to_string(), seq };
        let relayed = seen.origin.boot != *self.boot;
        let kind = body.kind();
        let level = match &body {
            Body::Log(LogEvent::Line { level, .. }) => Some(*level),
            _ => None,
        };
        let event = Event { id, origin: seen.origin.clone(), time: seen.at, node: seen.node.clone(), body };
        // Events are maps with text keys and plain values: there is nothing serde_json could refuse.
        let data = serde_json::to_string(&event).unwrap_or_default();
        let text = Bytes::from(format!("id: {}\nevent: {kind}\ndata: {data}\n\n", event.id));
        Arc::new(Frame { seq, kind, node: event.node, level, relayed, text })
    }

    fn framing(&self, name: &str, seq: u64, data: &Framing) -> Bytes {
        let data = serde_json::to_string(data).unwrap_or_default();
        Bytes::from(format!("id: {}-{seq}\nevent: {name}\ndata: {data}\n\n", self.boot))
    }

    /// Poisoning only says that a publisher panicked between two whole states.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Whether that event of another agent has not been taken yet. Each agent tells its own in order.
    fn is_news(&mut self, origin: &Origin, kind: &'static str) -> bool {
        if self.relayed.len() >= ORIGINS_MAX && !self.relayed.contains_key(&origin.node) {
            self.relayed.clear();
        }
        let (boot, taken) = self.relayed.entry(origin.node.clone()).or_default();
        if *boot != origin.boot {
            boot.clone_from(&origin.boot);
            taken.clear();
        }
        let last = taken.entry(kind).or_insert(0);
        let news = origin.seq > *last;
        *last = origin.seq.max(*last);
        news
    }

    fn remember_election(&mut self, frame: Arc<Frame>) {
        self.picture.insert(Key::Election(self.elections_ended), frame);
        self.elections_ended += 1;
        if let Some(old) = self.elections_ended.checked_sub(ELECTIONS as u64 + 1) {
            self.picture.remove(&Key::Election(old));
        }
    }
}

impl Listener {
    /// False when the queue is full and the event is lost to this reader.
    fn offer(&self, frame: &Frame) -> bool {
        // What was missed is told before what comes after it.
        let missed = self.missed.swap(0, Ordering::Relaxed);
        let told = missed == 0 || self.queue.try_send(Item::Lagged(missed)).is_ok();
        if told && self.queue.try_send(Item::Frame(frame.text.clone())).is_ok() {
            return true;
        }
        self.missed.fetch_add(if told { 1 } else { missed + 1 }, Ordering::Relaxed);
        false
    }
}

/// One open stream. Dropping it ends it.
pub struct Reader {
    bus: Bus,
    id: u64,
    queue: mpsc::Receiver<Item>,
    missed: Arc<AtomicU64>,
    log_level: Option<Level>,
    /// It is one of [`Bus::followed`].
    counts: bool,
}

impl Reader {
    /// The next thing to send. Cancel-safe.
    pub async fn next(&mut self) -> Option<Item> {
        if self.queue.is_empty() {
            let missed = self.missed.swap(0, Ordering::Relaxed);
            if missed > 0 {
                return Some(Item::Lagged(missed));
            }
        }
        self.queue.recv().await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.bus.lock().listeners.retain(|listener| listener.id != self.id);
        if self.counts {
            self.bus.readers.send_modify(|readers| *readers -= 1);
        }
        if let Some(level) = self.log_level {
            self.bus.log_level.wanted[level as usize].fetch_sub(1, Ordering::Relaxed);
            self.bus.log_level.changed.notify_one();
        }
    }
}

#[cfg(test)]
#[path = "bus_tests.rs"]
mod tests;
