//! Request targets as Go takes them: `<`, `>`, `"`, `` ` `` and `#` unescaped, which hyper refuses.
//!
//! `server` puts a [`Lenient`] between a socket and hyper; it escapes those bytes in request lines and
//! leaves every other byte alone. To find the request lines it follows heads and told body lengths;
//! from a body in chunks on it only passes bytes through.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// As much of a header line as matters.
const LINE: usize = 64;

/// Where in a connection's bytes we are.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// Before the first blank of a request line.
    Method,
    /// Between the blanks.
    Target,
    /// Header lines, and the rest of the request line.
    Head,
    Body(u64),
    /// Request lines are not looked for any more.
    Blind,
}

#[derive(Debug)]
struct Scan {
    place: Place,
    /// The start of the header line, lower case.
    line: Vec<u8>,
    body: u64,
    chunked: bool,
}

impl Scan {
    fn new() -> Self {
        Self { place: Place::Method, line: Vec::new(), body: 0, chunked: false }
    }

    /// The index of the first byte that must be escaped.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            match self.place {
                Place::Blind => return None,
                Place::Body(left) => {
                    let here = left.min((bytes.len() - at) as u64);
                    at += usize::try_from(here).unwrap_or(usize::MAX);
                    self.place = if left == here { Place::Method } else { Place::Body(left - here) };
                }
                Place::Target if escape(bytes[at]).is_some() => return Some(at),
                _ => {
                    self.step(bytes[at]);
                    at += 1;
                }
            }
        }
        None
    }

    fn step(&mut self, byte: u8) {
        match (&self.place, byte) {
            (Place::Method, b' ') => self.place = Place::Target,
            (Place::Target, b' ') => {
                self.place = Place::Head;
                self.line.clear();
                // What is left of the request line is no header.
                self.line.push(b' ');
            }
            // A line without a blank is none of HTTP/1: hyper will say so.
            (Place::Target, b'\n') => self.place = Place::Blind,
            (Place::Head, b'\n') => self.end_line(),
            (Place::Head, byte) if byte != b'\r' && self.line.len() < LINE => self.line.push(byte.to_ascii_lowercase()),
            _ => {}
        }
    }

    fn end_line(&mut self) {
        if self.line.is_empty() {
            self.place = match (self.chunked, self.body) {
                (true, _) => Place::Blind,
                (false, 0) => Place::Method,
                (false, length) => Place::Body(length),
            };
            (self.body, self.chunked) = (0, false);
            return;
        }
        if let Some(value) = self.line.strip_prefix(b"content-length:") {
            match std::str::from_utf8(value).ok().and_then(|text| text.trim().parse().ok()) {
                Some(length) => self.body = length,
                None => self.chunked = true,
            }
        }
        self.chunked |= self.line.starts_with(b"transfer-encoding:");
        self.line.clear();
    }
}

fn escape(byte: u8) -> Option<&'static [u8]> {
    Some(match byte {
        b'<' => b"%3C",
        b'>' => b"%3E",
        b'"' => b"%22",
        b'`' => b"%60",
        b'#' => b"%23",
        _ => return None,
    })
}

/// A stream whose request lines hyper can read.
pub(super) struct Lenient<S> {
    inner: S,
    scan: Scan,
    /// Read and rewritten, not handed out yet.
    ready: Vec<u8>,
    given: usize,
}

impl<S> Lenient<S> {
    /// Goes on after `read`, which was read of it already.
    pub(super) fn after(read: Vec<u8>, inner: S) -> Self {
        let mut stream = Self { inner, scan: Scan::new(), ready: Vec::new(), given: 0 };
        match stream.scan.find(&read) {
            Some(first) => stream.rewrite(&read, first),
            None => stream.ready = read,
        }
        stream
    }

    /// Hands out what is ready; false when there was nothing.
    fn give(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let rest = &self.ready[self.given..];
        let count = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..count]);
        self.given += count;
        if self.given == self.ready.len() {
            self.ready.clear();
            self.given = 0;
        }
        count > 0
    }

    /// Rewrites `bytes`, just read, from the byte at `first` on.
    fn rewrite(&mut self, mut bytes: &[u8], first: usize) {
        let mut next = Some(first);
        while let Some(at) = next {
            self.ready.extend_from_slice(&bytes[..at]);
            self.ready.extend_from_slice(escape(bytes[at]).unwrap_or_default());
            bytes = &bytes[at + 1..];
            next = self.scan.find(bytes);
        }
        self.ready.extend_from_slice(bytes);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lenient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.give(buf) {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {}
            other => return other,
        }
        if let Some(first) = this.scan.find(&buf.filled()[before..]) {
            let bytes = buf.filled()[before..].to_vec();
            this.rewrite(&bytes, first);
            buf.set_filled(before);
            this.give(buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lenient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// Sends `sent` in pieces of `size` bytes.
    async fn through(sent: &str, size: usize) -> String {
        let mut stream = pieces(sent.as_bytes(), size);
        let mut got = Vec::new();
        let mut buffer = [0; 7];
        loop {
            let count = stream.read(&mut buffer).await.expect("read");
            if count == 0 {
                return String::from_utf8(got).expect("text");
            }
            got.extend_from_slice(&buffer[..count]);
        }
    }

    struct Pieces<'a> {
        rest: &'a [u8],
        size: usize,
    }

    impl AsyncRead for Pieces<'_> {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let count = self.size.min(self.rest.len()).min(buf.remaining());
            let (now, later) = self.rest.split_at(count);
            buf.put_slice(now);
            self.rest = later;
            Poll::Ready(Ok(()))
        }
    }

    fn pieces(rest: &[u8], size: usize) -> Lenient<Pieces<'_>> {
        let (read, rest) = rest.split_at(size.min(rest.len()) / 2);
        Lenient::after(read.to_vec(), Pieces { rest, size })
    }

    async fn check(sent: &str, expected: &str) {
        for size in [1, 2, 3, 5, 1000] {
            assert_eq!(through(sent, size).await, expected, "in pieces of {size}");
        }
    }

    #[tokio::test]
    async fn only_request_lines_are_changed() {
        check("GET /<a> HTTP/1.1\r\nX: <\r\n\r\n", "GET /%3Ca%3E HTTP/1.1\r\nX: <\r\n\r\n").await;
        check(
            "PUT /`\"# HTTP/1.1\r\nContent-Length: 12\r\n\r\nGET /<> HTTPGET /<>?< HTTP/1.1\n\nGET /> x\r\n\r\n",
            "PUT /%60%22%23 HTTP/1.1\r\nContent-Length: 12\r\n\r\nGET /<> HTTPGET /%3C%3E?%3C HTTP/1.1\n\nGET /%3E x\r\n\r\n",
        )
        .await;
    }

    #[tokio::test]
    async fn after_a_body_in_chunks_nothing_is_changed() {
        let sent = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nA <>\r\n0\r\n\r\nGET /<> HTTP/1.1\r\n\r\n";
        check(sent, sent).await;
        let sent = "PUT / HTTP/1.1\r\nContent-Length: x\r\n\r\nGET /<> HTTP/1.1\r\n\r\n";
        check(sent, sent).await;
    }
}
