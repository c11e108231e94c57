//! Takes a `text/event-stream` apart, in whatever pieces it comes; pure.
//!
//! Called with every piece of the body by whoever reads [`crate::event`]'s stream. The rules are those of the
//! HTML standard, except that `retry` is passed over: the reader has its own pauses.

/// One thing the stream said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    Frame(Frame),
    /// A line that is for nobody: a sign of life.
    Comment,
    /// A frame passed the limit and was dropped.
    Oversize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// The frame's own `id`, when it has one.
    pub id: Option<String>,
    /// Empty when not said.
    pub event: String,
    /// Lines of `data`, joined by line feeds.
    pub data: String,
}

/// What has come of a frame that is not complete.
#[derive(Debug)]
pub struct Parser {
    bytes_max: usize,
    line: Vec<u8>,
    frame: Frame,
    has_data: bool,
    /// Bytes of the frame so far, lines complete or not.
    bytes: usize,
    is_oversize: bool,
    after_return: bool,
    is_started: bool,
}

impl Parser {
    /// No frame, and no comment, may be longer than `bytes_max`.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            line: Vec::new(),
            frame: Frame::default(),
            has_data: false,
            bytes: 0,
            is_oversize: false,
            after_return: false,
            is_started: false,
        }
    }

    /// Takes the next piece and adds what it completes to `items`.
    pub fn feed(&mut self, piece: &[u8], items: &mut Vec<Item>) {
        for &byte in piece {
            let ends_line = match byte {
                // The second half of a line end that was seen already.
                b'\n' if self.after_return => {
                    self.after_return = false;
                    continue;
                }
                b'\n' | b'\r' => true,
                _ => false,
            };
            self.after_return = byte == b'\r';
            if ends_line {
                self.end_line(items);
            } else if self.bytes < self.bytes_max {
                self.bytes += 1;
                self.line.push(byte);
            } else {
                self.is_oversize = true;
                if self.line.is_empty() {
                    // Enough to tell that the line is not empty.
                    self.line.push(byte);
                }
            }
        }
    }

    fn end_line(&mut self, items: &mut Vec<Item>) {
        let line = std::mem::take(&mut self.line);
        let mut text = line.as_slice();
        if !std::mem::replace(&mut self.is_started, true) {
            text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        }
        match text.first() {
            None => self.end_frame(items),
            Some(b':') => {
                // A comment takes no room in the frame around it.
                self.bytes = self.bytes.saturating_sub(line.len());
                items.push(Item::Comment);
            }
            Some(_) if self.is_oversize => {}
            Some(_) => self.field(text),
        }
        // The line's storage is used again.
        self.line = line;
        self.line.clear();
    }

    fn field(&mut self, line: &[u8]) {
        let (name, value) = match line.iter().position(|byte| *byte == b':') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let value = String::from_utf8_lossy(value);
        match name {
            b"id" if !value.contains('\0') => self.frame.id = Some(value.into_owned()),
            b"event" => self.frame.event = value.into_owned(),
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.frame.data.push('\n');
                }
                self.frame.data.push_str(&value);
            }
            _ => {}
        }
    }

    fn end_frame(&mut self, items: &mut Vec<Item>) {
        let frame = std::mem::take(&mut self.frame);
        let has_data = std::mem::take(&mut self.has_data);
        self.bytes = 0;
        if std::mem::take(&mut self.is_oversize) {
            items.push(Item::Oversize);
        } else if has_data {
            items.push(Item::Frame(frame));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(id: Option<&str>, event: &str, data: &str) -> Item {
        Item::Frame(Frame { id: id.map(str::to_owned), event: event.to_owned(), data: data.to_owned() })
    }

    /// Feeds the text whole, byte by byte, and cut in two at every place.
    #[track_caller]
    fn check(text: &str, expected: &[Item]) {
        let bytes = text.as_bytes();
        let parse = |pieces: &[&[u8]]| {
            let (mut parser, mut items) = (Parser::new(64), Vec::new());
            for piece in pieces {
                parser.feed(piece, &mut items);
            }
            items
        };
        assert_eq!(parse(&[bytes]), expected, "{text:?}");
        assert_eq!(parse(&bytes.chunks(1).collect::<Vec<_>>()), expected, "{text:?} by bytes");
        for at in 0..bytes.len() {
            assert_eq!(parse(&[&bytes[..at], &bytes[at..]]), expected, "{text:?} cut at {at}");
        }
    }

    #[test]
    fn a_frame_is_its_fields_up_to_an_empty_line() {
        check("id: ab-1\nevent: raft\ndata: {}\n\n", &[frame(Some("ab-1"), "raft", "{}")]);
        check("data:x\n\ndata:  y\n\n", &[frame(None, "", "x"), frame(None, "", " y")]);
        check("data: one\ndata\ndata: three\n\n", &[frame(None, "", "one\n\nthree")]);
        check("\u{feff}data: é\n\n", &[frame(None, "", "é")]);
        check("id: 1\nevent: e\n\n", &[]);
        check("data: not yet ended\n", &[]);
        check("retry: 5\nother: x\ndata: y\n\n", &[frame(None, "", "y")]);
    }

    #[test]
    fn lines_end_with_one_or_both_of_return_and_feed() {
        check(
            "data: x\r\n\r\ndata: y\r\rdata: z\n\n",
            &[frame(None, "", "x"), frame(None, "", "y"), frame(None, "", "z")],
        );
    }

    #[test]
    fn comments_are_signs_of_life() {
        check(": alive\n\n", &[Item::Comment]);
        check("data: x\n:\ndata: y\n\n", &[Item::Comment, frame(None, "", "x\ny")]);
    }

    #[test]
    fn a_frame_beyond_the_limit_is_dropped_alone() {
        let long = "x".repeat(100);
        check(&format!("data: {long}\n\ndata: y\n\n"), &[Item::Oversize, frame(None, "", "y")]);
        let many = "data: 0123456789\n".repeat(7);
        check(&format!("{many}\ndata: y\n\n"), &[Item::Oversize, frame(None, "", "y")]);
        check(&format!(": {long}\n\ndata: y\n\n"), &[Item::Comment, Item::Oversize, frame(None, "", "y")]);
    }

    #[test]
    fn comments_without_end_take_no_room() {
        let text = format!("data: x\n{}\n", ": alive\n".repeat(50));
        let mut items = Vec::new();
        Parser::new(64).feed(text.as_bytes(), &mut items);
        assert_eq!(items.last(), Some(&frame(None, "", "x")));
    }
}
