//! The agent's log: Consul's line format on standard output, and subscribers at levels of their own
//! (`/v1/agent/monitor`, the event pump). Every room logs through `tracing` with a target that is the
//! logger's name (`agent.server.raft`); targets outside `agent` are not ours and are dropped.
//! Lines are held back until the banner is out ([`Logs::open_gate`]).

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::tz::TimeZone;
use shared::event::Level;
use tokio::sync::mpsc;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

use crate::clock;
use crate::moment::WallTime;

/// Lines held back before the gate opens; the oldest go first.
const HELD_LINES_MAX: usize = 1_024;
/// Lines one subscriber may be behind before it loses some.
const SUBSCRIBER_QUEUE: usize = 1_024;

/// One line of the log; `Display` is Consul's form of it, without the line's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub at: WallTime,
    pub level: Level,
    /// `agent.server.raft`
    pub logger: String,
    /// The message and its `key=value` fields.
    pub message: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Trace => "[TRACE]",
            Level::Debug => "[DEBUG]",
            Level::Info => "[INFO]",
            Level::Warn => "[WARN]",
            Level::Error => "[ERROR]",
        };
        write!(f, "{} {level:<8}{}: {}", local_time(self.at), self.logger, self.message)
    }
}

/// `2006-01-02T15:04:05.000Z0700` of Go: local time, `Z` in UTC.
fn local_time(at: WallTime) -> String {
    static ZONE: std::sync::OnceLock<TimeZone> = std::sync::OnceLock::new();
    let zone = ZONE.get_or_init(TimeZone::system);
    let stamp = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let zoned = stamp.to_zoned(zone.clone());
    if zoned.offset().is_zero() {
        zoned.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    } else {
        zoned.strftime("%Y-%m-%dT%H:%M:%S%.3f%z").to_string()
    }
}

struct Listener {
    level: Arc<AtomicU8>,
    queue: mpsc::Sender<Arc<Line>>,
    dropped: Arc<AtomicU64>,
}

struct Inner {
    stdout: AtomicU8,
    /// The most talkative level anyone wants; decides whether a line is made at all.
    widest: AtomicU8,
    listeners: Mutex<Vec<Listener>>,
    /// Some while the gate is closed.
    held: Mutex<Option<VecDeque<String>>>,
}

/// The log of this process; clones speak of the same one.
#[derive(Clone)]
pub struct Logs {
    inner: Arc<Inner>,
}

/// A live tail of the log. Dropping it ends it.
pub struct Subscription {
    level: Arc<AtomicU8>,
    queue: mpsc::Receiver<Arc<Line>>,
    dropped: Arc<AtomicU64>,
    logs: Logs,
}

impl Logs {
    /// Becomes the log of the process: call once, before anything logs. The gate is closed.
    /// False when the process has a log already (tests with several agents in one process).
    pub fn install(level: Level) -> (Self, bool) {
        let logs = Self::detached(level);
        let first = tracing::subscriber::set_global_default(Registry::default().with(logs.layer())).is_ok();
        (logs, first)
    }

