//! The client against agents that stall, drop, refuse, lie or are none.
//!
//! A [`Fake`] answers each request as a script says, on threads of its own; what the client makes of it
//! is read from the messages it sends.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use console::client::{Client, QUEUE};
use console::msg::{AgentKind, Denial, Frame, LaneId, Link, Msg, Source, Trouble};
use console::polled::Polled;
use shared::event::Level;
use shared::http::Settings;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

/// Longer than any deadline of the client's.
const PATIENCE: Duration = Duration::from_secs(20);
const LANE: LaneId = LaneId(0);

#[derive(Clone)]
pub(crate) enum Reply {
    /// A whole answer: status, further head lines, body.
    Whole(u16, &'static str, String),
    /// A stream that says this and then nothing, for ever.
    Open(String),
    /// A stream that says this and ends.
    Ends(String),
    /// These bytes, whatever they are.
    Raw(&'static [u8]),
    /// Nothing, for ever.
    Silence,
    /// Closed with the request unread, so that the system resets it.
    Reset,
    /// A stream of this without end; the mark is set when the other side has closed it.
    Flood(String, Arc<Notify>),
}

/// What a hello of TLS asks for.
const TLS: &str = "tls";

pub(crate) fn json(body: &str) -> Reply {
    Reply::Whole(200, "content-type: application/json\r\nx-consul-index: 5\r\n", body.to_owned())
}

pub(crate) fn status(code: u16, body: &str) -> Reply {
    Reply::Whole(code, "", body.to_owned())
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// With its query.
    pub(crate) target: String,
    last_event_id: Option<String>,
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

pub(crate) struct Fake {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    pub(crate) fn new(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address").to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, told) = (Arc::new(script), seen.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, told) = (script.clone(), told.clone());
                std::thread::spawn(move || serve(stream, &*script, &told));
            }
        });
        Self { address, seen }
    }

    /// Requests for the event stream so far.
    fn streams(&self) -> Vec<Asked> {
        let seen = self.seen.lock().expect("no thread panicked");
        seen.iter().filter(|asked| asked.path() == "/v1/agent/events").cloned().collect()
    }

    fn times_asked(&self, path: &str) -> usize {
        self.seen.lock().expect("no thread panicked").iter().filter(|asked| asked.path() == path).count()
    }
}

fn serve(mut stream: TcpStream, script: &(dyn Fn(&Asked) -> Reply + Send + Sync), seen: &Mutex<Vec<Asked>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut head = Vec::new();
    // A hello of TLS has no lines.
    if reader.fill_buf().is_ok_and(|bytes| bytes.first() == Some(&0x16)) {
        answer(&mut stream, script(&Asked { target: TLS.to_owned(), last_event_id: None }));
        return;
    }
    loop {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(read) if read > 0 => {}
            _ => return,
        }
        if !line.trim().is_empty() {
            head.push(line.trim().to_owned());
            continue;
        }
        let asked = Asked {
            target: head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned(),
            last_event_id: head.iter().find_map(|line| line.strip_prefix("last-event-id: ")).map(str::to_owned),
        };
        head.clear();
        seen.lock().expect("no thread panicked").push(asked.clone());
        if !answer(&mut stream, script(&asked)) {
            return;
        }
    }
}

/// Answers; whether the connection goes on.
fn answer(stream: &mut TcpStream, reply: Reply) -> bool {
    let opened = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    match reply {
        Reply::Whole(code, lines, body) => {
            let length = body.len();
            write!(stream, "HTTP/1.1 {code} X\r\n{lines}content-length: {length}\r\n\r\n{body}").is_ok()
        }
        Reply::Open(text) => {
            let _ = write!(stream, "{opened}{text}");
            hold(stream)
        }
        Reply::Ends(text) => {
            let _ = write!(stream, "{opened}{text}");
            let _ = stream.shutdown(std::net::Shutdown::Both);
            false
        }
        Reply::Raw(bytes) => {
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            hold(stream)
        }
        Reply::Silence => hold(stream),
        Reply::Reset => {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            false
        }
        Reply::Flood(text, closed) => {
            let mut is_open = write!(stream, "{opened}").is_ok();
            while is_open {
                is_open = stream.write_all(text.as_bytes()).is_ok();
            }
            closed.notify_one();
            false
        }
    }
}

/// Reads until the other side goes away.
fn hold(stream: &mut TcpStream) -> bool {
    let _ = std::io::copy(stream, &mut std::io::sink());
    false
}

pub(crate) struct Watcher {
    pub(crate) client: Client,
    news: mpsc::Receiver<Msg>,
    last: Vec<String>,
}

