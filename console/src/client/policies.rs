//! How the checks of one node work, asked of that node's own agent: the catalog is not told. Only ours tell
//! it, in the picture of their stream; it is read to its end and again after a while.

use std::time::Duration;

use shared::event::{Body, CheckEvent, CheckState, Event, SNAPSHOT_END};
use shared::http::sse::{self, Item, Parser};
use shared::http::{Client, Settings};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::connect::is_stream;
use super::wire::DEADLINE;
use crate::clock;
use crate::msg::{LaneId, Msg};
use crate::polled::Polled;

/// A row that is only passed by is not asked about.
const PASSING: Duration = Duration::from_millis(200);
const AGAIN: Duration = Duration::from_secs(30);
/// Checks of one node; of more the rest stays unknown.
const CHECKS_MAX: usize = 5_000;
const FRAME_BYTES_MAX: usize = 1 << 20;

/// Asks for as long as it is looked at; whoever started this ends it.
pub(super) async fn follow(settings: Settings, lane: LaneId, node: String, out: mpsc::Sender<Msg>) {
    // A token is for the agents that were named, not for whom gossip names; this much needs none.
    let settings = Settings { token: None, token_file: None, basic_auth: None, ..settings };
    let Ok(client) = Client::new(&settings) else { return };
    loop {
        tokio::time::sleep(PASSING).await;
        if let Ok(Some(checks)) = timeout(DEADLINE, picture(&client, &node)).await {
            let polled = Polled::Checked { node: node.clone(), checks };
            if out.send(Msg::Polled { lane, at: clock::now(), polled }).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// None where another agent answers, or one that tells nothing.
async fn picture(client: &Client, node: &str) -> Option<Vec<CheckState>> {
    let request = client.get("/v1/agent/events").query("kind", "agent,check").header("accept", "text/event-stream");
    let mut answer = request.streaming().send_any().await.ok().filter(is_stream)?;
    let mut parser = Parser::new(FRAME_BYTES_MAX);
    let (mut items, mut checks, mut is_its_own) = (Vec::new(), Vec::new(), false);
    while let Ok(Some(piece)) = answer.chunk().await {
        parser.feed(&piece, &mut items);
        for item in items.drain(..) {
            let Item::Frame(sse::Frame { event, data, .. }) = item else { continue };
            if event == SNAPSHOT_END {
                return is_its_own.then_some(checks);
            }
            let Ok(event) = serde_json::from_str::<Event>(&data) else { continue };
            is_its_own |= event.node == node;
            if let Body::Check(CheckEvent::Present(state)) = event.body
                && event.node == node
                && checks.len() < CHECKS_MAX
            {
                checks.push(state);
            }
        }
    }
    None
}
