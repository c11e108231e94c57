//! Counts and times of the agent: every room reports with the `metrics` macros, this recorder keeps
//! them in intervals of ten seconds as Consul's does, and `/v1/agent/metrics` asks for the picture.
//! Names are Consul's (`consul.…`) where the meaning is, ours are `quorate.…`. Knows nothing of HTTP.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use crate::clock;
use crate::moment::{Moment, WallTime};

/// How long one interval is.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// Series there may be; more than that are dropped and counted.
const SERIES: usize = 4096;

/// What has been reported in this process; clones speak of the same.
#[derive(Clone, Default)]
pub struct Telemetry(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    gauges: BTreeMap<Id, Arc<Level>>,
    counters: BTreeMap<Id, Arc<Sampled>>,
    samples: BTreeMap<Id, Arc<Sampled>>,
    dropped: u64,
}

/// Name and labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    pub name: String,
    pub labels: BTreeMap<String, String>,
}

impl Id {
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), labels: BTreeMap::new() }
    }
}

impl From<&Key> for Id {
    fn from(key: &Key) -> Self {
        let labels = key.labels().map(|label| (label.key().to_owned(), label.value().to_owned())).collect();
        Self { name: key.name().to_owned(), labels }
    }
}

/// Everything as it is now.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// When the interval began that counters and samples speak of.
    pub start: WallTime,
    pub gauges: Vec<(Id, f64)>,
    pub counters: Vec<(Id, Summary)>,
    pub samples: Vec<(Id, Summary)>,
}

/// What came in during one interval, and since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Summary {
    pub count: u64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    pub squares: f64,
    pub total_count: u64,
    pub total_sum: f64,
}

impl Summary {
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }

    pub fn deviation(&self) -> f64 {
        let count = self.count as f64;
        let pairs = count * (count - 1.0);
        if pairs == 0.0 { 0.0 } else { ((count * self.squares - self.sum * self.sum).max(0.0) / pairs).sqrt() }
    }

    /// The sum per second.
    pub fn rate(&self) -> f64 {
        self.sum / INTERVAL.as_secs_f64()
    }

    fn add(&mut self, value: f64, times: u64) {
        let is_first = self.count == 0;
        self.min = if is_first { value } else { self.min.min(value) };
        self.max = if is_first { value } else { self.max.max(value) };
        self.count += times;
        self.sum += value * times as f64;
        self.squares += value * value * times as f64;
    }
}

impl Telemetry {
    /// Becomes the recorder of this process; a second call gives the first one's.
    pub fn install() -> Self {
        static INSTALLED: OnceLock<Telemetry> = OnceLock::new();
        INSTALLED
            .get_or_init(|| {
                let telemetry = Self::default();
                // Fails only when a test installed another one, which then sees what is reported.
                let _ = metrics::set_global_recorder(telemetry.clone());
                telemetry
            })
            .clone()
    }

    /// Counters and samples of the last whole interval; of the running one in the first ten seconds.
    pub fn picture(&self) -> Picture {
        let now = clock::now();
        let running = interval(now);
        let into = now.micros() % micros(INTERVAL);
        let back = if running == 0 { into } else { into + micros(INTERVAL) };
        let wanted = running.saturating_sub(1);
        let table = self.table();
        let sampled = |all: &BTreeMap<Id, Arc<Sampled>>| -> Vec<(Id, Summary)> {
            all.iter().filter_map(|(id, sampled)| Some((id.clone(), sampled.of(wanted, running)?))).collect()
        };
        let mut gauges: Vec<_> = table.gauges.iter().map(|(id, level)| (id.clone(), level.get())).collect();
        gauges.push((Id::named("quorate.telemetry.dropped_series"), table.dropped as f64));
        Picture {
            start: WallTime::from_micros(clock::wall().micros() - i64::try_from(back).unwrap_or(0)),
            gauges,
            counters: sampled(&table.counters),
            samples: sampled(&table.samples),
        }
    }

    /// Poisoning only says that a reporting thread panicked; the table stays whole.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn interval(now: Moment) -> u64 {
    now.micros() / micros(INTERVAL)
}

/// The series of that name, made when it is new; none when there are too many.
fn entry<T: Default>(series: &mut BTreeMap<Id, Arc<T>>, others: usize, key: &Key) -> Option<Arc<T>> {
    let id = Id::from(key);
    if let Some(found) = series.get(&id) {
        return Some(Arc::clone(found));
    }
    if series.len() + others >= SERIES {
        return None;
    }
    Some(Arc::clone(series.entry(id).or_default()))
}

