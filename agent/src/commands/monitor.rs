//! `monitor`: the agent's log as it is written, until interrupted. The only verb that prints on its own.

use super::{Call, Ended, Reach, Verb};
use crate::cli;
use crate::flags::{Flag, Kind};

pub(super) const MONITOR: Verb = Verb {
    path: "monitor",
    synopsis: "Streams the agent's log",
    form: "[options]",
    about: "  Prints the log lines of a running agent as they are written, also those\n  below the level of its own log, until interrupted.",
    flags: &[
        Flag::new("log-json", Kind::Bool, "One JSON object for each line."),
        Flag::new("log-level", Kind::String, "The lowest level to print: trace, debug, info, warn or err."),
    ],
    reach: Reach::Agent,
    run: |call| Box::pin(async move { Ended::from(monitor(call).await) }),
};

async fn monitor(call: &Call) -> Result<Ended, Ended> {
    let client = call.client()?;
    let level = match call.flags.text("log-level") {
        "" => "INFO",
        level => level,
    };
    let mut request = client.get("/v1/agent/monitor").query("loglevel", level).streaming();
    let mut complaint = "Error starting monitor";
    if call.flags.is_on("log-json") {
        request = request.query("logjson", "true");
        complaint = "Error starting JSON monitor";
    }
    let mut stream = request.send().await.map_err(super::failing(complaint))?;
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        tokio::select! {
            _ = &mut interrupted => return Ok(Ended::default()),
            piece = stream.chunk() => match piece {
                Ok(Some(piece)) => if cli::print(&piece).is_err() {
                    // Nobody reads any more.
                    return Ok(Ended::default());
                },
                Ok(None) | Err(_) => return Err(Ended::failed(
                    "\nRemote side ended the monitor! This usually means that the\nremote side has exited or crashed.",
                )),
            },
        }
    }
}
