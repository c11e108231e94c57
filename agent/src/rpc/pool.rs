//! Connections to other agents, one for each address and lane, made when first needed and again when
//! one was lost. Handed to everybody who asks other agents; knows nothing of what is asked.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
#[cfg(test)]
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::timeout;
#[cfg(test)]
use tokio_util::sync::CancellationToken;

use super::{DialError, Error, Lane, Link, Service, Unsent};
use crate::clock;
use crate::moment::Moment;
use crate::tasks::Tasks;

/// For connecting and agreeing on a version.
const DIAL_MAX: Duration = Duration::from_secs(2);
/// After a dial that failed, calls fail at once for this long, doubling.
const PAUSE: Duration = Duration::from_millis(25);
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// Addresses remembered; those without a connection are forgotten first.
const ADDRESSES_MAX: usize = 4_096;

/// Clones are the same pool.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    /// Where connections come from, so that the other end counts them as ours.
    source: Option<IpAddr>,
    tasks: Tasks,
    slots: Mutex<HashMap<(SocketAddr, Lane), Slot>>,
    #[cfg(test)]
    route: Option<Arc<dyn Route>>,
}

/// A network that is simulated: what is asked goes there instead of to a socket.
#[cfg(test)]
pub(crate) trait Route: Send + Sync {
    fn call(
        &self,
        address: SocketAddr,
        service: Service,
        payload: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, Error>>;
    /// A connection, by what tells that it is closed.
    fn open(&self, address: SocketAddr) -> BoxFuture<'static, Result<CancellationToken, DialError>>;
}

type Dialled = Result<Link, DialError>;

enum Slot {
    Up(Link),
    Dialing { dialled: watch::Receiver<Option<Dialled>>, failures: u32 },
    Down { failures: u32, again_at: Moment, why: DialError },
}

impl Pool {
    /// `source`: the address this agent is bound to, when it is bound to one.
    pub fn new(source: Option<IpAddr>, tasks: &Tasks) -> Self {
        let inner = Inner {
            source,
            tasks: tasks.clone(),
            slots: Mutex::default(),
            #[cfg(test)]
            route: None,
        };
        Self { inner: Arc::new(inner) }
    }

    #[cfg(test)]
    pub(crate) fn routed(route: Arc<dyn Route>, tasks: &Tasks) -> Self {
        let inner = Inner { source: None, tasks: tasks.clone(), slots: Mutex::default(), route: Some(route) };
        Self { inner: Arc::new(inner) }
    }

    /// Asks `service` at `address` and returns its answer, or why there is none `within` that time.
    pub async fn call(
        &self,
        address: SocketAddr,
        lane: Lane,
        service: Service,
        payload: Bytes,
        within: Duration,
    ) -> Result<Bytes, Error> {
        #[cfg(test)]
        if let Some(route) = &self.inner.route {
            return route.call(address, service, payload, within).await;
        }
        let deadline = clock::now() + within;
        let never = |reason| Error::NeverSent { address, reason };
        let mut is_again = false;
        loop {
            let left = deadline.since(clock::now());
            let link = match timeout(left, self.link(address, lane, false)).await {
                Ok(link) => link.map_err(|why| never(Unsent::Dial(why)))?,
                Err(_) => return Err(never(Unsent::Deadline)),
            };
            match link.call(service, payload.clone(), deadline).await {
                // It ended between two calls: a new one, once.
                Err(Error::NeverSent { reason: Unsent::Closed, .. }) if !is_again => is_again = true,
                answer => return answer,
            }
        }
    }

    /// A connection, dialled now if there is none, also when the last dial has just failed. Its
    /// [`Link::closed`] tells when it is lost.
    pub async fn open(&self, address: SocketAddr, lane: Lane) -> Result<Link, DialError> {
        #[cfg(test)]
        if let Some(route) = &self.inner.route {
            return route.open(address).await.map(|closed| Link::simulated(address, lane, closed));
        }
        self.link(address, lane, true).await
    }

    async fn link(&self, address: SocketAddr, lane: Lane, at_once: bool) -> Dialled {
        let mut dialled = match self.look(address, lane, at_once) {
            Look::Done(link) => return link,
            Look::Wait(dialled) => dialled,
        };
        // The sender is dropped only with the task that dials.
        match dialled.wait_for(Option::is_some).await {
            Ok(link) => link.clone().unwrap_or(Err(DialError::Stopping)),
            Err(_) => Err(DialError::Stopping),
        }
    }

    fn look(&self, address: SocketAddr, lane: Lane, at_once: bool) -> Look {
        let mut slots = self.lock();
        let failures = match slots.get(&(address, lane)) {
            Some(Slot::Up(link)) if !link.is_closed() => return Look::Done(Ok(link.clone())),
            Some(Slot::Dialing { dialled, .. }) if dialled.has_changed().is_ok() => {
                return Look::Wait(dialled.clone());
            }
            Some(Slot::Down { again_at, why, .. }) if !at_once && clock::now() < *again_at => {
                return Look::Done(Err(why.clone()));
            }
            Some(Slot::Down { failures, .. } | Slot::Dialing { failures, .. }) => *failures,
            Some(Slot::Up(_)) | None => 0,
        };
        if slots.len() >= ADDRESSES_MAX {
            slots.retain(|_, slot| !matches!(slot, Slot::Down { .. }));
        }
        let (done, dialled) = watch::channel(None);
        slots.insert((address, lane), Slot::Dialing { dialled: dialled.clone(), failures });
        drop(slots);
        self.dial(address, lane, failures, done);
        Look::Wait(dialled)
    }

    /// In a task of its own: a caller who gives up must not make the next one begin anew.
    fn dial(&self, address: SocketAddr, lane: Lane, failures: u32, done: watch::Sender<Option<Dialled>>) {
        let pool = self.clone();
        self.inner.tasks.spawn("rpc dial", async move {
            let inner = &pool.inner;
            let end = inner.tasks.token();
            let dialled = tokio::select! {
                dialled = Link::dial(address, lane, inner.source, DIAL_MAX, &inner.tasks) => dialled,
                () = end.cancelled() => Err(DialError::Stopping),
            };
            let slot = match &dialled {
                Ok(link) => Slot::Up(link.clone()),
                Err(why) => {
                    metrics::counter!("quorate.rpc.dials_failed").increment(1);
                    let again_at = clock::now() + pause(failures);
                    Slot::Down { failures: failures.saturating_add(1), again_at, why: why.clone() }
                }
            };
            pool.lock().insert((address, lane), slot);
            done.send_replace(Some(dialled));
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(SocketAddr, Lane), Slot>> {
        self.inner.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Look {
    Done(Dialled),
    Wait(watch::Receiver<Option<Dialled>>),
}

/// After so many failures before this one.
fn pause(failures: u32) -> Duration {
    PAUSE.saturating_mul(2_u32.saturating_pow(failures)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_ceiling() {
        let pauses: Vec<_> = [0, 1, 2, 4, 5, 90].into_iter().map(|n| pause(n).as_millis()).collect();
        assert_eq!(pauses, [25, 50, 100, 400, 500, 500]);
    }
}
