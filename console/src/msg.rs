//! Everything that can happen to the console ([`Msg`]) and everything it can ask for ([`Effect`]).
//!
//! Both are closed and plain data, so a session is a list of messages: it can be recorded, replayed
//! and compared. Keys become an [`Action`] before they get here (`keymap`); what a server said
//! becomes a [`Msg`] in `client`. Every message that brings news carries the time it came (`at`):
//! nothing past this door reads a clock.

use std::fmt;

use serde::{Deserialize, Serialize};
use shared::event::{Event, Level};
use shared::time::WallTime;

use crate::order::{Order, Outcome, Probe, Seen};
use crate::polled::Polled;

/// One agent the console was given: its position in the list of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LaneId(pub u8);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Msg {
    /// The clock, four times a second while anything ages on screen, and never less than once.
    Tick { now: WallTime },
    /// The terminal's size, at the start and whenever it changes.
    Resize { width: u16, height: u16 },
    /// What a key means where it was pressed.
    Act(Action),
    /// The state of the connection to one agent. Sent on every change, retries included.
    Link { lane: LaneId, at: WallTime, link: Link },
    /// A sign of life that is no event: a keep-alive comment, or any answer.
    Heard { lane: LaneId, at: WallTime, rtt_us: Option<u64> },
    /// One event of our agents' stream, in order, picture and live alike.
    Event { lane: LaneId, at: WallTime, event: Box<Event> },
    /// The stream's framing.
    Frame { lane: LaneId, at: WallTime, frame: Frame },
    /// One answer of Consul's API.
    Polled { lane: LaneId, at: WallTime, polled: Polled },
    /// One question was refused while others are answered: its pane goes off, not the screen.
    Denied { lane: LaneId, at: WallTime, source: Source, denial: Denial },
    /// What came of an order, once: an answer, or none within its deadline.
    Ordered { id: u64, at: WallTime, took_us: u64, outcome: Outcome },
    /// What came of a trick on a node of the demo, in words, and what is done to any of them now.
    Tricked {
        at: WallTime,
        node: String,
        done: Result<String, String>,
        #[serde(default)]
        fates: Vec<String>,
    },
    /// What was found where a dialog points.
    Probed { at: WallTime, probe: Probe, seen: Seen },
    /// Where a file was written, or why not.
    Saved { at: WallTime, done: Result<String, String> },
}

impl Msg {
    /// Rows that it carries, and itself: what keeping it costs.
    pub fn weight(&self) -> usize {
        let Self::Polled { polled, .. } = self else { return 1 };
        match polled {
            Polled::Members(rows) | Polled::WanMembers(rows) => 1 + rows.len(),
            Polled::Coordinates(rows) => 1 + rows.len(),
            Polled::Checks(rows) => 1 + rows.len(),
            Polled::Services(rows) => 1 + rows.len(),
            Polled::Instances { entries, .. } => 1 + entries.len(),
            _ => 1,
        }
    }
}

/// What frames the events of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Frame {
    /// A new stream is open and its whole picture comes next. Not sent when a stream was resumed.
    PictureBegins,
    /// The picture is complete: what it did not mention is gone.
    SnapshotEnd,
    /// What we have is void for this reason; a new picture follows.
    Reset { reason: String },
    /// The agent dropped this many events of ours.
    Lagged { missed: u64 },
}

/// The state of one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link {
    /// Known, not in use.
    #[default]
    Idle,
    Connecting {
        attempt: u32,
        /// Why the attempt before this one failed.
        #[serde(default)]
        after: Option<Trouble>,
    },
    /// Data flow. Sent again when the kind becomes known.
    Live { kind: AgentKind },
    Lost {
        trouble: Trouble,
        /// Attempts that failed since it was live, from 1.
        attempt: u32,
        retry_at: WallTime,
    },
}

/// Whose agent answers, and so where the news comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgentKind {
    /// Ours: an event stream.
    Quorate,
    /// HashiCorp's: polling and its monitor stream.
    HashiCorp,
}

/// Why a connection is not live; each is another sentence and another next step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trouble {
    /// Nobody listens there.
    Refused,
    /// It took longer than its deadline.
    TimedOut,
    /// It was live and the other side closed it.
    Ended,
    /// The name has no address.
    Unresolved,
    /// No route, network down; the system's words.
    Unreachable(String),
    /// Something answers there that is no agent; what it said, in short.
    NotAnAgent(String),
    /// It speaks TLS and we did not.
    TlsExpected,
    /// We speak TLS and it does not, or its certificate is not trusted; the words of the library.
    TlsFailed(String),
    /// 403 on everything: the token is missing or too weak.
    Forbidden,
    /// Anything else, one phrase.
    Other(String),
}

/// The rest of a sentence that begins with the address.
impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("refused the connection"),
            Self::TimedOut => f.write_str("did not answer in time"),
            Self::Ended => f.write_str("closed the connection"),
            Self::Unresolved => f.write_str("has no address: the name is not known"),
            Self::Unreachable(why) => write!(f, "cannot be reached: {why}"),
            Self::NotAnAgent(said) => write!(f, "is not a Consul agent: {said}"),
            Self::TlsExpected => f.write_str("expects TLS: use https:// or CONSUL_HTTP_SSL=true"),
            Self::TlsFailed(why) => write!(f, "TLS failed: {why}"),
            Self::Forbidden => f.write_str("answers 403: the token may not read it (CONSUL_HTTP_TOKEN)"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

/// Who the agent at the other end is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub node: String,
    pub node_id: String,
    pub datacenter: String,
    pub server: bool,
    /// `Config.Version`: the API level, `1.8.7` or `1.8.7:quorate-0.1.0`.
    pub version: String,
    /// The advertised address, no port.
    pub address: String,
}

