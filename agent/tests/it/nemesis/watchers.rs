//! Those who only look: at each server one reads its event stream, for who leads, and one asks it to tell
//! of every change of the keys as it has them, for what goes back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::ask::ask;
use super::client::{Field, read};
use super::cluster::{Agent, Cluster};
use super::terms::Terms;
use super::versions::{Life, Versions};
use crate::support::Stream;

/// Before a server that does not answer is asked again.
const AGAIN: Duration = Duration::from_millis(50);
/// Of a blocking question, and how long its answer may take.
const WAIT: &str = "500ms";
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

#[derive(Default)]
pub(super) struct Seen {
    pub(super) terms: Mutex<Terms>,
    pub(super) versions: Mutex<Versions>,
    /// The watchers end with it.
    pub(super) stop: AtomicBool,
}

/// Ends what watches, whatever ends the test: the streams end with the agents.
pub(super) struct EndOfWatch<'a>(pub(super) &'a Seen, pub(super) &'a Cluster);

impl Drop for EndOfWatch<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
        self.1.kill_all();
    }
}

impl Seen {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    /// From the outside's namespace.
    pub(super) fn watch_leaders(&self, cluster: &Cluster, server: &Agent) {
        let names = cluster.servers().iter().map(|server| server.name.clone());
        let ids: BTreeMap<String, String> = names.zip(cluster.ids.iter().cloned()).collect();
        let address = server.address.to_string();
        while self.goes_on() {
            if let Ok((answer, mut stream)) = Stream::open(&address, "/v1/agent/events?kind=raft&kind=election", None)
                && answer.status == 200
            {
                while let Some((_, _, event)) = stream.next() {
                    self.terms.lock().unwrap_or_else(PoisonError::into_inner).see(&event, &ids);
                }
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// From the outside's namespace.
    pub(super) fn watch_keys(&self, server: &Agent, field: &Field) {
        let (mut life, mut lived, mut prefix, mut index) = (Life::default(), 0, String::new(), 0);
        while self.goes_on() {
            let lives = server.lives();
            if lives != lived || prefix != field.prefix() {
                index = 0;
                prefix = field.prefix();
                if lives != lived {
                    (life, lived) = (Life::default(), lives);
                }
            }
            let line = format!("GET /v1/kv/{prefix}?recurse&stale&wait={WAIT}&index={index}");
            let answer = ask(server.address, &line, "", ANSWER_WITHIN);
            let (Ok(answer), true) = (answer, server.lives() == lived) else {
                std::thread::sleep(AGAIN);
                continue;
            };
            if !matches!(answer.status, 200 | 404) {
                std::thread::sleep(AGAIN);
                continue;
            }
            let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
            index = answer.index().unwrap_or(0);
            versions.follow(&mut life, &format!("answers about {prefix}"), index, &server.name);
            for pair in answer.json().as_array().into_iter().flatten() {
                if let (Some(key), Some((value, index))) = (pair["Key"].as_str(), read(pair)) {
                    versions.see_in(&mut life, key, value, index, &server.name);
                }
            }
        }
    }
}