impl Recorder for Telemetry {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut table = self.table();
        let others = table.gauges.len() + table.samples.len();
        let found = entry(&mut table.counters, others, key);
        table.dropped += u64::from(found.is_none());
        found.map_or_else(Counter::noop, Counter::from_arc)
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let mut table = self.table();
        let others = table.counters.len() + table.samples.len();
        let found = entry(&mut table.gauges, others, key);
        table.dropped += u64::from(found.is_none());
        found.map_or_else(Gauge::noop, Gauge::from_arc)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let mut table = self.table();
        let others = table.counters.len() + table.gauges.len();
        let found = entry(&mut table.samples, others, key);
        table.dropped += u64::from(found.is_none());
        found.map_or_else(Histogram::noop, Histogram::from_arc)
    }
}

/// A value that goes up and down.
#[derive(Default)]
struct Level(AtomicU64);

impl Level {
    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }

    fn change(&self, change: impl Fn(f64) -> f64) {
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| Some(change(f64::from_bits(bits)).to_bits()));
    }
}

impl GaugeFn for Level {
    fn increment(&self, value: f64) {
        self.change(|was| was + value);
    }

    fn decrement(&self, value: f64) {
        self.change(|was| was - value);
    }

    fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }
}

/// What came in during the running interval and the one before it.
#[derive(Default)]
struct Sampled(Mutex<Intervals>);

#[derive(Default)]
struct Intervals {
    running: u64,
    now: Summary,
    /// Of interval `running - 1`.
    last: Summary,
    total_count: u64,
    total_sum: f64,
}

impl Intervals {
    fn turn(&mut self, interval: u64) {
        if interval > self.running {
            self.last = if interval == self.running + 1 { self.now } else { Summary::default() };
            self.now = Summary::default();
            self.running = interval;
        }
    }
}

impl Sampled {
    fn add(&self, value: f64, times: u64) {
        let interval = interval(clock::now());
        let mut intervals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        intervals.turn(interval);
        intervals.now.add(value, times);
        intervals.total_count += times;
        intervals.total_sum += value * times as f64;
    }

    fn of(&self, wanted: u64, running: u64) -> Option<Summary> {
        let mut intervals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        intervals.turn(running);
        let chosen = if wanted == intervals.running { intervals.now } else { intervals.last };
        let summary = Summary { total_count: intervals.total_count, total_sum: intervals.total_sum, ..chosen };
        (summary.total_count > 0).then_some(summary)
    }
}

impl CounterFn for Sampled {
    fn increment(&self, value: u64) {
        self.add(value as f64, 1);
    }

    /// A total counted elsewhere: what it grew by is what came in.
    fn absolute(&self, value: u64) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).total_sum;
        if value as f64 > known {
            self.add(value as f64 - known, 1);
        }
    }
}

impl HistogramFn for Sampled {
    fn record(&self, value: f64) {
        self.add(value, 1);
    }

    fn record_many(&self, value: f64, count: usize) {
        self.add(value, count as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(telemetry: &Telemetry, report: impl FnOnce()) -> Picture {
        metrics::with_local_recorder(telemetry, report);
        telemetry.picture()
    }

    #[test]
    fn what_is_reported_is_in_the_picture() {
        let picture = report(&Telemetry::default(), || {
            metrics::counter!("c", "kind" => "x").increment(2);
            metrics::counter!("c", "kind" => "x").increment(4);
            metrics::gauge!("g").set(1.5);
            metrics::histogram!("h").record(3.0);
        });
        assert_eq!(picture.gauges[0], (Id::named("g"), 1.5));
        let (id, counter) = &picture.counters[0];
        assert_eq!(id.labels["kind"], "x");
        assert_eq!((counter.total_count, counter.total_sum), (2, 6.0));
        assert_eq!(picture.samples[0].1.total_sum, 3.0);
    }

    #[test]
    fn a_summary_has_mean_and_deviation() {
        let mut summary = Summary::default();
        for value in [2.0, 4.0, 4.0, 6.0] {
            summary.add(value, 1);
        }
        assert_eq!((summary.mean(), summary.min, summary.max, summary.rate()), (4.0, 2.0, 6.0, 1.6));
        assert!((summary.deviation() - 1.632_993).abs() < 1e-6);
    }

    #[test]
    fn an_interval_ends_and_is_then_the_last_one() {
        let mut intervals = Intervals::default();
        intervals.now.add(1.0, 1);
        intervals.turn(1);
        assert_eq!((intervals.last.count, intervals.now.count), (1, 0));
        intervals.now.add(1.0, 2);
        intervals.turn(3);
        assert_eq!((intervals.last.count, intervals.now.count), (0, 0));
    }

    #[test]
    fn more_series_than_the_limit_are_dropped_and_counted() {
        let picture = report(&Telemetry::default(), || {
            for at in 0..SERIES + 3 {
                metrics::gauge!(format!("g{at}")).set(1.0);
            }
        });
        let dropped = picture.gauges.iter().find(|(id, _)| id.name == "quorate.telemetry.dropped_series");
        assert_eq!(dropped.map(|(_, value)| *value), Some(3.0));
    }
}