/// The questions polling asks, so that one of them can fail alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Source {
    Events,
    Identity,
    Leader,
    Peers,
    RaftConfiguration,
    Autopilot,
    Members,
    WanMembers,
    Coordinates,
    Checks,
    Services,
    Instances,
    Stats,
    Monitor,
    Rules,
    Metrics,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Denial {
    /// 403: the token may not.
    Forbidden,
    /// 404 or 405: this version has no such thing. Asked again only after a reconnect.
    NotOffered,
    /// 500 or no answer within the deadline; asked again at its next turn.
    Failed,
}

/// What a key means. None changes the cluster: [`Action::Ask`] opens a dialog, and a stroke there may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    Show(Screen),
    NextPane,
    PreviousPane,
    Move(Motion),
    /// Enter: the detail of the selected row.
    Open,
    /// Escape: closes what is on top, else clears the filter, else leaves the detail.
    Back,
    FilterOpen,
    FilterPut(char),
    FilterErase,
    FilterWipe,
    FilterKeep,
    SortNext,
    SortReverse,
    Freeze,
    Follow,
    LevelNext,
    KindsNext,
    Zoom,
    Refresh,
    OtherAgent,
    /// Opens the dialog of something that changes the cluster.
    Ask(Act),
    /// A key in an open dialog.
    Dialog(Stroke),
    /// Something done to a node of the demo.
    Trick(Trick),
    /// To another moment.
    Leap(Leap),
    /// What the loss of each server would do.
    Impact,
    /// What is left when there is no quorum, and the way out.
    Recovery,
    /// Writes what lies over the screen to a file, where that is offered.
    Save,
    /// More of time on the timeline, or less.
    Span(Span),
    Help,
    /// The selected row, to the terminal's clipboard.
    Copy(Copied),
    /// `q`: back; at the top, close.
    Quit,
    /// Control-C: close at once.
    Close,
    Suspend,
}

/// What an operator can ask of the cluster; each has a dialog of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    Join,
    Leave,
    ForceLeave,
    Prune,
    /// Of the leadership, to another server.
    Transfer,
    /// A server out of Raft's configuration.
    RemovePeer,
    /// Of a service instance or a node: into maintenance, or out of it.
    Maintain,
}

/// What is copied of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Copied {
    /// As it is read.
    Row,
    /// The command for a shell that shows it.
    Command,
}

/// How much of time is on the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Span {
    Closer,
    Wider,
}

/// A step in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Leap {
    Back,
    On,
    /// To the change of leader before, or after.
    LeaderBack,
    LeaderOn,
    Live,
}

/// What can be done to a process of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Trick {
    /// At once, as a crash.
    Kill,
    /// It hangs, and goes on when this comes again.
    Pause,
    /// Started again, with what it has on its disk.
    Start,
    /// No traffic between it and the others, and again when this comes again.
    Cut,
}

/// A key in a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stroke {
    Put(char),
    Erase,
    Wipe,
    Next,
    Previous,
    /// Enter: what has the focus.
    Press,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Motion {
    Up,
    Down,
    PageUp,
    PageDown,
    HalfUp,
    HalfDown,
    Top,
    End,
}

/// The screens that exist; their numbers stay when others come between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Screen {
    #[default]
    Overview,
    Members,
    Raft,
    Services,
    Events,
}

impl Screen {
    pub const ALL: [Self; 5] = [Self::Overview, Self::Members, Self::Raft, Self::Services, Self::Events];

    /// The key that shows it.
    pub fn number(self) -> char {
        match self {
            Self::Overview => '1',
            Self::Members => '2',
            Self::Raft => '3',
            Self::Services => '4',
            Self::Events => '5',
        }
    }
}

/// What the runtime does for the model; the answer, if any, is a later [`Msg`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Restore the terminal, say what keeps running, end.
    Quit,
    /// Hand the terminal back and stop (Control-Z); on return, clear and draw everything.
    Suspend,
    /// Poll everything of this lane now; when it is lost, try it now.
    Refresh(LaneId),
    /// Close the lane in use and attach to this one.
    Attach(LaneId),
    /// Ask the agent for its log from this level up (our agents; a monitor always runs at debug).
    LogLevel(Level),
    /// Carry out an order; what comes of it is a [`Msg::Ordered`] with this number.
    Order { id: u64, to: Place, order: Order },
    /// Do this to a node of the demo; what comes of it is a [`Msg::Tricked`].
    Trick { node: String, trick: Trick },
    /// Look who is there; the newest look counts, those before it are given up.
    Probe { lane: LaneId, probe: Probe },
    /// Look at this of the catalog from now on.
    Watch(Interest),
    /// Hand this text to the terminal's clipboard.
    Copy(String),
    /// Write a new file of this name where the console runs; what comes of it is a [`Msg::Saved`].
    Save { name: String, text: String },
}

/// What of the catalog is on screen and so worth asking for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interest {
    /// The service whose instances are watched.
    pub service: Option<String>,
    /// Services whose instances are to be counted, once, in this order.
    pub counted: Vec<String>,
    /// Who knows how the checks of the selected instance work.
    pub agent: Option<OwnAgent>,
}

/// A node's own agent, and where it is taken to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnAgent {
    pub node: String,
    pub place: Place,
}

/// The agent that an order goes to: one of the command line, or another one, asked with that one's settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub lane: LaneId,
    pub address: Option<String>,
}
