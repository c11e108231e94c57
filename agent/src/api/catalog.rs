//! `/v1/catalog/…`, the reading half.

use std::collections::{BTreeMap, BTreeSet};

use axum::response::Response;
use shared::api::catalog::{NodeServiceList, NodeServices};

use super::convert;
use super::coordinate::Near;
use super::error::{Error, Refusal};
use super::extract::{Call, ReadParams};
use super::reply::{self, Meta};
use super::router::Method;
use crate::backend;
use crate::store::query::{Answer, Query};

/// What the catalog and health understand later; until then they would change the answer unseen.
const UNSUPPORTED: &[&str] = &["filter", "node-meta"];

impl Call {
    /// Asks the catalog: a failure carries the headers of a state nobody has seen.
    pub(super) async fn ask(&self, query: Query) -> Result<(Meta, Answer), Refusal> {
        let params = self.read_params()?;
        self.ask_with(query, params).await
    }

    pub(super) async fn ask_with(&self, query: Query, params: ReadParams) -> Result<(Meta, Answer), Refusal> {
        let result = async {
            self.check_datacenter()?;
            self.check_unsupported(UNSUPPORTED)?;
            self.read(query, params).await
        };
        match result.await {
            Ok(reply) => Ok((Meta::of_catalog(&reply, params.freshness), reply.answer)),
            Err(error) => Err(Refusal { error, of_catalog: true }),
        }
    }

    /// What follows the path; `what` is missing when nothing does.
    pub(super) fn tail(&self, what: &'static str) -> Result<String, Error> {
        if self.tail.is_empty() { Err(Error::Missing(what)) } else { Ok(self.tail.clone()) }
    }

    /// `?tag=`, any number of them.
    pub(super) fn tags(&self) -> Vec<String> {
        self.params.all("tag").map(str::to_lowercase).collect()
    }
}

/// Whether an instance has all of the tags, whatever their case.
pub(super) fn has_tags(wanted: &[String], has: &[String]) -> bool {
    wanted.iter().all(|wanted| has.iter().any(|tag| tag.to_lowercase() == *wanted))
}

/// `X-Cache` on the three questions that the reference answers from its cache. Ours has none to hit.
pub(super) fn mark_cached(call: &Call, response: &mut Response) {
    if call.params.has("cached") {
        response.headers_mut().insert("x-cache", axum::http::HeaderValue::from_static("MISS"));
    }
}

pub(super) async fn datacenters(call: Call, _: Method) -> Result<Response, Refusal> {
    call.read_consistency()?;
    if !call.context.server {
        return Err(backend::Error::NoServers.into());
    }
    let mut names = BTreeSet::from([call.context.datacenter.clone()]);
    if let Some(wan) = &call.context.wan {
        names.extend(wan.members().borrow().iter().filter_map(|member| member.tags.get("dc").cloned()));
    }
    reply::json(&call, &names)
}

pub(super) async fn nodes(call: Call, _: Method) -> Result<Response, Refusal> {
    let (meta, answer) = call.ask(Query::Nodes).await?;
    let Answer::Nodes(mut nodes) = answer else { return Err(Error::Mismatch.into()) };
    if let Some(near) = Near::of(&call).await {
        near.sort(&mut nodes, |node| &node.fields.name);
    }
    let nodes: Vec<_> = nodes.iter().map(|node| convert::node(node)).collect();
    reply::json_with(&call, meta, &nodes)
}

pub(super) async fn services(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let (meta, answer) = call.ask_with(Query::Services, params).await?;
    let Answer::Services(services) = answer else { return Err(Error::Mismatch.into()) };
    let mut response = reply::json_with(&call, meta, &services)?;
    mark_cached(&call, &mut response);
    Ok(response)
}

pub(super) async fn service(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let tags = call.tags();
    let query = Query::ServiceNodes { service: call.tail("service name")?, tag: tags.first().cloned() };
    let (meta, answer) = call.ask_with(query, params).await?;
    let Answer::ServiceNodes(mut instances) = answer else { return Err(Error::Mismatch.into()) };
    if let Some(near) = Near::of(&call).await {
        near.sort(&mut instances, |(node, _)| &node.fields.name);
    }
    let rows: Vec<_> = instances
        .iter()
        .filter(|(_, service)| has_tags(&tags, &service.fields.tags))
        .map(|(node, service)| convert::service_node(node, service))
        .collect();
    let mut response = reply::json_with(&call, meta, &rows)?;
    mark_cached(&call, &mut response);
    Ok(response)
}

pub(super) async fn node(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let (meta, answer) = call.ask_with(Query::Node { node: call.tail("node name")? }, params).await?;
    let Answer::Node(found) = answer else { return Err(Error::Mismatch.into()) };
    let meta = if found.is_some() { meta } else { meta.of_absent() };
    let found = found.map(|found| NodeServices {
        node: convert::node(&found.node),
        services: found
            .services
            .iter()
            .map(|service| (service.fields.id.clone(), convert::service(service)))
            .collect::<BTreeMap<_, _>>(),
    });
    reply::json_with(&call, meta, &found)
}

pub(super) async fn node_services(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let (meta, answer) = call.ask_with(Query::Node { node: call.tail("node name")? }, params).await?;
    let Answer::Node(found) = answer else { return Err(Error::Mismatch.into()) };
    let meta = if found.is_some() { meta } else { meta.of_absent() };
    let list = match found {
        Some(found) => NodeServiceList {
            node: Some(convert::node(&found.node)),
            services: Some(found.services.iter().map(|service| convert::service(service)).collect()),
        },
        None => NodeServiceList { node: None, services: None },
    };
    reply::json_with(&call, meta, &list)
}
