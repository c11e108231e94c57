//! Our agents' event stream: read, resumed where it broke off, started anew when it cannot be.
//! Services and checks of the whole cluster are not in it and are watched beside it.

use std::time::Duration;

use shared::event::{Body, Event, Framing, LAGGED, Level, LogEvent, RESET, SNAPSHOT_END};
use shared::http::sse::{self, Item, Parser};
use shared::http::{Answer, Error};
use tokio::sync::watch;
use tokio::time::timeout;

use super::connect::{is_stream, open_kinds, open_stream, trouble_of};
use super::monitor::is_ours;
use super::poll;
use super::services;
use super::wire::Wire;
use crate::clock;
use crate::msg::{Frame, Msg, Trouble};

/// The agent says something every 10 s; twice that and a little is a dead connection.
const SILENCE: Duration = Duration::from_secs(25);
/// How often the way is timed.
const TIMING: Duration = Duration::from_secs(2);
/// An agent that neither answers nor says anything for so long hangs.
const HUNG: Duration = Duration::from_secs(3);
/// A picture's largest event is one configuration of servers.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// What is taken from a server that is not in use: what only it knows.
const ASIDE: [&str; 3] = ["election", "raft", "replication"];

/// How far a stream was read, over all connections of one lane.
#[derive(Debug, Default)]
pub(super) struct Memory {
    last: Option<String>,
    /// The picture was complete: what is missing since then is what happened since then.
    is_whole: bool,
}

impl Memory {
    /// Where to go on; none when a new picture is needed.
    pub(super) fn resume(&self) -> Option<&str> {
        self.last.as_deref().filter(|_| self.is_whole)
    }
}

/// Hands on what the stream says until it ends, and says why it did.
pub(super) async fn follow(
    wire: &Wire,
    answer: Answer,
    memory: &mut Memory,
    level: &mut watch::Receiver<Level>,
) -> Trouble {
    tokio::select! {
        trouble = read(wire, answer, memory, level) => trouble,
        trouble = poll::own_once(wire) => trouble,
        trouble = poll::checks(wire) => trouble,
        trouble = services::names(wire) => trouble,
        trouble = services::instances(wire) => trouble,
        trouble = services::counts(wire) => trouble,
        trouble = poll::coordinates(wire) => trouble,
        trouble = poll::autopilot(wire) => trouble,
        trouble = poll::metrics(wire) => trouble,
        trouble = time(wire) => trouble,
    }
}

/// What a server sees of elections and logs while another agent is the one in use. Ends with its
/// connection; whether it was one of ours at all.
pub(super) async fn listen(wire: &Wire, memory: &mut Memory) -> bool {
    let Ok(mut answer) = open_kinds(wire, memory, Level::Error, &ASIDE).await else { return true };
    if !is_stream(&answer) {
        return false;
    }
    if memory.resume().is_none() {
        *memory = Memory::default();
    }
    let mut parser = Parser::new(FRAME_BYTES_MAX);
    let mut items = Vec::new();
    while let Ok(Ok(Some(piece))) = timeout(SILENCE, answer.chunk()).await {
        parser.feed(&piece, &mut items);
        for item in items.drain(..) {
            let Item::Frame(sse::Frame { id, event, data }) = item else { continue };
            match event.as_str() {
                SNAPSHOT_END => memory.is_whole = true,
                RESET => memory.is_whole = false,
                LAGGED => {}
                _ => {
                    if let Ok(event) = serde_json::from_str::<Event>(&data) {
                        let event = Box::new(event);
                        let msg = Msg::Event { lane: wire.lane(), at: clock::now(), event };
                        if wire.tell(msg).await.is_err() {
                            return true;
                        }
                    }
                }
            }
            if id.is_some() {
                memory.last = id;
            }
        }
    }
    true
}

async fn read(wire: &Wire, answer: Answer, memory: &mut Memory, level: &mut watch::Receiver<Level>) -> Trouble {
    let mut answer = answer;
    loop {
        if let Err(trouble) = until_other_level(wire, answer, memory, level).await {
            return trouble;
        }
        let wanted = *level.borrow_and_update();
        match open_stream(wire, memory, wanted).await {
            Ok(again) if is_stream(&again) => answer = again,
            Ok(again) => return trouble_of(&again.into_error().await),
            Err(error) => return trouble_of(&error),
        }
    }
}