impl Watcher {
    pub(crate) fn new(addresses: &[&str]) -> Self {
        let place = |address: &&str| Settings { address: (*address).to_owned(), ..Settings::default() };
        let places: Vec<Settings> = addresses.iter().map(place).collect();
        let (tell, news) = mpsc::channel(QUEUE);
        Self { client: Client::start(&places, &tell).expect("a client"), news, last: Vec::new() }
    }

    /// The next message that this picks.
    pub(crate) async fn until<T>(&mut self, what: &str, mut pick: impl FnMut(&Msg) -> Option<T>) -> T {
        let found = timeout(PATIENCE, async {
            loop {
                let msg = self.news.recv().await.expect("the client lives");
                let found = pick(&msg);
                self.last.push(format!("{msg:?}"));
                if let Some(found) = found {
                    return found;
                }
            }
        });
        let found = found.await;
        found.unwrap_or_else(|_| panic!("waiting for {what}, last seen:\n{}", self.last.join("\n")))
    }

    async fn until_link(&mut self, what: &str, pick: impl Fn(&Link) -> bool) -> LaneId {
        self.until(what, |msg| match msg {
            Msg::Link { lane, link, .. } if pick(link) => Some(*lane),
            _ => None,
        })
        .await
    }

    async fn until_lost(&mut self) -> (LaneId, Trouble) {
        self.until("a lost link", |msg| match msg {
            Msg::Link { lane, link: Link::Lost { trouble, .. }, .. } => Some((*lane, trouble.clone())),
            _ => None,
        })
        .await
    }

    async fn until_polled<T>(&mut self, what: &str, pick: impl Fn(&Polled) -> Option<T>) -> T {
        self.until(what, |msg| match msg {
            Msg::Polled { polled, .. } => pick(polled),
            _ => None,
        })
        .await
    }

    async fn until_denied(&mut self, source: Source) -> Denial {
        self.until("a denial", |msg| match msg {
            Msg::Denied { source: of, denial, .. } if *of == source => Some(*denial),
            _ => None,
        })
        .await
    }
}

/// What the client makes of an agent that answers everything with this.
fn lost(reply: Reply) -> impl Future<Output = Trouble> {
    let fake = Fake::new(move |_| reply.clone());
    async move { Watcher::new(&[&fake.address]).until_lost().await.1 }
}

pub(crate) fn frame(seq: u64, kind: &str, rest: &str) -> String {
    format!(
        "id: ab-{seq}\nevent: {kind}\ndata: {{\"ID\":\"ab-{seq}\",\"Origin\":{{\"Node\":\"one\",\"Boot\":\"ab\",\
         \"Seq\":{seq}}},\"Time\":\"2026-11-21T10:00:00.000000Z\",\"Node\":\"one\",\"Kind\":\"{kind}\",{rest}}}\n\n"
    )
}

fn confirmed(seq: u64) -> String {
    frame(seq, "raft", "\"Type\":\"leader-confirmed\",\"Term\":2")
}

const END: &str = "event: snapshot-end\ndata: {}\n\n";

#[tokio::test]
async fn a_stream_that_broke_off_is_resumed_where_it_was() {
    let picture = format!("{}{END}{}: alive\n\n", confirmed(1), confirmed(2));
    let fake = Fake::new(move |asked| match (asked.path(), &asked.last_event_id) {
        ("/v1/agent/events", None) => Reply::Ends(picture.clone()),
        ("/v1/agent/events", Some(_)) => Reply::Open(confirmed(3)),
        _ => status(404, ""),
    });
    let mut watcher = Watcher::new(&[&fake.address]);
    watcher.until_link("our agent", |link| *link == Link::Live { kind: AgentKind::Quorate }).await;
    let is_end = |msg: &Msg| matches!(msg, Msg::Frame { frame: Frame::SnapshotEnd, .. }).then_some(());
    watcher
        .until("the picture", |msg| {
            assert!(!matches!(msg, Msg::Frame { frame: Frame::Reset { .. }, .. }));
            is_end(msg)
        })
        .await;
    assert_eq!(watcher.until_lost().await, (LANE, Trouble::Ended));
    let begun = |msg: &Msg| matches!(msg, Msg::Frame { frame: Frame::PictureBegins, .. });
    let seq = watcher
        .until("the event after it", |msg| {
            assert!(!begun(msg), "a resumed stream is no new picture");
            match msg {
                Msg::Event { event, .. } if event.id.seq > 2 => Some(event.id.seq),
                _ => None,
            }
        })
        .await;
    assert_eq!(seq, 3);
    let resumed: Vec<_> = fake.streams().into_iter().map(|asked| asked.last_event_id).collect();
    assert_eq!(resumed, [None, Some("ab-2".to_owned())]);
}

