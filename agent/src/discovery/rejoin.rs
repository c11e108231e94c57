//! After a restart: back to the pool that the agent was in, without being told where it is.
//! One round is what serf does; ours goes on for a while, since after a power cut all start at once and
//! none answers the first.

use std::time::Duration;

use super::retry::{Next, Schedule};
use crate::gossip::{Foreign, Gossip};
use crate::tasks::Tasks;

/// The longest pause between two rounds, and how many rounds at that pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);
const ROUNDS_MAX: u32 = 20;

/// Starts the search where there is anybody to look for.
pub fn rejoin(gossip: Gossip, tasks: &Tasks) {
    if !gossip.has_previous() {
        return;
    }
    let (token, failing) = (tasks.token(), tasks.clone());
    tasks.spawn("rejoin", async move {
        if let Some(Err(foreign)) = token.run_until_cancelled(search(&gossip)).await {
            failing.fail(foreign.to_string());
        }
    });
}

async fn search(gossip: &Gossip) -> Result<(), Foreign> {
    let mut schedule = Schedule::new(PAUSE_MAX, ROUNDS_MAX);
    // Somebody may have joined us, or retry_join may have found the pool.
    while !gossip.has_others() && !gossip.rejoin().await? {
        match schedule.next() {
            Next::GiveUp => break,
            Next::Pause(pause) => tokio::time::sleep(pause).await,
        }
    }
    Ok(())
}
