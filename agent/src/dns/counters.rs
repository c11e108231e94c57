//! What the DNS interface counts: since the start for tests and handles, and as metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Since the start; the metrics `quorate.dns.…` count the same.
#[derive(Debug, Default)]
pub struct Counters {
    pub(super) questions: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) udp_dropped: AtomicU64,
    pub(super) tcp_dropped: AtomicU64,
    pub(super) tcp_cut: AtomicU64,
    pub(super) recursed: AtomicU64,
    pub(super) recursor_dropped: AtomicU64,
    pub(super) recursor_noise: AtomicU64,
    pub(super) recursor_loops: AtomicU64,
}

impl Counters {
    pub fn questions(&self) -> u64 {
        self.questions.load(Ordering::Relaxed)
    }

    /// Packets that were no question.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Answers SERVFAIL.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Questions dropped because too many were waiting.
    pub fn udp_dropped(&self) -> u64 {
        self.udp_dropped.load(Ordering::Relaxed)
    }

    /// Connections closed at once because too many were open.
    pub fn tcp_dropped(&self) -> u64 {
        self.tcp_dropped.load(Ordering::Relaxed)
    }

    /// Connections that ended, or fell silent, within a packet.
    pub fn tcp_cut(&self) -> u64 {
        self.tcp_cut.load(Ordering::Relaxed)
    }

    /// Questions that recursors were asked, each counted once.
    pub fn recursed(&self) -> u64 {
        self.recursed.load(Ordering::Relaxed)
    }

    /// Questions for recursors that failed at once because too many were with them already.
    pub fn recursor_dropped(&self) -> u64 {
        self.recursor_dropped.load(Ordering::Relaxed)
    }

    /// Packets that came to where an answer was waited for and were none.
    pub fn recursor_noise(&self) -> u64 {
        self.recursor_noise.load(Ordering::Relaxed)
    }

    /// Questions of our own to a recursor that came back to us.
    pub fn recursor_loops(&self) -> u64 {
        self.recursor_loops.load(Ordering::Relaxed)
    }

    pub(super) fn count(&self, counter: &AtomicU64, metric: &'static str) {
        counter.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(metric).increment(1);
    }
}
