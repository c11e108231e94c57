//! The msgpack of Go's gossip libraries: the old specification, in which text and bytes are one kind.
//!
//! Writing gives exactly their bytes (fixraw, raw16, raw32; maps with sorted keys; nil for nothing).
//! Reading takes what they take: also str8 and the bin family, unknown fields skipped.
//! Used by `codec` and its like, and for what agents put into user events. Every length is checked against the bytes that are there.

/// Why bytes could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// More bytes could make it whole: a stream reads on.
    Short,
    /// No further byte can mend it.
    Malformed,
}

/// Containers inside containers, at most: what nests deeper is not a message of ours.
const DEPTH_MAX: u8 = 16;

pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Flaw> {
        let end = self.at.checked_add(count).ok_or(Flaw::Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Flaw::Short)?;
        self.at = end;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, Flaw> {
        Ok(self.take(1)?[0])
    }

    fn big_endian(&mut self, width: usize) -> Result<u64, Flaw> {
        Ok(self.take(width)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    fn length(&mut self, width: usize) -> Result<usize, Flaw> {
        usize::try_from(self.big_endian(width)?).map_err(|_| Flaw::Malformed)
    }

    fn is_nil(&mut self) -> Result<bool, Flaw> {
        let nil = *self.bytes.get(self.at).ok_or(Flaw::Short)? == 0xc0;
        if nil {
            self.at += 1;
        }
        Ok(nil)
    }

    /// Entries of a map; nil is an empty one.
    pub(crate) fn map(&mut self) -> Result<usize, Flaw> {
        match self.byte()? {
            0xc0 => Ok(0),
            byte @ 0x80..=0x8f => Ok(usize::from(byte & 0x0f)),
            0xde => self.length(2),
            0xdf => self.length(4),
            _ => Err(Flaw::Malformed),
        }
    }

    /// Items of an array; nil is an empty one.
    pub(crate) fn array(&mut self) -> Result<usize, Flaw> {
        match self.byte()? {
            0xc0 => Ok(0),
            byte @ 0x90..=0x9f => Ok(usize::from(byte & 0x0f)),
            0xdc => self.length(2),
            0xdd => self.length(4),
            _ => Err(Flaw::Malformed),
        }
    }

    /// Bytes, whether sent as text or as bytes; none for nil.
    pub(crate) fn raw(&mut self) -> Result<Option<&'a [u8]>, Flaw> {
        let length = match self.byte()? {
            0xc0 => return Ok(None),
            byte @ 0xa0..=0xbf => usize::from(byte & 0x1f),
            0xc4 | 0xd9 => self.length(1)?,
            0xc5 | 0xda => self.length(2)?,
            0xc6 | 0xdb => self.length(4)?,
            _ => return Err(Flaw::Malformed),
        };
        self.take(length).map(Some)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Flaw> {
        Ok(self.raw()?.unwrap_or_default())
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Flaw> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Flaw::Malformed)
    }

    pub(crate) fn int(&mut self) -> Result<i64, Flaw> {
        Ok(match self.byte()? {
            0xc0 => 0,
            byte @ 0x00..=0x7f => i64::from(byte),
            byte @ 0xe0..=0xff => i64::from(byte.cast_signed()),
            0xcc => self.big_endian(1)?.cast_signed(),
            0xcd => self.big_endian(2)?.cast_signed(),
            0xce => self.big_endian(4)?.cast_signed(),
            0xcf => i64::try_from(self.big_endian(8)?).map_err(|_| Flaw::Malformed)?,
            0xd0 => i64::from(self.byte()?.cast_signed()),
            0xd1 => i64::from((self.big_endian(2)? as u16).cast_signed()),
            0xd2 => i64::from((self.big_endian(4)? as u32).cast_signed()),
            0xd3 => self.big_endian(8)?.cast_signed(),
            _ => return Err(Flaw::Malformed),
        })
    }

    /// An unsigned number that fits `T`.
    pub(crate) fn uint<T: TryFrom<u64>>(&mut self) -> Result<T, Flaw> {
        let value = if self.bytes.get(self.at) == Some(&0xcf) {
            self.at += 1;
            self.big_endian(8)?
        } else {
            u64::try_from(self.int()?).map_err(|_| Flaw::Malformed)?
        };
        T::try_from(value).map_err(|_| Flaw::Malformed)
    }

    pub(crate) fn boolean(&mut self) -> Result<bool, Flaw> {
        match self.byte()? {
            0xc0 | 0xc2 => Ok(false),
            0xc3 => Ok(true),
            _ => Err(Flaw::Malformed),
        }
    }

    pub(crate) fn float(&mut self) -> Result<f64, Flaw> {
        match self.bytes.get(self.at).ok_or(Flaw::Short)? {
            0xcb => {
                self.at += 1;
                Ok(f64::from_bits(self.big_endian(8)?))
            }
            0xca => {
                self.at += 1;
                Ok(f64::from(f32::from_bits(self.big_endian(4)? as u32)))
            }
            _ => Ok(self.int()? as f64),
        }
    }

    /// Reads a struct: `field` takes one value by its key, or skips it and thereby ignores it.
    pub(crate) fn fields(
        &mut self,
        mut field: impl FnMut(&mut Self, &'a [u8]) -> Result<(), Flaw>,
    ) -> Result<(), Flaw> {
        for _ in 0..self.map()? {
            let key = self.bytes()?;
            field(self, key)?;
        }
        Ok(())
    }

    /// Passes over one value of any kind.
    pub(crate) fn skip(&mut self) -> Result<(), Flaw> {
        self.skip_nested(0)
    }

    fn skip_nested(&mut self, depth: u8) -> Result<(), Flaw> {
        if depth > DEPTH_MAX {
            return Err(Flaw::Malformed);
        }
        if self.is_nil()? {
            return Ok(());
        }
        let items = match *self.bytes.get(self.at).ok_or(Flaw::Short)? {
            0x80..=0x8f | 0xde | 0xdf => self.map()?.checked_mul(2).ok_or(Flaw::Malformed)?,
            0x90..=0x9f | 0xdc | 0xdd => self.array()?,
            0xa0..=0xbf | 0xc4..=0xc6 | 0xd9..=0xdb => return self.raw().map(drop),
            0xc2 | 0xc3 => return self.boolean().map(drop),
            0xca | 0xcb => return self.float().map(drop),
            0xcf => return self.uint::<u64>().map(drop),
            _ => return self.int().map(drop),
        };
        for _ in 0..items {
            self.skip_nested(depth + 1)?;
        }
        Ok(())
    }
}

/// Appends values to a buffer; the caller gives a struct's fields in the order of their names.
pub(crate) struct Writer<'a>(pub(crate) &'a mut Vec<u8>);

impl Writer<'_> {
    pub(crate) fn map(&mut self, entries: usize) {
        self.head(entries, 0x80, 16, 0xde, 0xdf);
    }

    pub(crate) fn array(&mut self, items: usize) {
        self.head(items, 0x90, 16, 0xdc, 0xdd);
    }

    fn head(&mut self, count: usize, fix: u8, fix_limit: usize, two: u8, four: u8) {
        if count < fix_limit {
            self.0.push(fix | count as u8);
        } else if let Ok(count) = u16::try_from(count) {
            self.0.push(two);
            self.0.extend(count.to_be_bytes());
        } else {
            self.0.push(four);
            self.0.extend(u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes());
        }
    }

    pub(crate) fn nil(&mut self) {
        self.0.push(0xc0);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.head(bytes.len(), 0xa0, 32, 0xda, 0xdb);
        self.0.extend(bytes);
    }

    /// As the new specification has text: what Consul puts into user events is written so.
    pub(crate) fn new_text(&mut self, text: &str) {
        match u8::try_from(text.len()) {
            Ok(length) if length >= 32 => {
                self.0.extend([0xd9, length]);
                self.0.extend(text.as_bytes());
            }
            // The shortest and the long form are those of the old one.
            _ => self.text(text),
        }
    }

    /// As the new specification has bytes.
    pub(crate) fn new_bytes(&mut self, bytes: &[u8]) {
        if let Ok(length) = u8::try_from(bytes.len()) {
            self.0.extend([0xc4, length]);
        } else if let Ok(length) = u16::try_from(bytes.len()) {
            self.0.push(0xc5);
            self.0.extend(length.to_be_bytes());
        } else {
            self.0.push(0xc6);
            self.0.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
        self.0.extend(bytes);
    }

    /// Go's nil slice and its empty one are both nothing to us; it sends nil.
    pub(crate) fn bytes_or_nil(&mut self, bytes: &[u8]) {
        if bytes.is_empty() { self.nil() } else { self.bytes(bytes) }
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn uint(&mut self, value: u64) {
        if value < 0x80 {
            self.0.push(value as u8);
        } else if let Ok(value) = u8::try_from(value) {
            self.0.extend([0xcc, value]);
        } else if let Ok(value) = u16::try_from(value) {
            self.0.push(0xcd);
            self.0.extend(value.to_be_bytes());
        } else if let Ok(value) = u32::try_from(value) {
            self.0.push(0xce);
            self.0.extend(value.to_be_bytes());
        } else {
            self.0.push(0xcf);
            self.0.extend(value.to_be_bytes());
        }
    }

    /// Always eight bytes, as Go's library writes a float64.
    pub(crate) fn float(&mut self, value: f64) {
        self.0.push(0xcb);
        self.0.extend(value.to_bits().to_be_bytes());
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.0.push(if value { 0xc3 } else { 0xc2 });
    }

    /// A key of a struct and its value.
    pub(crate) fn field(&mut self, key: &str, value: impl FnOnce(&mut Self)) {
        self.text(key);
        value(self);
    }
}