    /// A log that is nobody's default, for tests.
    pub fn detached(level: Level) -> Self {
        let inner = Inner {
            stdout: AtomicU8::new(rank(level)),
            widest: AtomicU8::new(rank(level)),
            listeners: Mutex::new(Vec::new()),
            held: Mutex::new(Some(VecDeque::new())),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The `tracing` layer that feeds this log.
    pub fn layer<S: Subscriber>(&self) -> impl Layer<S> + use<S> {
        LogLayer { logs: self.clone() }
    }

    /// The level of standard output; a reload may change it.
    pub fn set_level(&self, level: Level) {
        self.inner.stdout.store(rank(level), Ordering::Relaxed);
        self.widen(&lock(&self.inner.listeners));
    }

    /// A bare line such as `==> Consul agent running!`, in order with the log.
    pub fn say(&self, text: &str) {
        self.write(text.to_owned());
    }

    /// A text ahead of the log, whether the gate is open or not: the banner.
    pub fn announce(&self, text: &str) {
        let _ = writeln!(std::io::stdout().lock(), "{text}");
    }

    /// Prints what was held back and from now on at once.
    pub fn open_gate(&self) {
        let held = lock(&self.inner.held).take().unwrap_or_default();
        let mut out = std::io::stdout().lock();
        for line in held {
            // A closed pipe must not stop an agent: the lines are lost, the agent lives.
            let _ = writeln!(out, "{line}");
        }
        let _ = out.flush();
    }

    /// Lines of `level` and above from now on. A subscriber that is [`SUBSCRIBER_QUEUE`] lines behind
    /// loses the newest, counted.
    pub fn subscribe(&self, level: Level) -> Subscription {
        let (tx, rx) = mpsc::channel(SUBSCRIBER_QUEUE);
        let level = Arc::new(AtomicU8::new(rank(level)));
        let dropped = Arc::new(AtomicU64::new(0));
        let mut listeners = lock(&self.inner.listeners);
        listeners.retain(|l| !l.queue.is_closed());
        listeners.push(Listener { level: Arc::clone(&level), queue: tx, dropped: Arc::clone(&dropped) });
        self.widen(&listeners);
        drop(listeners);
        Subscription { level, queue: rx, dropped, logs: self.clone() }
    }

    fn widen(&self, listeners: &[Listener]) {
        let stdout = self.inner.stdout.load(Ordering::Relaxed);
        let live = listeners.iter().filter(|l| !l.queue.is_closed());
        let widest = live.map(|l| l.level.load(Ordering::Relaxed)).min().unwrap_or(stdout).min(stdout);
        self.inner.widest.store(widest, Ordering::Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }

    fn write(&self, line: String) {
        if let Some(held) = lock(&self.inner.held).as_mut() {
            if held.len() == HELD_LINES_MAX {
                held.pop_front();
            }
            held.push_back(line);
            return;
        }
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }

    fn accept(&self, line: Line) {
        let line = Arc::new(line);
        let level = rank(line.level);
        if level >= self.inner.stdout.load(Ordering::Relaxed) {
            self.write(format!("    {line}"));
        }
        for listener in lock(&self.inner.listeners).iter() {
            if level >= listener.level.load(Ordering::Relaxed)
                && let Err(mpsc::error::TrySendError::Full(_)) = listener.queue.try_send(Arc::clone(&line))
            {
                listener.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Subscription {
    /// The next line; none once the log is gone.
    pub async fn next(&mut self) -> Option<Arc<Line>> {
        self.queue.recv().await
    }

    /// How many lines were lost since this was last asked.
    pub fn dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }

    /// Changes what is wanted from now on.
    pub fn set_level(&self, level: Level) {
        self.level.store(rank(level), Ordering::Relaxed);
        self.logs.widen(&lock(&self.logs.inner.listeners));
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.close();
        let mut listeners = lock(&self.logs.inner.listeners);
        listeners.retain(|l| !l.queue.is_closed());
        self.logs.widen(&listeners);
    }
}

/// Poisoning only says that a logging thread panicked; the lists stay whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn rank(level: Level) -> u8 {
    level as u8
}

fn level_of(metadata: &Metadata<'_>) -> Level {
    match *metadata.level() {
        tracing::Level::TRACE => Level::Trace,
        tracing::Level::DEBUG => Level::Debug,
        tracing::Level::INFO => Level::Info,
        tracing::Level::WARN => Level::Warn,
        tracing::Level::ERROR => Level::Error,
    }
}

struct LogLayer {
    logs: Logs,
}

impl LogLayer {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        is_ours(metadata) && rank(level_of(metadata)) >= self.logs.inner.widest.load(Ordering::Relaxed)
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    metadata.is_event() && (target == "agent" || target.starts_with("agent."))
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Libraries log thousands of lines that nobody may want: never asked again.
        if self.wants(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let message = match text.fields.is_empty() {
            true => text.message,
            false => format!("{}:{}", text.message, text.fields),
        };
        self.logs.accept(Line {
            at: clock::wall(),
            level: level_of(event.metadata()),
            logger: event.metadata().target().to_owned(),
            message,
        });
    }
}

/// Message and fields in Consul's notation: `message: key=value key="two words"`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn push(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            escape(value, &mut self.message);
            return;
        }
        let quoted = value.contains([' ', '\t', '\n', '\r']);
        let quote = if quoted { "\"" } else { "" };
        let _ = write!(self.fields, " {}={quote}", field.name());
        escape(value, &mut self.fields);
        self.fields.push_str(quote);
    }
}

/// Names and addresses come from strangers: control characters must not reach a terminal.
fn escape(value: &str, out: &mut String) {
    for c in value.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, &format!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.push(field, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(level: Level, log: impl FnOnce()) -> Vec<String> {
        let logs = Logs::detached(Level::Error);
        let mut tail = logs.subscribe(level);
        tracing::subscriber::with_default(Registry::default().with(logs.layer()), log);
        let mut seen = Vec::new();
        while let Ok(line) = tail.queue.try_recv() {
            seen.push(line.to_string().split_once(' ').expect("a time").1.to_owned());
        }
        seen
    }

    #[test]
    fn fields_follow_the_message_and_are_quoted_when_they_have_blanks() {
        let seen = lines(Level::Info, || {
            tracing::info!(target: "agent.server.raft", follower = %"Node at x [Follower]", leader = "", "entering follower state");
            tracing::warn!(target: "agent", "plain");
        });
        assert_eq!(
            seen,
            [
                "[INFO]  agent.server.raft: entering follower state: follower=\"Node at x [Follower]\" leader=",
                "[WARN]  agent: plain"
            ]
        );
    }

    #[test]
    fn other_crates_and_lower_levels_are_not_heard() {
        let seen = lines(Level::Info, || {
            tracing::info!("module path target");
            tracing::error!(target: "openraft", "not ours");
            tracing::debug!(target: "agent", "too quiet");
            tracing::info!(target: "agent", "heard");
        });
        assert_eq!(seen, ["[INFO]  agent: heard"]);
    }

    #[test]
    fn control_characters_are_escaped() {
        let seen = lines(Level::Info, || {
            tracing::info!(target: "agent", member = "a\u{1b}[2Jb\nc", "joined");
        });
        assert_eq!(seen, ["[INFO]  agent: joined: member=\"a\\u{1b}[2Jb\\nc\""]);
    }

    #[test]
    fn a_slow_subscriber_loses_lines_and_is_told_how_many() {
        let logs = Logs::detached(Level::Error);
        let tail = logs.subscribe(Level::Info);
        tracing::subscriber::with_default(Registry::default().with(logs.layer()), || {
            for _ in 0..SUBSCRIBER_QUEUE + 3 {
                tracing::info!(target: "agent", "again");
            }
        });
        assert_eq!((tail.dropped(), tail.dropped()), (3, 0));
    }
}
