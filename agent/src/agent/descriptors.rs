//! How many descriptors this process may hold: each connection is one, and so is each blocking query.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit as far as it goes, and says so. A limit that cannot be raised stays as it is.
pub(super) fn raise() {
    let was = getrlimit(Resource::Nofile);
    let Some((low, high)) = was.current.zip(was.maximum).filter(|(low, high)| low < high) else {
        let limit = was.current.map_or_else(|| "none".to_owned(), |limit| limit.to_string());
        tracing::info!(target: "agent", limit = %limit, "The limit of open descriptors is as high as it goes");
        return;
    };
    match setrlimit(Resource::Nofile, Rlimit { current: Some(high), maximum: Some(high) }) {
        Ok(()) => tracing::info!(target: "agent", was = low, now = high, "Raised the limit of open descriptors"),
        Err(error) => {
            tracing::warn!(target: "agent", limit = low, error = %error, "cannot raise the limit of open descriptors");
        }
    }
}
