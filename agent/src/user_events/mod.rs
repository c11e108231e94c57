//! Consul's user events: which of what the pool tells is one, whom it is meant for, and the last of
//! them. The root starts it; the API fires through it and lists. What is no event of Consul's is only
//! passed to the event stream. Knows no HTTP and no wire of serf's.

pub mod filter;
pub mod payload;

use std::collections::VecDeque;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shared::event::UserEvent as Told;
use tokio::sync::{mpsc, watch};

use self::filter::{BadFilter, Service};
use self::payload::Payload;
use crate::gossip::{Asked, FireError, Gossip, Heard, NEW_LEADER, UserEvent};
use crate::tasks::Tasks;

/// Events kept for the list, as many as Consul keeps.
const KEPT_MAX: usize = 256;
/// Consul's order to run a command everywhere, which nobody here obeys.
const REMOTE_EXEC: &str = "_rexec";

/// One event that was meant for this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub ltime: u64,
    pub what: Payload,
}

/// Oldest first.
pub type Events = Arc<VecDeque<Arc<Event>>>;

/// Why nothing was fired. Nobody was told anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("Cannot provide tag filter without service filter")]
    TagWithoutService,
    #[error("Invalid {which} filter: {0}", which = .0.which)]
    Filter(#[from] BadFilter),
    #[error("1 error occurred:\n\t* error broadcasting event to segment \"\": {0}\n\n")]
    Fire(#[from] FireError),
}

/// What the root knows.
pub struct Settings {
    pub node_name: String,
    /// Only the loggers' names differ.
    pub server: bool,
    /// What is registered with this agent now.
    pub services: Box<dyn Fn() -> Vec<Service> + Send>,
}

/// The last events, and the way to fire one; clones speak of the same.
#[derive(Clone)]
pub struct UserEvents {
    pool: Gossip,
    events: watch::Receiver<Events>,
}

impl UserEvents {
    /// Starts the task that sorts what `heard` brings; `told` gets all of it for the event stream.
    pub fn start(
        settings: Settings,
        pool: Gossip,
        heard: mpsc::Receiver<Heard>,
        told: mpsc::Sender<Told>,
        tasks: &Tasks,
    ) -> Self {
        let (kept, events) = watch::channel(Events::default());
        let token = tasks.token();
        let sorter = Sorter { settings, kept, told };
        tasks.spawn("user-events", async move {
            token.run_until_cancelled(sorter.run(heard)).await;
        });
        Self { pool, events }
    }

    /// Those meant for this node, as they come.
    pub fn events(&self) -> watch::Receiver<Events> {
        self.events.clone()
    }

    /// Checks an event, gives it its ID and version, and fires it.
    pub async fn fire(&self, mut event: Payload) -> Result<Payload, Error> {
        if !event.tag_filter.is_empty() && event.service_filter.is_empty() {
            return Err(Error::TagWithoutService);
        }
        let filters = [("node", &event.node_filter), ("service", &event.service_filter), ("tag", &event.tag_filter)];
        for (which, text) in filters {
            filter::compile(which, text)?;
        }
        event.id = uuid::Uuid::new_v4().to_string();
        event.version = payload::VERSION;
        self.pool.fire(payload::serf_name(&event.name), event.to_bytes()).await?;
        Ok(event)
    }
}

/// The task.
struct Sorter {
    settings: Settings,
    kept: watch::Sender<Events>,
    told: mpsc::Sender<Told>,
}

impl Sorter {
    async fn run(self, mut heard: mpsc::Receiver<Heard>) {
        while let Some(heard) = heard.recv().await {
            match heard {
                Heard::Event(event) => self.event(&event),
                Heard::Query(asked) => self.tell(to_query(&asked)),
            }
        }
    }

    fn event(&self, event: &UserEvent) {
        if event.name.as_ref() == NEW_LEADER && !self.settings.server {
            let payload = String::from_utf8_lossy(&event.payload);
            tracing::info!(target: "agent.client", payload = %payload, "New leader elected");
        }
        let Some(name) = payload::plain_name(&event.name) else { return self.tell(to_plain(event)) };
        match self.settings.server {
            true => tracing::debug!(target: "agent.server", event = %name, "User event"),
            false => tracing::debug!(target: "agent.client", event = %name, "User event"),
        }
        let Ok(what) = Payload::read(&event.payload) else {
            tracing::error!(target: "agent", event_name = %name, "Failed to decode event");
            return self.tell(to_plain(event));
        };
        let meant = self.is_meant(&what);
        self.tell(to_told(event.ltime, &what, meant));
        if meant {
            self.keep(event.ltime, what);
        }
    }

    fn is_meant(&self, event: &Payload) -> bool {
        let (name, version) = (&event.name, event.version);
        if version > payload::VERSION {
            tracing::warn!(target: "agent", event_name = %name, version, "Event version may have unsupported features");
        }
        match filter::is_meant(event, &self.settings.node_name, &(self.settings.services)()) {
            Ok(meant) => meant,
            Err(BadFilter { which, filter, reason }) => {
                tracing::error!(target: "agent", filter = %filter, event_name = %name, error = %reason,
                    "Failed to parse {which} filter for event");
                false
            }
        }
    }

    fn keep(&self, ltime: u64, what: Payload) {
        let (event_name, event_id) = (what.name.clone(), what.id.clone());
        if what.name == REMOTE_EXEC {
            tracing::info!(target: "agent", event_name = %event_name, event_id = %event_id,
                "ignoring remote exec event, disabled.");
            return;
        }
        tracing::debug!(target: "agent", event_name = %event_name, event_id = %event_id, "new event");
        self.kept.send_modify(|events| {
            let events = Arc::make_mut(events);
            if events.len() == KEPT_MAX {
                events.pop_front();
            }
            events.push_back(Arc::new(Event { ltime, what }));
        });
    }

    /// The stream is slow when its queue is full: it is counted.
    fn tell(&self, told: Told) {
        if self.told.try_send(told).is_err() && !self.told.is_closed() {
            metrics::counter!("quorate.events.user_dropped").increment(1);
        }
    }
}

fn to_told(ltime: u64, what: &Payload, meant: bool) -> Told {
    let filter = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Told::Fired {
        name: what.name.clone(),
        event_id: Some(what.id.clone()),
        payload: STANDARD.encode(&what.payload),
        ltime,
        meant,
        node_filter: filter(&what.node_filter),
        service_filter: filter(&what.service_filter),
        tag_filter: filter(&what.tag_filter),
    }
}

fn to_plain(event: &UserEvent) -> Told {
    Told::Fired {
        name: event.name.to_string(),
        event_id: None,
        payload: STANDARD.encode(&event.payload),
        ltime: event.ltime,
        meant: true,
        node_filter: None,
        service_filter: None,
        tag_filter: None,
    }
}

fn to_query(asked: &Asked) -> Told {
    Told::Asked {
        name: asked.name.clone(),
        payload: STANDARD.encode(&asked.payload),
        ltime: asked.ltime,
        from: asked.from.clone(),
    }
}

#[cfg(test)]
mod tests;
