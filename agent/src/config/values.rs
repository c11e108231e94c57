//! Values by their keys, typed: what `meant.rs` asks for what was written.
//!
//! A value that does not convert is noted with its key and place and counts as not given, so that all that
//! is wrong is found in one go.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use shared::duration;

use super::document::Written;
use super::problem::{Form, Problem};
use super::{Host, Network, addresses};

pub(super) struct Values<'a> {
    pub written: &'a Written,
    pub host: &'a Host,
    pub problems: Vec<Problem>,
}

impl Values<'_> {
    pub(super) fn is_given(&self, key: &str) -> bool {
        self.written.get(key).is_some()
    }

    fn value(&self, key: &str) -> Option<&Value> {
        self.written.get(key).map(|given| &given.value)
    }

    /// `KEY = VALUE (PLACE)`; secrets are never asked for here.
    fn spot(&self, key: &str) -> String {
        self.written.get(key).map_or(String::new(), |given| format!("{key} = {} ({})", given.value, given.place))
    }

    /// Notes that `key` cannot be what it is, in Consul's words.
    pub(super) fn refuse(&mut self, key: &str, text: impl Into<String>) {
        let problem = Problem { key: key.to_owned(), text: text.into(), form: Form::Bare, detail: self.spot(key) };
        self.problems.push(problem);
    }

    /// Notes that `key` does not convert: Consul lists these.
    pub(super) fn misread(&mut self, key: &str, text: String) {
        let problem = Problem { key: key.to_owned(), text, form: Form::Listed, detail: self.spot(key) };
        self.problems.push(problem);
    }

    pub(super) fn bool(&self, key: &str) -> Option<bool> {
        self.value(key).and_then(Value::as_bool)
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        self.value(key).and_then(Value::as_str).map(str::to_owned)
    }

    /// None for an empty text too.
    pub(super) fn filled(&self, key: &str) -> Option<String> {
        self.text(key).filter(|text| !text.is_empty())
    }

    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        self.filled(key).map(PathBuf::from)
    }

    pub(super) fn int(&self, key: &str) -> Option<i64> {
        self.value(key).and_then(Value::as_i64)
    }

    pub(super) fn float(&self, key: &str) -> Option<f64> {
        self.value(key).and_then(Value::as_f64)
    }

    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        let list = self.value(key).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    pub(super) fn map(&self, key: &str) -> BTreeMap<String, String> {
        let map = self.value(key).and_then(Value::as_object);
        map.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).collect()
    }

    /// A number that is not negative; `default` when it is not given.
    pub(super) fn count<T: TryFrom<i64>>(&mut self, key: &str, default: T) -> T {
        let Some(given) = self.int(key) else { return default };
        match T::try_from(given) {
            Ok(count) if given >= 0 => count,
            _ if given >= 0 => {
                self.refuse(key, format!("{key} cannot be {given}. It is too large"));
                default
            }
            _ => {
                self.refuse(key, format!("{key} cannot be {given}. Must be greater than or equal to zero"));
                default
            }
        }
    }

    pub(super) fn duration(&mut self, key: &str, default: Duration) -> Duration {
        let Some(text) = self.text(key) else { return default };
        match duration::parse(&text) {
            Ok(found) => found,
            Err(fault) => {
                self.misread(key, format!("{key}: invalid duration: {text:?}: {fault}"));
                default
            }
        }
    }

    /// A port, or None for one that is off. 0 is any free port, which Consul does not have.
    pub(super) fn port(&mut self, key: &str, default: Option<u16>) -> Option<u16> {
        let Some(given) = self.int(key) else { return default };
        if given < 0 {
            return None;
        }
        u16::try_from(given).ok().or_else(|| {
            self.misread(key, format!("{key}: invalid port: {given}"));
            default
        })
    }

    /// Addresses of one key; None when it is not given or cannot be read.
    pub(super) fn addresses(&mut self, key: &str) -> Option<Vec<IpAddr>> {
        let text = self.text(key)?;
        if text.starts_with("unix:") || text.starts_with('/') {
            match key {
                "addresses.dns" => self.refuse(key, "DNS address cannot be a unix socket"),
                // Consul listens for HTTP on sockets of the file system; here nothing does.
                "addresses.http" => self.refuse(key, "HTTP address cannot be a unix socket"),
                _ => self.misread(key, format!("{key} cannot be a unix socket")),
            }
            return None;
        }
        match addresses::expand(&text, self.host) {
            Ok(found) => Some(found),
            Err(fault) => {
                self.misread(key, format!("{key}: {fault}"));
                None
            }
        }
    }

    /// One address of one key.
    pub(super) fn address(&mut self, key: &str) -> Option<IpAddr> {
        self.filled(key)?;
        match self.addresses(key)?.as_slice() {
            [one] => Some(*one),
            [] => {
                self.refuse(key, format!("{key} cannot be empty"));
                None
            }
            _ => {
                let given = self.text(key).unwrap_or_default();
                self.misread(key, format!("{key}: multiple addresses found: {given}"));
                None
            }
        }
    }

    pub(super) fn networks(&mut self, key: &str) -> Vec<Network> {
        let mut found = Vec::new();
        for text in self.texts(key) {
            match addresses::network(&text) {
                Some(network) => found.push(network),
                None => self.misread(key, format!("{}: invalid cidr: {text}", key.rsplit('.').next().unwrap_or(key))),
            }
        }
        found
    }
}
