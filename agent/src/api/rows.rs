//! Questions of the catalog and of health: one way for all of them from the parameters to the bytes.
//!
//! [`Call::rows`] narrows the query by `?node-meta`, compiles `?filter`, sorts by `?near` and lets the
//! endpoint draw the answer. What does not depend on who asks is drawn once for all who ask the same
//! (`Backend::read_page`).

use std::collections::BTreeMap;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;

use super::coordinate::Near;
use super::error::{Error, Refusal};
use super::extract::{Call, ReadParams};
use super::json;
use super::reply::{self, Meta};
use crate::backend::{self, Page, ReadOptions};
use crate::filter::{Filter, Shape};
use crate::store::query::{Answer, Query};

/// What is asked, and how its answer looks.
pub(super) struct Question<'a> {
    /// Tells this look from others of the same query.
    pub(super) look: &'static str,
    pub(super) query: Query,
    /// What rows `?filter` may ask of; none where there is no such thing.
    pub(super) shape: Option<&'static Shape>,
    /// `?node-meta` is heeded.
    pub(super) by_meta: bool,
    /// None when the answer is one to another question.
    pub(super) draw: &'a (dyn Fn(Answer, &Sieve) -> Option<Bytes> + Sync),
}

/// What of an answer is told, and in which order.
#[derive(Default)]
pub(super) struct Sieve {
    filter: Option<Filter>,
    near: Option<Near>,
    pretty: bool,
}

impl Sieve {
    /// Nearest first, where that is asked for.
    pub(super) fn sort<T>(&self, rows: &mut [T], node: impl Fn(&T) -> &str) {
        if let Some(near) = &self.near {
            near.sort(rows, node);
        }
    }

    pub(super) fn filters(&self) -> bool {
        self.filter.is_some()
    }

    pub(super) fn keeps<R: Serialize>(&self, row: &R) -> bool {
        let Some(filter) = &self.filter else { return true };
        serde_json::to_value(row).is_ok_and(|row| filter.holds(&row))
    }

    /// The rows that are asked for, as JSON.
    pub(super) fn rows<R: Serialize>(&self, rows: impl Iterator<Item = R>) -> Option<Bytes> {
        let rows: Vec<R> = rows.filter(|row| self.keeps(row)).collect();
        self.json(&rows)
    }

    pub(super) fn json<T: Serialize + ?Sized>(&self, value: &T) -> Option<Bytes> {
        json::encode(value, self.pretty).ok().map(Bytes::from)
    }
}

impl Call {
    pub(super) async fn rows(&self, params: ReadParams, question: Question<'_>) -> Result<Response, Refusal> {
        let Question { look, mut query, shape, by_meta, draw } = question;
        let meta = self.node_meta();
        if by_meta && !meta.is_empty() {
            query = Query::OnNodes { meta, of: Box::new(query) };
        }
        let filter = match (shape, self.params.given("filter")) {
            (Some(shape), Some(text)) => Filter::compile(text, shape).map(Some),
            _ => Ok(None),
        };
        let filter = match filter {
            Ok(filter) => filter,
            // Whoever cannot be asked says so first.
            Err(error) => {
                Box::pin(self.ask_with(query, ReadParams { index: 0, ..params })).await?;
                return Err(self.refused_by_server(Error::Filter(error)));
            }
        };
        let near = match self.params.given("near") {
            Some(_) => Box::pin(Near::of(self)).await,
            None => None,
        };
        // A node that is not there has an index of its own, and no answer is shorter.
        let is_own = near.is_some() || matches!(query, Query::Node { .. });
        let sieve = Sieve { filter, near, pretty: self.is_pretty() };
        if is_own {
            let (meta, answer) = Box::pin(self.ask_with(query, params)).await?;
            let meta = if matches!(answer, Answer::Node(None)) { meta.of_absent() } else { meta };
            let body = draw(answer, &sieve).ok_or(Error::Mismatch)?;
            return Ok(reply::json_bytes(meta, body, false));
        }
        let told: Vec<_> = self.params.pairs().iter().filter(|(name, _)| MATTERS.contains(&name.as_str())).collect();
        let is_packed = reply::accepts_gzip(&self.headers);
        let key = format!("{look} {query:?} {told:?} {} {is_packed}", sieve.pretty);
        let draw = |answer| {
            let body = draw(answer, &sieve)?;
            if is_packed { reply::pack(&body) } else { Some(body) }
        };
        let result = match self.check_datacenter() {
            Ok(()) => self.read_page(query, params, &key, &draw).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(page) => Ok(reply::json_bytes(Meta::of_page(&page, params.freshness), page.body, is_packed)),
            Err(error) => Err(Refusal { error, of_catalog: true }),
        }
    }

    /// `?node-meta=name:value`, any number of them.
    fn node_meta(&self) -> BTreeMap<String, String> {
        let pair = |text: &str| {
            let (name, value) = text.split_once(':').unwrap_or((text, ""));
            (name.to_owned(), value.to_owned())
        };
        self.params.all("node-meta").map(pair).collect()
    }

    /// What a server finds wrong: whoever passed the question on says that it was elsewhere.
    pub(super) fn refused_by_server(&self, error: Error) -> Refusal {
        Refusal { error: self.found_by_leader(error), of_catalog: true }
    }

    pub(super) fn found_by_leader(&self, error: Error) -> Error {
        if self.context.backend.leads() {
            return error;
        }
        backend::Error::Remote(Box::new(backend::Error::Refused(error.to_string()))).into()
    }

    /// As [`Call::read`], drawn once for all who ask the same.
    async fn read_page(
        &self,
        query: Query,
        params: ReadParams,
        key: &str,
        draw: &(dyn Fn(Answer) -> Option<Bytes> + Sync),
    ) -> Result<Page, Error> {
        let options = params.options();
        // One box for all that follows: a question that waits takes no more room than it needs.
        let company = self.company.as_ref();
        let mut page = Box::pin(self.context.backend.read_page(query.clone(), options, key, draw, company));
        if options.min_index == 0 {
            return Ok(page.await?);
        }
        tokio::select! {
            page = &mut page => return Ok(page?),
            () = self.stop.cancelled() => {}
        }
        let now = self.context.backend.read_page(query, ReadOptions { min_index: 0, ..options }, key, draw, None);
        let now = Box::pin(now);
        match tokio::time::timeout(Duration::from_millis(250), now).await {
            Ok(page) => Ok(page?),
            Err(_) => Err(Error::Stopping),
        }
    }
}

/// Parameters that change how an answer looks, beside those that are in the query itself.
const MATTERS: &[&str] = &["filter", "passing", "tag"];
