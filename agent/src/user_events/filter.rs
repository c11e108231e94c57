//! PURE: whom an event is meant for: expressions over the node's name, its services and their tags.

use regex_lite::Regex;

use super::payload::Payload;
use crate::filter::pattern;

/// A service of this node, as filters see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    pub id: String,
    pub tags: Vec<String>,
}

/// Which filter is none, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BadFilter {
    /// `node`, `service` or `tag`.
    pub which: &'static str,
    pub filter: String,
    /// In Go's words as far as they are known.
    pub reason: String,
}

pub fn compile(which: &'static str, filter: &str) -> Result<Regex, BadFilter> {
    pattern::compile(filter).map_err(|reason| BadFilter { which, filter: filter.to_owned(), reason })
}

/// Whether an event is meant for the node of that name with these services.
pub fn is_meant(event: &Payload, node: &str, services: &[Service]) -> Result<bool, BadFilter> {
    if !event.node_filter.is_empty() && !compile("node", &event.node_filter)?.is_match(node) {
        return Ok(false);
    }
    if event.service_filter.is_empty() {
        return Ok(true);
    }
    let service = compile("service", &event.service_filter)?;
    let tag = match event.tag_filter.as_str() {
        "" => None,
        filter => Some(compile("tag", filter)?),
    };
    let has_tag = |tags: &[String]| tag.as_ref().is_none_or(|tag| tags.iter().any(|one| tag.is_match(one)));
    Ok(services.iter().any(|one| service.is_match(&one.id) && has_tag(&one.tags)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(node: &str, service: &str, tag: &str, expected: Option<bool>) {
        let event = Payload {
            node_filter: node.to_owned(),
            service_filter: service.to_owned(),
            tag_filter: tag.to_owned(),
            ..Payload::default()
        };
        let services = [
            Service { id: "web-1".to_owned(), tags: vec!["v1".to_owned(), "blue".to_owned()] },
            Service { id: "db".to_owned(), tags: Vec::new() },
        ];
        assert_eq!(is_meant(&event, "alpha", &services).ok(), expected, "{node:?} {service:?} {tag:?}");
    }

    #[test]
    fn every_filter_must_hold() {
        check("", "", "", Some(true));
        check("^al", "", "", Some(true));
        check("^be", "", "", Some(false));
        check("", "web", "", Some(true));
        check("", "^mail$", "", Some(false));
        check("", "web", "v[12]", Some(true));
        check("", "db", "v1", Some(false));
        check("beta", "web", "v1", Some(false));
        check("[", "", "", None);
        check("", "[", "", None);
        check("", "web", "[", None);
    }
}