#[tokio::test]
async fn a_picture_that_was_not_finished_is_asked_for_again() {
    let fake = Fake::new(|asked| match asked.path() {
        "/v1/agent/events" => Reply::Ends(confirmed(1)),
        _ => status(404, ""),
    });
    let mut watcher = Watcher::new(&[&fake.address]);
    for _ in 0..2 {
        let begun = |msg: &Msg| matches!(msg, Msg::Frame { frame: Frame::PictureBegins, .. }).then_some(());
        watcher.until("the beginning of a picture", begun).await;
        assert_eq!(watcher.until_lost().await.1, Trouble::Ended);
        watcher.client.refresh(LANE);
    }
    assert!(fake.streams().iter().all(|asked| asked.last_event_id.is_none()));
}

#[tokio::test]
async fn what_is_unknown_in_a_stream_is_passed_over_and_its_framing_told() {
    let text = format!(
        "{}event: raft\ndata: {{nonsense\n\n{}event: lagged\ndata: {{\"Missed\":7}}\n\nevent: reset\ndata: \
         {{\"Reason\":\"restarted\"}}\n\n{}",
        frame(1, "weather", "\"Type\":\"rain\""),
        frame(2, "raft", "\"Type\":\"not-yet-known\""),
        confirmed(3)
    );
    let fake = Fake::new(move |asked| match asked.path() {
        "/v1/agent/events" => Reply::Open(text.clone()),
        _ => status(404, ""),
    });
    let mut watcher = Watcher::new(&[&fake.address]);
    let mut frames = Vec::new();
    watcher
        .until("the known event", |msg| {
            if let Msg::Frame { frame, .. } = msg {
                frames.push(frame.clone());
            }
            matches!(msg, Msg::Event { event, .. } if event.id.seq == 3).then_some(())
        })
        .await;
    let reset = Frame::Reset { reason: "restarted".to_owned() };
    assert_eq!(frames, [Frame::PictureBegins, Frame::Lagged { missed: 7 }, reset]);
}

#[tokio::test]
async fn log_lines_about_our_own_requests_are_hidden_at_every_level() {
    let line = |seq: u64, message: &str| {
        let rest = format!("\"Type\":\"line\",\"Level\":\"DEBUG\",\"Logger\":\"agent.http\",\"Message\":\"{message}\"");
        frame(seq, "log", &rest)
    };
    let text = [
        line(1, "Request finished: method=GET url=/v1/agent/events?kind=log from=x latency=1ms"),
        line(2, "Request finished: method=GET url=/v1/health/state/any?stale from=x latency=1ms"),
        line(3, "Request error: method=GET url=/v1/operator/raft/configuration from=x error=\\\"Permission denied\\\""),
        line(4, "Request finished: method=PUT url=/v1/kv/a from=x latency=1ms"),
    ]
    .concat();
    let fake = Fake::new(move |asked| match asked.path() {
        "/v1/agent/events" => Reply::Open(text.clone()),
        _ => status(404, ""),
    });
    let mut watcher = Watcher::new(&[&fake.address]);
    let seq = |msg: &Msg| match msg {
        Msg::Event { event, .. } => Some(event.id.seq),
        _ => None,
    };
    assert_eq!(watcher.until("a line of another's", seq).await, 4);
}

#[tokio::test]
async fn another_level_of_log_lines_opens_the_stream_again() {
    let fake = Fake::new(|asked| match asked.path() {
        "/v1/agent/events" => Reply::Open(format!("{}{END}", confirmed(1))),
        _ => status(404, ""),
    });
    let mut watcher = Watcher::new(&[&fake.address]);
    let is_end = |msg: &Msg| matches!(msg, Msg::Frame { frame: Frame::SnapshotEnd, .. }).then_some(());
    watcher.until("the picture", is_end).await;
    watcher.client.set_log_level(Level::Debug);
    watcher.until("the stream again", is_end).await;
    let streams = fake.streams();
    assert!(streams[0].target.contains("level=info") && streams[1].target.contains("level=debug"), "{streams:?}");
}

#[tokio::test]
async fn an_agent_that_hangs_is_lost_long_before_its_stream_is_silent_for_too_long() {
    let fake = Fake::new(|asked| match asked.path() {
        "/v1/agent/events" => Reply::Open(format!("{}{END}", confirmed(1))),
        _ => Reply::Silence,
    });
    let mut watcher = Watcher::new(&[&fake.address]);
    watcher.until_link("our agent", |link| matches!(link, Link::Live { .. })).await;
    // The stream may be silent for longer than this waits.
    assert_eq!(watcher.until_lost().await, (LANE, Trouble::TimedOut));
}