/// Reads one stream; ends well when another level of log lines is wanted.
async fn until_other_level(
    wire: &Wire,
    mut answer: Answer,
    memory: &mut Memory,
    level: &mut watch::Receiver<Level>,
) -> Result<(), Trouble> {
    if memory.resume().is_none() {
        *memory = Memory::default();
        wire.frame(Frame::PictureBegins).await?;
    }
    let mut parser = Parser::new(FRAME_BYTES_MAX);
    let mut items = Vec::new();
    loop {
        let piece = tokio::select! {
            piece = timeout(SILENCE, answer.chunk()) => piece,
            changed = level.changed() => match changed {
                Ok(()) => return Ok(()),
                Err(_) => std::future::pending().await,
            },
        };
        match piece {
            Ok(Ok(Some(piece))) => {
                wire.count_piece();
                parser.feed(&piece, &mut items);
            }
            Ok(Ok(None)) => return Err(Trouble::Ended),
            Ok(Err(error)) => return Err(broke_off(&error)),
            Err(_) => return Err(Trouble::TimedOut),
        }
        for item in items.drain(..) {
            hand_on(wire, memory, item).await?;
        }
    }
}

/// A stream that was open and is not any more was closed by the other side, whatever the library calls it.
fn broke_off(error: &Error) -> Trouble {
    match trouble_of(error) {
        trouble @ (Trouble::Unreachable(_) | Trouble::TimedOut | Trouble::TlsFailed(_)) => trouble,
        _ => Trouble::Ended,
    }
}

async fn hand_on(wire: &Wire, memory: &mut Memory, item: Item) -> Result<(), Trouble> {
    let sse::Frame { id, event, data } = match item {
        Item::Frame(frame) => frame,
        Item::Comment => return wire.heard().await,
        Item::Oversize => return wire.frame(Frame::Lagged { missed: 1 }).await,
    };
    let framing = || serde_json::from_str::<Framing>(&data).unwrap_or_default();
    match event.as_str() {
        SNAPSHOT_END => {
            wire.frame(Frame::SnapshotEnd).await?;
            memory.is_whole = true;
        }
        RESET => {
            memory.is_whole = false;
            let reason = framing().reason.unwrap_or_else(|| "it does not say why".to_owned());
            wire.frame(Frame::Reset { reason }).await?;
        }
        LAGGED => wire.frame(Frame::Lagged { missed: framing().missed.unwrap_or(1) }).await?,
        // A kind or a type that this console does not know is passed over, as the format wants.
        _ => match serde_json::from_str::<Event>(&data) {
            // As of HashiCorp's log: what this console asks is not news.
            Ok(Event { body: Body::Log(LogEvent::Line { message, .. }), .. }) if is_ours(&message) => {
                wire.heard().await?;
            }
            Ok(event) => {
                let event = Box::new(event);
                wire.tell(Msg::Event { lane: wire.lane(), at: clock::now(), event }).await?;
            }
            Err(_) => wire.heard().await?,
        },
    }
    if id.is_some() {
        memory.last = id;
    }
    Ok(())
}

/// Times the way to the agent and back, for the header, and finds out when it hangs, long before its
/// stream is silent for too long. What it is asked it has at hand; the leader it may have to ask others for.
async fn time(wire: &Wire) -> Trouble {
    let mut kicks = wire.kicks();
    loop {
        let pieces = wire.pieces();
        let told = async {
            let answer = wire.ask(wire.get("/v1/agent/self").within(HUNG)).await?;
            // Read to its end, so that the connection can be used again.
            answer.json::<serde::de::IgnoredAny>().await
        };
        if let Err(error) = told.await
            && trouble_of(&error) == Trouble::TimedOut
            && wire.pieces() == pieces
        {
            return Trouble::TimedOut;
        }
        super::wire::pause(TIMING, &mut kicks).await;
    }
}
