//! HashiCorp's agents, which push nothing: the same questions again and again, each at its own pace.
//! At most eight connections at once: four questions are held or streams, what shows whether the agent is
//! there has two of its own, and all others wait for one of two.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::http::Request;
use tokio::sync::watch::Receiver;

use super::backoff::{self, Backoff};
use super::held::Held;
use super::wire::{DEADLINE, Miss, Wire, denial, pause};
use super::{monitor, services};
use crate::msg::{Denial, Source, Trouble};
use crate::polled::{Identity, Polled};

const SECOND: Duration = Duration::from_secs(1);
/// Round trips change slowly.
const COORDINATES: Duration = Duration::from_secs(15);
/// So often the agent sums up what it measured.
const METRICS: Duration = Duration::from_secs(10);
/// Milliseconds to have entries on disk.
const SYNC: &str = "quorate.raft.sync";
/// Turns of autopilot's health to one of its rules.
const RULES_EVERY: u64 = 15;
/// Above so many members their list is asked for less often.
const MANY: usize = 2_000;
/// A question that the token may not ask is asked again: tokens are changed in place.
const FORBIDDEN: Duration = Duration::from_secs(30);

/// What one question knows of the others.
#[derive(Debug, Default)]
struct Shared {
    /// Servers are asked for what they have, leader or not.
    is_leaderless: AtomicBool,
}

/// Asks until the agent is lost, and says why it is.
pub(super) async fn poll(wire: &Wire, own: Option<Value>) -> Trouble {
    let told = match own {
        Some(own) => tell_own(wire, &own).await,
        None => wire.denied(Source::Identity, Denial::Forbidden).await,
    };
    if let Err(trouble) = told {
        return trouble;
    }
    let shared = Shared::default();
    tokio::select! {
        trouble = leader(wire, &shared) => trouble,
        trouble = members(wire) => trouble,
        trouble = coordinates(wire) => trouble,
        trouble = configuration(wire, &shared) => trouble,
        trouble = autopilot(wire) => trouble,
        trouble = own_again(wire) => trouble,
        trouble = checks(wire) => trouble,
        trouble = services::names(wire) => trouble,
        trouble = services::instances(wire) => trouble,
        trouble = services::counts(wire) => trouble,
        trouble = monitor::monitor(wire) => trouble,
    }
}

/// Pace of one question: when to ask again after an answer, a refusal, a failure.
#[derive(Debug)]
pub(super) struct Pace {
    source: Source,
    period: Duration,
    /// No answer to this question means no answer at all.
    is_vital: bool,
    backoff: Backoff,
    dice: SmallRng,
    kicks: Receiver<u64>,
}

impl Pace {
    pub(super) fn new(wire: &Wire, source: Source, period: Duration) -> Self {
        let is_vital = matches!(source, Source::Leader | Source::Members);
        let (backoff, dice) = (Backoff::default(), SmallRng::from_os_rng());
        Self { source, period, is_vital, backoff, dice, kicks: wire.kicks() }
    }

    /// From now on it waits so long after an answer.
    pub(super) fn set_period(&mut self, period: Duration) {
        self.period = period;
    }

    /// Tells what came of a question and waits until its next turn.
    pub(super) async fn turn(&mut self, wire: &Wire, outcome: Result<(), Miss>) -> Result<(), Trouble> {
        let wait = match outcome {
            Ok(()) => {
                self.backoff.succeeded();
                self.period
            }
            // Of a local answer a time-out says that the agent is stuck; of the leader only that no server told it.
            Err(Miss::Lost(trouble)) if self.is_lost(&trouble) => return Err(trouble),
            Err(Miss::Lost(_)) => self.failed(wire, Denial::Failed).await?,
            Err(Miss::Denied(denial)) => self.failed(wire, denial).await?,
        };
        pause(wait, &mut self.kicks).await;
        Ok(())
    }

    fn is_lost(&self, trouble: &Trouble) -> bool {
        self.is_vital && (self.source == Source::Members || *trouble != Trouble::TimedOut)
    }

    async fn failed(&mut self, wire: &Wire, denial: Denial) -> Result<Duration, Trouble> {
        wire.denied(self.source, denial).await?;
        Ok(match denial {
            // Until the next connection, which may be to another version.
            Denial::NotOffered => std::future::pending().await,
            Denial::Forbidden => FORBIDDEN,
            Denial::Failed => self.backoff.failed(&mut self.dice, backoff::LAST).max(self.period),
        })
    }
}

/// Asks one question in its turn, within the deadline, and decodes its answer.
pub(super) async fn ask<T: DeserializeOwned>(wire: &Wire, request: Request<'_>) -> Result<T, Miss> {
    let _turn = wire.turn().await;
    ask_at_once(wire, request).await
}