#[tokio::test]
async fn each_trouble_has_its_name() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    assert_eq!(Watcher::new(&[&port.to_string()]).until_lost().await.1, Trouble::Refused);
    assert_eq!(lost(Reply::Silence).await, Trouble::TimedOut);
    assert_eq!(lost(status(403, "Permission denied")).await, Trouble::Forbidden);
    // A TLS alert: fatal, unexpected message.
    assert_eq!(lost(Reply::Raw(b"\x15\x03\x01\x00\x02\x02\x0a")).await, Trouble::TlsExpected);
    let go = "Client sent an HTTP request to an HTTPS server.\n";
    assert_eq!(lost(status(400, go)).await, Trouble::TlsExpected);
    assert_eq!(lost(Reply::Raw(b"SSH-2.0-OpenSSH_9\r\n")).await, not_an_agent("it does not speak HTTP"));
    let page = Reply::Whole(404, "server: nginx\r\n", "<html>no such page</html>".to_owned());
    assert_eq!(lost(page).await, not_an_agent("nginx says 404"));
    assert_eq!(lost(status(404, "404 page not found\n")).await, not_an_agent("404 page not found"));
    assert!(matches!(lost(json("{\"a\":1}")).await, Trouble::NotAnAgent(_)));
    assert!(matches!(lost(status(500, "No cluster leader")).await, Trouble::Other(_)));
    assert_eq!(lost(Reply::Reset).await, Trouble::Ended);
}

#[tokio::test]
async fn the_next_attempt_still_says_why_the_last_one_failed() {
    let fake = Fake::new(|_| Reply::Reset);
    let mut watcher = Watcher::new(&[&fake.address]);
    let connecting = |msg: &Msg| match msg {
        Msg::Link { link: Link::Connecting { attempt, after }, .. } => Some((*attempt, after.clone())),
        _ => None,
    };
    assert_eq!(watcher.until("the first attempt", connecting).await, (0, None));
    assert_eq!(watcher.until("the second attempt", connecting).await, (1, Some(Trouble::Ended)));
}

#[tokio::test]
async fn one_who_wants_tls_is_known_even_when_it_closes_without_a_word() {
    // A server's hello begins so.
    let fake = Fake::new(|asked| match asked.path() {
        TLS => Reply::Raw(b"\x16\x03\x03\x00\x31\x02"),
        _ => Reply::Reset,
    });
    assert_eq!(Watcher::new(&[&fake.address]).until_lost().await.1, Trouble::TlsExpected);
}

fn not_an_agent(said: &str) -> Trouble {
    Trouble::NotAnAgent(said.to_owned())
}

const OWN: &str = r#"{"Config":{"Datacenter":"dc1","NodeName":"srv-1","NodeID":"id-1","Server":true,"Version":"1.8.7"},
    "Member":{"Addr":"10.0.0.1"},"Stats":{"raft":{"term":"2"}}}"#;

