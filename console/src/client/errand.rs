//! Orders carried out, places looked at and files written, each in a task of its own beside the lanes: the
//! only requests of this console that change a cluster. How long each may take, and how many at once.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use serde_json::Value;
use shared::api::query;
use shared::http::{self, Settings};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::connect::trouble_of;
use super::policies;
use super::poll::identity_of;
use super::wire::DEADLINE;
use crate::clock;
use crate::msg::{LaneId, Msg, OwnAgent, Place, Trouble};
use crate::order::{Method, Order, Outcome, Probe, Seen};

/// A join tries several addresses, a leave tells the pool before it answers.
const ORDER: Duration = Duration::from_secs(30);
/// Orders on their way at once; one more is refused here.
const ORDERS_MAX: usize = 16;
/// Before an address that is being typed is looked at.
const TYPING: Duration = Duration::from_millis(250);
/// Files of one name, each with a number of its own.
const FILES_MAX: u32 = 100;
/// Of an answer's text; an operator reads a few lines.
const TEXT_MAX: usize = 1_000;

#[derive(Debug)]
pub(super) struct Errands {
    places: Vec<Settings>,
    out: mpsc::Sender<Msg>,
    tasks: JoinSet<()>,
    looking: Option<AbortHandle>,
    /// Whose checks are asked about, and the task that does.
    policies: Option<(OwnAgent, AbortHandle)>,
}

impl Errands {
    pub(super) fn new(places: &[Settings], out: &mpsc::Sender<Msg>) -> Self {
        Self { places: places.to_vec(), out: out.clone(), tasks: JoinSet::new(), looking: None, policies: None }
    }

    fn settings(&self, lane: LaneId, address: Option<&str>) -> Option<Settings> {
        let settings = self.places.get(usize::from(lane.0))?.clone();
        Some(match address {
            Some(address) => Settings { address: address.to_owned(), ..settings },
            None => settings,
        })
    }

    pub(super) fn order(&mut self, id: u64, to: &Place, order: Order) {
        while self.tasks.try_join_next().is_some() {}
        let (settings, out) = (self.settings(to.lane, to.address.as_deref()), self.out.clone());
        let is_full = self.tasks.len() >= ORDERS_MAX;
        self.tasks.spawn(async move {
            let begun = clock::now();
            let outcome = match settings {
                _ if is_full => refused(format!("{ORDERS_MAX} orders are on their way already")),
                Some(settings) => carry_out(&settings, &order).await,
                None => refused("there is no such agent".to_owned()),
            };
            let at = clock::now();
            let _ = out.send(Msg::Ordered { id, at, took_us: at.micros_since(begun), outcome }).await;
        });
    }

    pub(super) fn save(&mut self, name: String, text: String) {
        while self.tasks.try_join_next().is_some() {}
        let out = self.out.clone();
        self.tasks.spawn(async move {
            let written = tokio::task::spawn_blocking(move || write_new(&name, &text)).await;
            let done = written.unwrap_or_else(|error| Err(error.to_string()));
            let _ = out.send(Msg::Saved { at: clock::now(), done }).await;
        });
    }

    pub(super) fn probe(&mut self, lane: LaneId, probe: Probe) {
        if let Some(before) = self.looking.take() {
            before.abort();
        }
        while self.tasks.try_join_next().is_some() {}
        let address = match &probe {
            Probe::Gossip { .. } => None,
            Probe::Agent { address } => Some(address.clone()),
        };
        let (settings, out) = (self.settings(lane, address.as_deref()), self.out.clone());
        self.looking = Some(self.tasks.spawn(async move {
            tokio::time::sleep(TYPING).await;
            let seen = match &probe {
                Probe::Gossip { address } => listens(address).await,
                Probe::Agent { .. } => who(settings).await,
            };
            let _ = out.send(Msg::Probed { at: clock::now(), probe, seen }).await;
        }));
    }
}

