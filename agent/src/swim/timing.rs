//! How often, how long, how many: the settings of one pool.

use std::time::Duration;

/// Every member of a pool should use the same; Consul's values unless said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    pub probe_interval: Duration,
    pub probe_timeout: Duration,
    /// Members asked to probe for us.
    pub indirect_probes: usize,
    pub gossip_interval: Duration,
    /// Members told in one round.
    pub gossip_nodes: usize,
    /// How long a dead member is still told things, so that it hears of its death.
    pub gossip_to_the_dead: Duration,
    pub push_pull_interval: Duration,
    pub suspicion_multiplier: u32,
    /// A suspicion that nobody shares lasts so many times longer; 1: as long as one that is shared
    /// (Lifeguard's LHA-Suspicion).
    pub suspicion_multiplier_max: u32,
    pub retransmit_multiplier: u32,
    /// An unwell member stretches its probes up to so many times; 1: never (Lifeguard's LHA-Probe).
    pub awareness_max: u8,
    /// Who is pinged while suspected is told so (Lifeguard's Buddy System).
    pub buddy: bool,
    /// From here on a dead member's name may come back from another address.
    pub dead_reclaim: Duration,
    pub stream_timeout: Duration,
    pub reconnect_interval: Duration,
    /// How long a failed member is listed.
    pub failed_kept: Duration,
    /// How long one that left is listed.
    pub left_kept: Duration,
    /// How long one step of leaving waits to be heard.
    pub leave_timeout: Duration,
    /// How long one that left stays up, so that others need not suspect it. Consul: 3 s; while leaving
    /// we tell ten times as fast.
    pub leave_propagate: Duration,
}

impl Timing {
    pub fn lan() -> Self {
        Self {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_probes: 3,
            gossip_interval: Duration::from_millis(200),
            gossip_nodes: 3,
            gossip_to_the_dead: Duration::from_secs(30),
            push_pull_interval: Duration::from_secs(30),
            suspicion_multiplier: 4,
            suspicion_multiplier_max: 6,
            retransmit_multiplier: 4,
            awareness_max: 8,
            buddy: true,
            dead_reclaim: Duration::from_secs(30),
            stream_timeout: Duration::from_secs(10),
            reconnect_interval: Duration::from_secs(30),
            failed_kept: Duration::from_secs(72 * 3600),
            left_kept: Duration::from_secs(24 * 3600),
            leave_timeout: Duration::from_secs(5),
            leave_propagate: Duration::from_secs(1),
        }
    }

    pub fn wan() -> Self {
        Self {
            probe_interval: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(3),
            gossip_interval: Duration::from_millis(500),
            gossip_nodes: 4,
            gossip_to_the_dead: Duration::from_secs(60),
            push_pull_interval: Duration::from_secs(60),
            suspicion_multiplier: 6,
            stream_timeout: Duration::from_secs(30),
            ..Self::lan()
        }
    }

    /// As `-dev` has it.
    #[must_use]
    pub fn hurried(self) -> Self {
        Self {
            probe_interval: Duration::from_millis(100),
            probe_timeout: Duration::from_millis(100),
            gossip_interval: Duration::from_millis(100),
            suspicion_multiplier: 3,
            ..self
        }
    }

    /// With more members whole states are exchanged less often: they are longer, and so many do it.
    pub(super) fn push_pull_after(&self, members: usize) -> Duration {
        const THRESHOLD: usize = 32;
        if members <= THRESHOLD {
            return self.push_pull_interval;
        }
        let doublings = (members as f64).log2() - (THRESHOLD as f64).log2();
        self.push_pull_interval * (doublings.ceil() as u32 + 1)
    }

    /// How often one rumour is told.
    pub(super) fn transmits_max(&self, members: usize) -> u32 {
        self.retransmit_multiplier * ((members as f64 + 1.0).log10().ceil() as u32)
    }
}
