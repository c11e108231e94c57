//! `/v1/agent/monitor`: the agent's log as it is written, until the client goes away or the agent ends.

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures_util::stream;
use serde_json::json;
use shared::event::Level;
use tokio_util::sync::CancellationToken;

use super::error::{Error, Refusal};
use super::extract::Call;
use super::json;
use super::router::Method;
use crate::clock;
use crate::logs::{Line, Subscription};

pub(super) async fn monitor(call: Call, _: Method) -> Result<Response, Refusal> {
    let name = call.params.given("loglevel").unwrap_or("INFO");
    let level: Level = name.parse().map_err(|()| Error::LogLevel(name.to_owned()))?;
    let tail = Tail {
        lines: call.context.logs.subscribe(level),
        stop: call.stop.clone(),
        as_json: call.params.has("logjson"),
    };
    let body = stream::unfold(tail, |mut tail| async move {
        let chunk = tail.next().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), tail))
    });
    Ok(Response::new(Body::from_stream(body)))
}

struct Tail {
    lines: Subscription,
    stop: CancellationToken,
    as_json: bool,
}

impl Tail {
    /// The next line; before it, how many this client was too slow for.
    async fn next(&mut self) -> Option<Bytes> {
        let line = tokio::select! {
            line = self.lines.next() => line?,
            () = self.stop.cancelled() => return None,
        };
        let mut text = String::new();
        let dropped = self.lines.dropped();
        if dropped > 0 {
            ::metrics::counter!("quorate.http.monitor_dropped").increment(dropped);
            self.push(
                &mut text,
                &Line {
                    at: clock::wall(),
                    level: Level::Warn,
                    logger: "agent".to_owned(),
                    message: format!("Dropped {dropped} logs during monitor request"),
                },
            );
        }
        self.push(&mut text, &line);
        Some(Bytes::from(text))
    }

    fn push(&self, text: &mut String, line: &Line) {
        if self.as_json {
            let value = json!({
                "@level": format!("{:?}", line.level).to_lowercase(),
                "@message": line.message,
                "@module": line.logger,
                "@timestamp": line.at.to_string(),
            });
            let bytes = json::encode(&value, false).unwrap_or_default();
            text.push_str(&String::from_utf8_lossy(&bytes));
        } else {
            text.push_str(&line.to_string());
        }
        text.push('\n');
    }
}
