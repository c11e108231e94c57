//! HTTP as bytes: one request a connection, so that a test sees what a client would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

fn connect(address: &str, timeout: Duration) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    Ok(stream)
}

fn send(stream: &mut TcpStream, line: &str, headers: &str, body: &str) -> std::io::Result<()> {
    let length = body.len();
    write!(stream, "{line} HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}")
}

fn head(reader: &mut impl BufRead) -> std::io::Result<Answer> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("not HTTP: {line:?}")))?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => return Ok(Answer { status, headers, body: String::new() }),
        }
    }
}

/// `line` is `GET /path`.
pub(crate) fn request(address: &str, line: &str, body: &str, timeout: Duration) -> std::io::Result<Answer> {
    let mut stream = connect(address, timeout)?;
    send(&mut stream, line, "", body)?;
    let mut reader = BufReader::new(stream);
    let mut answer = head(&mut reader)?;
    if answer.header("transfer-encoding") == Some("chunked") {
        while let Some(chunk) = chunk(&mut reader)? {
            answer.body.push_str(&chunk);
        }
    } else {
        match answer.header("content-length").and_then(|n| n.parse::<usize>().ok()) {
            Some(length) => {
                let mut bytes = vec![0; length];
                reader.read_exact(&mut bytes)?;
                answer.body = String::from_utf8_lossy(&bytes).into_owned();
            }
            None => {
                reader.read_to_string(&mut answer.body)?;
            }
        }
    }
    Ok(answer)
}

fn chunk(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(std::io::Error::other("the stream was cut"));
    }
    let size = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
    let mut bytes = vec![0; size + 2];
    reader.read_exact(&mut bytes)?;
    bytes.truncate(size);
    Ok((size > 0).then(|| String::from_utf8_lossy(&bytes).into_owned()))
}

/// A stream of server-sent events.
pub(crate) struct Stream {
    reader: BufReader<TcpStream>,
    buffer: String,
}

impl Stream {
    pub(crate) fn open(address: &str, path: &str, last_event_id: Option<&str>) -> std::io::Result<(Answer, Self)> {
        let mut stream = connect(address, Duration::from_secs(20))?;
        let resume = last_event_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        send(&mut stream, &format!("GET {path}"), &resume, "")?;
        let mut reader = BufReader::new(stream);
        let answer = head(&mut reader)?;
        Ok((answer, Self { reader, buffer: String::new() }))
    }

    /// The next frame as (id, event, data); none when the stream has ended.
    pub(crate) fn next(&mut self) -> Option<(String, String, serde_json::Value)> {
        loop {
            if let Some((frame, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| {
                    frame.lines().find_map(|line| line.strip_prefix(name)).map(|v| v.trim_start().to_owned())
                };
                let parsed = (field("id:"), field("event:"), field("data:"));
                self.buffer = rest.to_owned();
                if let (Some(id), Some(event), Some(data)) = parsed {
                    return Some((id, event, serde_json::from_str(&data).expect("data is JSON")));
                }
                continue;
            }
            let more = chunk(&mut self.reader).ok()??;
            self.buffer.push_str(&more);
        }
    }

    /// Frames up to and with the first that `is_last` likes.
    pub(crate) fn until(
        &mut self,
        mut is_last: impl FnMut(&str, &serde_json::Value) -> bool,
    ) -> Vec<(String, String, serde_json::Value)> {
        let mut seen = Vec::new();
        while let Some(frame) = self.next() {
            let last = is_last(&frame.1, &frame.2);
            seen.push(frame);
            if last {
                return seen;
            }
        }
        panic!("the stream ended after {seen:#?}");
    }
}
