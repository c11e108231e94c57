//! The sync thread as a task, for a simulation: the same batches, on a disk that takes virtual time.

use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::Shared;
use super::sync::{COMMITTED_LINGER, Writer, next, perform};
use crate::raft::sim::seams;

/// Wakes the task, as the condition wakes the thread.
#[derive(Default)]
pub(super) struct Bell(Notify);

impl Bell {
    pub(super) fn ring(&self) {
        self.0.notify_one();
    }
}

pub(super) fn start(shared: Arc<Shared>) {
    seams::spawn("raft-log", async move {
        let _ended = shared.ended.clone().drop_guard();
        let mut writer = Writer::new(&shared);
        let mut lingered = false;
        loop {
            let batch = {
                let mut state = shared.lock();
                next(&mut state, lingered).map(|batch| (batch, state.closing))
            };
            match batch {
                Some((batch, closing)) => {
                    sleep(seams::sync_takes(&shared.disk.place())).await;
                    if !perform(&shared, &mut writer, batch) || closing {
                        return;
                    }
                    lingered = false;
                }
                None if lingered => {
                    shared.lock().asleep = true;
                    shared.simulated.0.notified().await;
                    shared.lock().asleep = false;
                    lingered = false;
                }
                None => lingered = timeout(COMMITTED_LINGER, shared.simulated.0.notified()).await.is_err(),
            }
        }
    });
}
