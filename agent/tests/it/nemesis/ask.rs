//! One request over HTTP, with limits, by somebody who wants to know whether it may have been carried out.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Cut off or overrun, a host does not answer the first packet.
const CONNECT_WITHIN: Duration = Duration::from_millis(500);

#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

#[derive(Debug)]
pub(super) enum Trouble {
    /// There was no connection.
    NeverSent,
    /// It may have been read, and carried out.
    NoAnswer,
}

impl Answer {
    pub(super) fn index(&self) -> Option<u64> {
        let name = "x-consul-index:";
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(name))?;
        line[name.len()..].trim().parse().ok()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

/// `line` is `GET /path`; from the namespace of this thread.
pub(super) fn ask(address: SocketAddr, line: &str, body: &str, within: Duration) -> Result<Answer, Trouble> {
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_WITHIN).map_err(|_| Trouble::NeverSent)?;
    let length = body.len();
    let request = format!("{line} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    let mut bytes = Vec::new();
    let limits = stream.set_read_timeout(Some(within)).and_then(|()| stream.set_write_timeout(Some(within)));
    let sent = limits.and_then(|()| stream.write_all(request.as_bytes()));
    sent.and_then(|()| stream.read_to_end(&mut bytes)).map_err(|_| Trouble::NoAnswer)?;
    parse(&String::from_utf8_lossy(&bytes)).ok_or(Trouble::NoAnswer)
}

/// None where it was cut.
fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let lower = head.to_ascii_lowercase();
    let body = if lower.contains("transfer-encoding: chunked") {
        dechunked(body)?
    } else {
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"))?;
        Some(body.to_owned()).filter(|body| Some(body.len()) == length.trim().parse().ok())?
    };
    Some(Answer { status, head: head.to_owned(), body })
}

fn dechunked(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_a_whole_answer_is_one() {
        let body = |text: &str| parse(text).map(|answer| (answer.status, answer.body));
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue"), Some((200, "true".to_owned())));
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntr"), None);
        let chunks = "HTTP/1.1 404 N\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        assert_eq!(body(chunks), Some((404, "abcd".to_owned())));
        assert_eq!(body(&chunks[..chunks.len() - 5]), None);
    }
}
