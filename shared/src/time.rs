//! A moment on the wall clock as the wire carries it: RFC 3339 in UTC with microseconds.
//! Used by every event; never read from a clock here.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Microseconds since the Unix epoch; written as `2026-11-21T01:46:00.000001Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(i64);

impl WallTime {
    pub fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub fn micros(self) -> i64 {
        self.0
    }

    /// `Sat, 21 Nov 2026 01:46:00 GMT`, as HTTP has it.
    pub fn http_date(self) -> String {
        let at = Timestamp::from_microsecond(self.0).unwrap_or(Timestamp::UNIX_EPOCH);
        at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// Microseconds from `earlier` to here; 0 when `earlier` is later.
    pub fn micros_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0 - earlier.0).unwrap_or(0)
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_microsecond(self.0) {
            Ok(at) => write!(f, "{at:.6}"),
            Err(_) => write!(f, "1970-01-01T00:00:00.000000Z"),
        }
    }
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let at: Timestamp = text.parse().map_err(de::Error::custom)?;
        Ok(Self(at.as_microsecond()))
    }
}
