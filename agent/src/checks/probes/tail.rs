//! The end of a long output: the last bytes are kept, the rest is counted.

use std::collections::VecDeque;

pub(super) struct Tail {
    kept: VecDeque<u8>,
    max: usize,
    total: u64,
}

impl Tail {
    pub(super) fn new(max: usize) -> Self {
        Self { kept: VecDeque::new(), max, total: 0 }
    }

    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let bytes = &bytes[bytes.len().saturating_sub(self.max)..];
        let over = (self.kept.len() + bytes.len()).saturating_sub(self.max);
        self.kept.drain(..over);
        self.kept.extend(bytes);
    }

    /// How many bytes there were.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// What was kept; bytes that are no text are shown as such.
    pub(super) fn text(self) -> String {
        String::from_utf8_lossy(&Vec::from(self.kept)).into_owned()
    }

    /// With Consul's words where not all was kept.
    pub(super) fn told(self) -> String {
        let (kept, total) = (self.kept.len(), self.total);
        let text = self.text();
        if total > kept as u64 { format!("Captured {kept} of {total} bytes\n...\n{text}") } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept() {
        let check = |chunks: &[&str], expected: &str| {
            let mut tail = Tail::new(4);
            chunks.iter().for_each(|chunk| tail.take(chunk.as_bytes()));
            assert_eq!(tail.told(), expected);
        };
        check(&[], "");
        check(&["ab", "cd"], "abcd");
        check(&["abc", "de"], "Captured 4 of 5 bytes\n...\nbcde");
        check(&["a", "bcdefgh"], "Captured 4 of 8 bytes\n...\nefgh");
    }
}
