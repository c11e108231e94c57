//! Carries out the plan: reads the catalog, writes what is missing, says so in the log.

use tracing::{error, info};

use super::plan::{Reason, Scope, Step, plan};
use crate::backend::{Backend, Error, ReadOptions};
use crate::store::query::{Answer, Query};
use shared::event::MemberState;

/// One pass. Fails when Raft does; what the state refuses is logged and left to the next pass.
pub(super) async fn reconcile(backend: &Backend, scope: &Scope, members: &[MemberState]) -> Result<(), Error> {
    let reply = backend.read(Query::NodeHealth { node: None }, ReadOptions::default()).await?;
    let Answer::NodeHealth(catalog) = reply.answer else { return Ok(()) };
    for Step { member, reason, command } in plan(scope, members, &catalog) {
        match reason {
            Reason::Joined => {
                info!(target: "agent.server", member = %member, "member joined, marking health alive");
            }
            Reason::Failed => {
                info!(target: "agent.server", member = %member, "member failed, marking health critical");
            }
            Reason::Left => {
                info!(target: "agent.server", member = %member, reason = "left", "deregistering member");
            }
            Reason::Reaped => {
                info!(target: "agent.server", member = %member, reason = "reaped", "deregistering member");
            }
        }
        match backend.write(command).await {
            Ok(_) => {}
            Err(Error::Refused(reason)) => {
                error!(target: "agent.server", member = %member, error = %reason, "failed to reconcile member");
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}