impl Errands {
    /// Asks this agent from now on how its checks work, and no other one.
    pub(super) fn ask_own(&mut self, agent: Option<&OwnAgent>) {
        if self.policies.as_ref().map(|(agent, _)| agent) == agent {
            return;
        }
        if let Some((_, task)) = self.policies.take() {
            task.abort();
        }
        while self.tasks.try_join_next().is_some() {}
        let Some(agent) = agent else { return };
        let Some(settings) = self.settings(agent.place.lane, agent.place.address.as_deref()) else { return };
        let task = policies::follow(settings, agent.place.lane, agent.node.clone(), self.out.clone());
        self.policies = Some((agent.clone(), self.tasks.spawn(task)));
    }
}

/// Beside what was saved before, never over it.
fn write_new(name: &str, text: &str) -> Result<String, String> {
    let place = std::env::current_dir().unwrap_or_default();
    for number in 0..FILES_MAX {
        let name = if number == 0 { name.to_owned() } else { format!("{name}.{number}") };
        let path = place.join(&name);
        match File::options().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
                let shown = path.display();
                return match written {
                    Ok(()) => Ok(shown.to_string()),
                    Err(error) => Err(format!("{shown}: {}", http::system_text(&error))),
                };
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("{}: {}", path.display(), http::system_text(&error))),
        }
    }
    Err(format!("{FILES_MAX} files named {name} are in {} already", place.display()))
}

fn refused(why: String) -> Outcome {
    Outcome::Silent(Trouble::Other(why))
}

async fn carry_out(settings: &Settings, order: &Order) -> Outcome {
    let client = match http::Client::new(settings) {
        Ok(client) => client,
        Err(error) => return Outcome::Silent(trouble_of(&error)),
    };
    let (path, parameters) = order.request();
    let request = match order.method() {
        Method::Put => client.put(&path),
        Method::Post => client.post(&path),
        Method::Delete => client.delete(&path),
    };
    let mut request = request.within(ORDER);
    for (name, value) in parameters {
        request = request.query(name, value);
    }
    match request.send_any().await {
        Ok(answer) => {
            let status = answer.status();
            let warning = answer.header(query::WARNING).map(str::to_owned);
            let text: String = answer.text().await.unwrap_or_default().chars().take(TEXT_MAX).collect();
            Outcome::Answered { status, text, warning }
        }
        Err(error) => Outcome::Silent(trouble_of(&error)),
    }
}

/// Whether somebody takes a connection there, as seen from this console.
async fn listens(address: &str) -> Seen {
    let begun = clock::now();
    match timeout(DEADLINE, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => {
            let took_us = clock::now().micros_since(begun);
            let address = stream.peer_addr().map_or_else(|_| address.to_owned(), |peer| peer.to_string());
            Seen::Accepts { address, took_us }
        }
        Ok(Err(error)) => Seen::Away(match error.kind() {
            std::io::ErrorKind::ConnectionRefused => Trouble::Refused,
            std::io::ErrorKind::InvalidInput => Trouble::Other("is no address: host, or host:port".to_owned()),
            _ if error.raw_os_error().is_none() => Trouble::Unresolved,
            _ => Trouble::Unreachable(http::system_text(&error)),
        }),
        Err(_) => Seen::Away(Trouble::TimedOut),
    }
}

/// Whose agent answers there.
async fn who(settings: Option<Settings>) -> Seen {
    let client = match settings.map(|settings| http::Client::new(&settings)) {
        Some(Ok(client)) => client,
        Some(Err(error)) => return Seen::Away(trouble_of(&error)),
        None => return Seen::Away(Trouble::Other("there is no such agent".to_owned())),
    };
    match client.get("/v1/agent/self").within(DEADLINE).json::<Value>().await {
        Ok(own) => match identity_of(&own) {
            Some(identity) => Seen::Agent(identity),
            None => Seen::Away(Trouble::NotAnAgent("/v1/agent/self names no datacenter".to_owned())),
        },
        Err(error) => Seen::Away(trouble_of(&error)),
    }
}
