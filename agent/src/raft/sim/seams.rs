//! Where the code of this room meets a simulation: the few calls that it makes under `cfg(test)`.
//! Each asks first whether there is one on this thread; a simulation never leaves its thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

use super::disk::held;
use super::judge::Judge;
use crate::clock;
use crate::raft::types::{LogId, Payload, shown};
use crate::store::Store;
use crate::store::command::{Command, Outcome};
use crate::tasks::Tasks;

/// How long work off the serving threads takes at most.
const BLOCKING_MS_MAX: u64 = 5;
const SYNC_MS_MAX: u64 = 2;

/// The simulation of this thread.
struct Here {
    tasks: Tasks,
    dice: SmallRng,
    judge: Arc<Mutex<Judge>>,
    /// Machines whose disks are slow: the longest sync, in milliseconds.
    slow: BTreeMap<String, u64>,
}

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

/// From here on this thread simulates, until what this returns is dropped. Inside a runtime whose clock
/// is paused.
pub(crate) fn begin(seed: u64, tasks: &Tasks, judge: &Arc<Mutex<Judge>>) -> Begun {
    clock::simulate(true);
    let dice = SmallRng::seed_from_u64(seed);
    let here = Here { tasks: tasks.clone(), dice, judge: Arc::clone(judge), slow: BTreeMap::new() };
    HERE.set(Some(here));
    Begun
}

pub(crate) struct Begun;

impl Drop for Begun {
    fn drop(&mut self) {
        HERE.set(None);
        clock::simulate(false);
    }
}

fn with<T>(act: impl FnOnce(&mut Here) -> T) -> Option<T> {
    HERE.with_borrow_mut(|here| here.as_mut().map(act))
}

pub(crate) fn is_here() -> bool {
    HERE.with_borrow(Option::is_some)
}

/// What openraft's dice are thrown with.
pub(crate) fn seed() -> Option<u64> {
    with(|here| here.dice.next_u64())
}

pub(crate) fn spawn(name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
    if let Some(tasks) = with(|here| here.tasks.clone()) {
        tasks.spawn(name, task);
    }
}

/// The work at one moment, some time from now.
pub(crate) async fn blocking<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let takes = with(|here| here.dice.random_range(0..=BLOCKING_MS_MAX)).unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(takes)).await;
    work()
}

fn machine(place: &str) -> &str {
    place.split('.').next().unwrap_or(place)
}

pub(crate) fn sync_takes(place: &str) -> Duration {
    let takes = with(|here| {
        let most = here.slow.get(machine(place)).copied().unwrap_or(SYNC_MS_MAX);
        here.dice.random_range(0..=most)
    });
    Duration::from_millis(takes.unwrap_or_default())
}

pub(crate) fn slow(machine: &str, most_ms: Option<u64>) {
    with(|here| match most_ms {
        Some(most) => drop(here.slow.insert(machine.to_owned(), most)),
        None => drop(here.slow.remove(machine)),
    });
}

/// The judge; with no borrow held, so that it may take its time.
fn judge() -> Option<Arc<Mutex<Judge>>> {
    with(|here| Arc::clone(&here.judge))
}

/// What the judge will be shown of an entry that is applied now.
pub(crate) fn command(payload: &Payload) -> Option<Command> {
    match payload {
        Payload::Normal(proposal) if is_here() => Some(proposal.command.clone()),
        _ => None,
    }
}

pub(crate) fn applied(place: &str, id: LogId, command: Option<&Command>, outcome: &Outcome, store: &Store) {
    if let Some(judge) = judge() {
        held(&judge).applied(place, id.leader_id.term, shown(id.index), command, outcome, store);
    }
}

pub(crate) fn installed(place: &str, last: Option<LogId>, store: &Store) {
    if let Some(judge) = judge() {
        held(&judge).installed(place, last.map_or(0, |id| shown(id.index)), store);
    }
}