/// As [`ask`], on a connection of its own.
async fn ask_at_once<T: DeserializeOwned>(wire: &Wire, request: Request<'_>) -> Result<T, Miss> {
    let answer = wire.ask(request.within(DEADLINE)).await?;
    match answer.status() {
        200..300 => Ok(answer.json().await?),
        code => Err(Miss::Denied(denial(code))),
    }
}

pub(super) async fn hand_on(wire: &Wire, polled: Polled) -> Result<(), Miss> {
    wire.polled(polled).await.map_err(Miss::Lost)
}

async fn leader(wire: &Wire, shared: &Shared) -> Trouble {
    let mut pace = Pace::new(wire, Source::Leader, SECOND);
    loop {
        let outcome = async {
            let address: String = ask_at_once(wire, wire.get("/v1/status/leader")).await?;
            shared.is_leaderless.store(address.is_empty(), Ordering::Relaxed);
            hand_on(wire, Polled::Leader(Some(address).filter(|address| !address.is_empty()))).await
        };
        if let Err(trouble) = pace.turn(wire, outcome.await).await {
            return trouble;
        }
    }
}

async fn members(wire: &Wire) -> Trouble {
    let mut pace = Pace::new(wire, Source::Members, SECOND);
    let mut has_wan = true;
    loop {
        let outcome = match ask_at_once::<Option<Vec<_>>>(wire, wire.get("/v1/agent/members")).await {
            Ok(members) => {
                let members = members.unwrap_or_default();
                pace.period = if members.len() > MANY { 5 * SECOND } else { SECOND };
                hand_on(wire, Polled::Members(members)).await
            }
            Err(miss) => Err(miss),
        };
        // The other pool on the same connection, one after the other: an agent is asked on eight at most.
        if outcome.is_ok() && has_wan {
            match wan_members(wire).await {
                Ok(()) => {}
                Err(Miss::Lost(trouble)) if pace.is_lost(&trouble) => return trouble,
                Err(Miss::Lost(_)) => {}
                Err(Miss::Denied(denial)) => {
                    if let Err(trouble) = wire.denied(Source::WanMembers, denial).await {
                        return trouble;
                    }
                    // A client has no such pool, and tokens that may not read it are rare.
                    has_wan = false;
                }
            }
        }
        if let Err(trouble) = pace.turn(wire, outcome).await {
            return trouble;
        }
    }
}

async fn wan_members(wire: &Wire) -> Result<(), Miss> {
    let members = ask_at_once::<Option<Vec<_>>>(wire, wire.get("/v1/agent/members").query("wan", "1")).await?;
    hand_on(wire, Polled::WanMembers(members.unwrap_or_default())).await
}

/// Where every node is in the network, for the round trips. Of both kinds of agent.
pub(super) async fn coordinates(wire: &Wire) -> Trouble {
    let mut pace = Pace::new(wire, Source::Coordinates, COORDINATES);
    loop {
        let request = wire.get("/v1/coordinate/nodes").query("stale", "");
        let outcome = match ask::<Option<Vec<_>>>(wire, request).await {
            Ok(rows) => hand_on(wire, Polled::Coordinates(rows.unwrap_or_default())).await,
            Err(miss) => Err(miss),
        };
        if let Err(trouble) = pace.turn(wire, outcome).await {
            return trouble;
        }
    }
}

async fn configuration(wire: &Wire, shared: &Shared) -> Trouble {
    let mut pace = Pace::new(wire, Source::RaftConfiguration, 5 * SECOND);
    loop {
        let outcome = async {
            let mut request = wire.get("/v1/operator/raft/configuration");
            if shared.is_leaderless.load(Ordering::Relaxed) {
                request = request.query("stale", "");
            }
            hand_on(wire, Polled::RaftConfiguration(ask(wire, request).await?)).await
        };
        let outcome = outcome.await;
        if let Err(Miss::Denied(Denial::Forbidden)) = outcome {
            // Their addresses are no secret.
            if let Ok(peers) = ask::<Vec<String>>(wire, wire.get("/v1/status/peers")).await
                && let Err(trouble) = wire.polled(Polled::Peers(peers)).await
            {
                return trouble;
            }
        }
        if let Err(trouble) = pace.turn(wire, outcome).await {
            return trouble;
        }
    }
}