pub(crate) fn hashicorp(asked: &Asked) -> Reply {
    match asked.path() {
        "/v1/agent/self" => json(OWN),
        "/v1/status/leader" => json("\"10.0.0.1:8300\""),
        "/v1/agent/members" => json("null"),
        "/v1/health/state/any" if asked.target.contains("index=") => Reply::Silence,
        "/v1/health/state/any" => json("[]"),
        "/v1/operator/raft/configuration" => status(403, "Permission denied"),
        "/v1/status/peers" => json("[\"10.0.0.1:8300\"]"),
        "/v1/operator/autopilot/health" => {
            Reply::Whole(429, "", r#"{"Healthy":false,"FailureTolerance":0,"Servers":null}"#.to_owned())
        }
        "/v1/agent/monitor" => Reply::Open(
            "T [DEBUG] agent.http: Request finished: method=GET url=/v1/agent/members from=x\nT [INFO]  agent: hello\n"
                .to_owned(),
        ),
        _ => status(404, ""),
    }
}

#[tokio::test]
async fn an_agent_of_hashicorps_is_asked_for_what_ours_tell() {
    let fake = Fake::new(hashicorp);
    let mut watcher = Watcher::new(&[&fake.address]);
    watcher.until_link("their agent", |link| *link == Link::Live { kind: AgentKind::HashiCorp }).await;
    let identity = watcher.until_polled("identity", |polled| match polled {
        Polled::Identity(identity) => Some(identity.clone()),
        _ => None,
    });
    let identity = identity.await;
    assert_eq!((identity.node.as_str(), identity.address.as_str(), identity.server), ("srv-1", "10.0.0.1", true));
    let mut wanted = vec!["term 2", "leader", "no members", "unhealthy", "no checks", "one peer", "a line", "denied"];
    watcher
        .until("every answer", |msg| {
            let seen = match msg {
                Msg::Polled { polled, .. } => match polled {
                    Polled::Stats(stats) if stats["term"] == "2" => "term 2",
                    Polled::Leader(Some(_)) => "leader",
                    Polled::Members(members) if members.is_empty() => "no members",
                    Polled::Autopilot(health) if !health.healthy => "unhealthy",
                    Polled::Checks(checks) if checks.is_empty() => "no checks",
                    Polled::Peers(peers) if peers.len() == 1 => "one peer",
                    Polled::MonitorLine(line) if line == "T [INFO]  agent: hello" => "a line",
                    _ => "",
                },
                Msg::Denied { source: Source::RaftConfiguration, denial: Denial::Forbidden, .. } => "denied",
                _ => "",
            };
            assert!(!format!("{msg:?}").contains("Request finished"), "our own requests are hidden");
            wanted.retain(|name| *name != seen);
            wanted.is_empty().then_some(())
        })
        .await;
}

#[tokio::test]
async fn what_is_not_offered_is_asked_for_once_and_the_rest_goes_on() {
    let fake = Fake::new(|asked| match asked.path() {
        "/v1/operator/autopilot/health" => status(404, ""),
        _ => hashicorp(asked),
    });
    let mut watcher = Watcher::new(&[&fake.address]);
    assert_eq!(watcher.until_denied(Source::Autopilot).await, Denial::NotOffered);
    for _ in 0..3 {
        watcher.client.refresh(LANE);
        watcher.until_polled("members", |polled| matches!(polled, Polled::Members(_)).then_some(())).await;
    }
    assert_eq!(fake.times_asked("/v1/operator/autopilot/health"), 1);
}

#[tokio::test]
async fn one_that_fails_alone_does_not_end_the_connection() {
    let fake = Fake::new(|asked| match asked.path() {
        "/v1/status/leader" => status(500, "No known Consul servers"),
        "/v1/health/state/any" => Reply::Reset,
        _ => hashicorp(asked),
    });
    let mut watcher = Watcher::new(&[&fake.address]);
    assert_eq!(watcher.until_denied(Source::Leader).await, Denial::Failed);
    assert_eq!(watcher.until_denied(Source::Checks).await, Denial::Failed);
    watcher.until_polled("members", |polled| matches!(polled, Polled::Members(_)).then_some(())).await;
    assert!(!watcher.last.iter().any(|msg| msg.contains("Lost")), "{}", watcher.last.join("\n"));
}

#[tokio::test]
async fn another_agent_stands_in_for_one_that_is_away_until_it_is_asked_for() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let fake = Fake::new(hashicorp);
    let mut watcher = Watcher::new(&[&port.to_string(), &fake.address]);
    assert_eq!(watcher.until_lost().await, (LANE, Trouble::Refused));
    let is_live = |link: &Link| matches!(link, Link::Live { .. });
    assert_eq!(watcher.until_link("the other one", is_live).await, LaneId(1));
    assert_eq!(watcher.until_link("the first at rest", |link| *link == Link::Idle).await, LANE);
    watcher.client.attach(LANE);
    assert_eq!(watcher.until_link("the other one at rest", |link| *link == Link::Idle).await, LaneId(1));
    assert_eq!(watcher.until_lost().await, (LANE, Trouble::Refused));
    assert_eq!(watcher.until_link("the other one again", is_live).await, LaneId(1));
}

#[tokio::test]
async fn a_reader_whose_news_nobody_takes_gives_up_and_starts_anew() {
    let (flood, closed) = (confirmed(1).repeat(64), Arc::new(Notify::new()));
    let mark = closed.clone();
    let fake = Fake::new(move |asked| match asked.path() {
        "/v1/agent/events" => Reply::Flood(flood.clone(), mark.clone()),
        _ => status(404, ""),
    });
    let mut watcher = Watcher::new(&[&fake.address]);
    watcher.until_link("our agent", |link| matches!(link, Link::Live { .. })).await;
    // Nothing is taken until the other side sees its connection end.
    timeout(PATIENCE, closed.notified()).await.expect("the stream is given up");
    assert_eq!(watcher.news.len(), QUEUE);
    let (_, trouble) = watcher.until_lost().await;
    assert!(matches!(&trouble, Trouble::Other(why) if why.contains("could not keep up")), "{trouble:?}");
}
