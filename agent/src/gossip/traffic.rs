//! What goes over the wire, counted under Consul's names, one count for each pool; and how much of it
//! is held at once. Held by `driver`; `/v1/agent/metrics` shows it.

use std::sync::Arc;

use metrics::Counter;
use shared::event::Pool;
use tokio::sync::Semaphore;

/// Packets and streams that name a pool by a label: ours has none.
pub(super) const LABELLED: &str = "quorate.gossip.labelled";

/// Long messages of streams that are held at once.
const LARGE_AT_ONCE: usize = 4;

/// Bytes of packets and of streams' messages, sealed, without what the kernel adds.
#[derive(Clone)]
pub(super) struct Traffic {
    pub(super) udp_sent: Counter,
    pub(super) udp_received: Counter,
    pub(super) tcp_sent: Counter,
    pub(super) tcp_received: Counter,
    /// Streams that others opened to us, and we to others.
    pub(super) tcp_accept: Counter,
    pub(super) tcp_connect: Counter,
    /// Streams that ended before they brought a message of ours, or brought none that we take.
    pub(super) tcp_refused: Counter,
    /// Places for the long messages of others, and for the long answers to ours.
    pub(super) questions: Arc<Semaphore>,
    pub(super) answers: Arc<Semaphore>,
}

impl Traffic {
    pub(super) fn new(pool: Pool) -> Self {
        let network = match pool {
            Pool::Lan => "lan",
            Pool::Wan => "wan",
        };
        let counter = |name: &'static str| metrics::counter!(name, "network" => network);
        Self {
            udp_sent: counter("consul.memberlist.udp.sent"),
            udp_received: counter("consul.memberlist.udp.received"),
            tcp_sent: counter("consul.memberlist.tcp.sent"),
            tcp_received: counter("quorate.gossip.tcp.received"),
            tcp_accept: counter("consul.memberlist.tcp.accept"),
            tcp_connect: counter("consul.memberlist.tcp.connect"),
            tcp_refused: counter("quorate.gossip.tcp.refused"),
            questions: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
            answers: Arc::new(Semaphore::new(LARGE_AT_ONCE)),
        }
    }
}