/// How healthy servers are, and from time to time the rules for it. Of both kinds of agent.
pub(super) async fn autopilot(wire: &Wire) -> Trouble {
    let mut pace = Pace::new(wire, Source::Autopilot, 2 * SECOND);
    for turn in 0_u64.. {
        let outcome = async {
            let _turn = wire.turn().await;
            let answer = wire.ask(wire.get("/v1/operator/autopilot/health").within(DEADLINE)).await?;
            match answer.status() {
                // Consul: 429 says that a server is unhealthy, and which.
                200 | 429 => {}
                code => return Err(Miss::Denied(denial(code))),
            }
            let health = decode(without_nulls(answer.json().await?))?;
            hand_on(wire, Polled::Autopilot(health)).await
        };
        let mut outcome = outcome.await;
        if outcome.is_ok() && turn % RULES_EVERY == 0 {
            // Not known they are missed at one place only.
            if let Ok(rules) = ask(wire, wire.get("/v1/operator/autopilot/configuration")).await {
                outcome = hand_on(wire, Polled::Rules(rules)).await;
            }
        }
        if let Err(trouble) = pace.turn(wire, outcome).await {
            return trouble;
        }
    }
    Trouble::Ended
}

/// What it takes this server to have its log on disk, as our agents measure it.
pub(super) async fn metrics(wire: &Wire) -> Trouble {
    let mut pace = Pace::new(wire, Source::Metrics, METRICS);
    loop {
        let outcome = async {
            let told: Value = ask(wire, wire.get("/v1/agent/metrics")).await?;
            match syncs_of(&told) {
                Some(syncs) => hand_on(wire, syncs).await,
                None => Ok(()),
            }
        };
        if let Err(trouble) = pace.turn(wire, outcome.await).await {
            return trouble;
        }
    }
}

/// None where nothing was written in this interval.
fn syncs_of(told: &Value) -> Option<Polled> {
    let samples = told.get("Samples")?.as_array()?;
    let sample = samples.iter().find(|sample| sample.get("Name").and_then(Value::as_str) == Some(SYNC))?;
    let number = |name: &str| sample.get(name).and_then(Value::as_f64);
    Some(Polled::Syncs { mean_ms: number("Mean")?, most_ms: number("Max")? })
}

fn decode<T: DeserializeOwned>(value: Value) -> Result<T, Miss> {
    serde_json::from_value(value).map_err(|_| Miss::Denied(Denial::Failed))
}

/// Go writes an empty list as null.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.into_iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k, without_nulls(v))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// `/v1/agent/self` every 2 s, for Raft's figures.
async fn own_again(wire: &Wire) -> Trouble {
    let mut pace = Pace::new(wire, Source::Stats, 2 * SECOND);
    loop {
        pause(pace.period, &mut pace.kicks).await;
        let outcome = async {
            let own: Value = ask(wire, wire.get("/v1/agent/self")).await?;
            match stats_of(&own) {
                Some(stats) => hand_on(wire, Polled::Stats(stats)).await,
                None => Ok(()),
            }
        };
        let outcome = outcome.await;
        let is_answered = outcome.is_ok();
        if is_answered {
            pace.backoff.succeeded();
        } else if let Err(trouble) = pace.turn(wire, outcome).await {
            return trouble;
        }
    }
}

/// `/v1/agent/self` once, for who answers; a token that may not read it turns that off alone.
pub(super) async fn own_once(wire: &Wire) -> Trouble {
    let mut pace = Pace::new(wire, Source::Identity, SECOND);
    loop {
        let outcome = match ask::<Value>(wire, wire.get("/v1/agent/self")).await {
            Ok(own) => match tell_own(wire, &own).await {
                Ok(()) => return std::future::pending().await,
                Err(trouble) => return trouble,
            },
            Err(miss) => Err(miss),
        };
        if let Err(trouble) = pace.turn(wire, outcome).await {
            return trouble;
        }
    }
}

async fn tell_own(wire: &Wire, own: &Value) -> Result<(), Trouble> {
    if let Some(identity) = identity_of(own) {
        wire.polled(Polled::Identity(identity)).await?;
    }
    match stats_of(own) {
        Some(stats) => wire.polled(Polled::Stats(stats)).await,
        None => Ok(()),
    }
}

/// Who answered `/v1/agent/self`; none when it is no agent's answer.
pub fn identity_of(own: &Value) -> Option<Identity> {
    let config = own.get("Config")?;
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let datacenter = text(config, "Datacenter");
    (!datacenter.is_empty()).then(|| Identity {
        node: text(config, "NodeName"),
        node_id: text(config, "NodeID"),
        datacenter,
        server: config.get("Server").and_then(Value::as_bool).unwrap_or(false),
        version: text(config, "Version"),
        address: own.get("Member").map(|member| text(member, "Addr")).unwrap_or_default(),
    })
}

fn stats_of(own: &Value) -> Option<BTreeMap<String, String>> {
    let raft = own.get("Stats")?.get("raft")?.as_object()?;
    Some(raft.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect())
}

/// All checks. Of both kinds of agent.
pub(super) async fn checks(wire: &Wire) -> Trouble {
    let mut held = Held::new(wire, Source::Checks);
    loop {
        if let Err(trouble) = held.turn(wire, "/v1/health/state/any", Polled::Checks).await {
            return trouble;
        }
    }
}
