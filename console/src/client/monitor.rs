//! `/v1/agent/monitor`: the log of HashiCorp's agents, the only place where their votes and suspicions show.
//! At this level it tells of every request, ours too; those lines are hidden.

use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use shared::http::Answer;
use tokio::time::timeout;

use super::backoff::{Backoff, LAST};
use super::wire::{Miss, Wire, denial, pause};
use crate::msg::{Denial, Source, Trouble};
use crate::polled::Polled;

/// Longer lines are cut: a log is read, not parsed.
const LINE_BYTES_MAX: usize = 8 << 10;
/// 1.8.7 sends the head with the first line, and our own requests make lines.
const HEAD: Duration = Duration::from_secs(15);
const FORBIDDEN: Duration = Duration::from_secs(30);
/// What this console asks for again and again.
const OURS: [&str; 10] = [
    "/v1/agent/events",
    "/v1/agent/members",
    "/v1/agent/monitor",
    "/v1/agent/self",
    "/v1/coordinate/nodes",
    "/v1/health/state/any",
    "/v1/operator/autopilot/health",
    "/v1/operator/raft/configuration",
    "/v1/status/leader",
    "/v1/status/peers",
];

/// Hands on lines for ever; a log that ends is opened again.
pub(super) async fn monitor(wire: &Wire) -> Trouble {
    let mut backoff = Backoff::default();
    let mut dice = SmallRng::from_os_rng();
    let mut kicks = wire.kicks();
    loop {
        let denial = match open(wire).await {
            Ok(answer) => {
                backoff.succeeded();
                read(wire, answer).await;
                None
            }
            // Whether the agent is lost is for the questions to find out.
            Err(Miss::Lost(_)) => Some(Denial::Failed),
            Err(Miss::Denied(denial)) => Some(denial),
        };
        if let Some(denial) = denial
            && let Err(trouble) = wire.denied(Source::Monitor, denial).await
        {
            return trouble;
        }
        let wait = match denial {
            Some(Denial::NotOffered) => return std::future::pending().await,
            Some(Denial::Forbidden) => FORBIDDEN,
            Some(Denial::Failed) | None => backoff.failed(&mut dice, LAST),
        };
        pause(wait, &mut kicks).await;
    }
}

async fn open(wire: &Wire) -> Result<Answer, Miss> {
    let request = wire.get("/v1/agent/monitor").query("loglevel", "debug").streaming();
    let answer = timeout(HEAD, request.send_any()).await.map_err(|_| Miss::Lost(Trouble::TimedOut))??;
    match answer.status() {
        200 => Ok(answer),
        code => Err(Miss::Denied(denial(code))),
    }
}

async fn read(wire: &Wire, mut answer: Answer) {
    let mut lines = Lines::default();
    while let Ok(Some(piece)) = answer.chunk().await {
        lines.feed(&piece, |line| {
            if !is_ours(line) {
                wire.spill(Polled::MonitorLine(line.to_owned()));
            }
        });
    }
}

/// Bytes into lines, each of a bounded length.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, piece: &[u8], mut take: impl FnMut(&str)) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_whole) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            let room = LINE_BYTES_MAX - self.line.len();
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if is_whole {
                let line = String::from_utf8_lossy(&self.line);
                let line = line.trim_end_matches('\r');
                if !line.is_empty() {
                    take(line);
                }
                self.line.clear();
            }
        }
    }
}

/// A line about a request that this console makes. Another reader's same request looks alike and is hidden too.
pub(super) fn is_ours(line: &str) -> bool {
    // Consul: `agent.http: Request finished: method=GET url=/v1/… from=… latency=…`; before 1.7
    // `http: Request GET /v1/… (1ms) from=…`. One that failed is told as `Request error: …`; its pane says so.
    let begins = ["Request finished: method=GET url=", "Request error: method=GET url=", "http: Request GET "];
    let Some((_, path)) = begins.into_iter().find_map(|begin| line.split_once(begin)) else { return false };
    let path = path.trim_start_matches('"');
    let end = path.find([' ', '?', '"']).unwrap_or(path.len());
    OURS.contains(&&path[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: bool) {
        assert_eq!(is_ours(line), expected, "{line}");
    }

    #[test]
    fn our_own_requests_are_hidden_and_no_others() {
        check(
            "2026-11-21T02:00:00Z [DEBUG] agent.http: Request finished: method=GET url=/v1/agent/members from=127.0.0.1:1 latency=1ms",
            true,
        );
        check(
            "… [DEBUG] agent.http: Request finished: method=GET url=/v1/health/state/any?index=5&wait=60s from=x",
            true,
        );
        check("… [DEBUG] agent.http: Request finished: method=GET url=\"/v1/agent/self?x=a b\" from=x", true);
        check("2019/01/01 [DEBUG] http: Request GET /v1/status/leader (12µs) from=127.0.0.1:1", true);
        check("… [ERROR] agent.http: Request error: method=GET url=/v1/agent/self from=x error=\"a b\"", true);
        check("… [ERROR] agent.http: Request error: method=GET url=/v1/kv/a from=x error=\"a b\"", false);
        check("… [DEBUG] agent.http: Request finished: method=GET url=/v1/kv/a from=x", false);
        check("… [DEBUG] agent.http: Request finished: method=PUT url=/v1/agent/self from=x", false);
        check("… [INFO]  agent.server.raft: election won: tally=2", false);
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let text = format!("one\r\n\ntwo é\n{}\nthree", "x".repeat(2 * LINE_BYTES_MAX));
        for size in [1, 2, 3, 1000, text.len()] {
            let (mut lines, mut seen) = (Lines::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                lines.feed(piece, |line| seen.push(line.to_owned()));
            }
            assert_eq!(seen, ["one".to_owned(), "two é".to_owned(), "x".repeat(LINE_BYTES_MAX)], "by {size}");
        }
    }
}
