//! `/v1/catalog/…`, the reading half.

use std::collections::BTreeSet;

use axum::response::Response;
use shared::api::catalog::{NodeService, NodeServiceList, NodeServices};

use super::convert;
use super::error::{Error, Refusal};
use super::extract::{Call, ReadParams};
use super::reply::{self, Meta};
use super::router::Method;
use super::rows::{Question, Sieve};
use crate::filter::{NODE, SERVICE, SERVICE_NODE};
use crate::store::query as stored;
use crate::store::query::{Answer, Query};

impl Call {
    /// Asks the catalog: a failure carries the headers of a state nobody has seen.
    pub(super) async fn ask_with(&self, query: Query, params: ReadParams) -> Result<(Meta, Answer), Refusal> {
        let result = async {
            self.check_datacenter()?;
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
    // A client is in the LAN pool alone, whose servers are of its own datacenter.
    call.check_servers()?;
    let mut names = BTreeSet::from([call.context.datacenter.clone()]);
    if let Some(wan) = &call.context.wan {
        names.extend(wan.members().borrow().iter().filter_map(|member| member.tags.get("dc").cloned()));
    }
    reply::json(&call, &names)
}

pub(super) async fn nodes(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let draw = |answer, sieve: &Sieve| {
        let Answer::Nodes(mut nodes) = answer else { return None };
        sieve.sort(&mut nodes, |node| &node.fields.name);
        sieve.rows(nodes.iter().map(|node| convert::node(node)))
    };
    let question = Question { look: "nodes", query: Query::Nodes, shape: Some(&NODE), by_meta: true, draw: &draw };
    call.rows(params, question).await
}

pub(super) async fn services(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let draw = |answer, sieve: &Sieve| {
        let Answer::Services(services) = answer else { return None };
        sieve.json(&services)
    };
    let question = Question { look: "names", query: Query::Services, shape: None, by_meta: true, draw: &draw };
    let mut response = call.rows(params, question).await?;
    mark_cached(&call, &mut response);
    Ok(response)
}

pub(super) async fn service(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let tags = call.tags();
    let query = Query::ServiceNodes { service: call.tail("service name")?, tag: tags.first().cloned() };
    let draw = |answer, sieve: &Sieve| {
        let Answer::ServiceNodes(mut instances) = answer else { return None };
        sieve.sort(&mut instances, |(node, _)| &node.fields.name);
        let tagged = instances.iter().filter(|(_, service)| has_tags(&tags, &service.fields.tags));
        sieve.rows(tagged.map(|(node, service)| convert::service_node(node, service)))
    };
    let question = Question { look: "service", query, shape: Some(&SERVICE_NODE), by_meta: true, draw: &draw };
    let mut response = call.rows(params, question).await?;
    mark_cached(&call, &mut response);
    Ok(response)
}

/// Nothing here speaks for the mesh: the instances of any service there are none.
pub(super) async fn connect(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let query = Query::ServiceNodes { service: call.tail("service name")?, tag: None };
    let draw = |_, sieve: &Sieve| sieve.rows(std::iter::empty::<()>());
    call.rows(params, Question { look: "connect", query, shape: Some(&SERVICE_NODE), by_meta: true, draw: &draw }).await
}

pub(super) async fn node(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let query = Query::Node { node: call.tail("node name")? };
    let draw = |answer, sieve: &Sieve| {
        let Answer::Node(found) = answer else { return None };
        let found = found.map(|found| NodeServices {
            node: convert::node(&found.node),
            services: services_of(&found, sieve).map(|service| (service.id.clone(), service)).collect(),
        });
        sieve.json(&found)
    };
    call.rows(params, Question { look: "node", query, shape: Some(&SERVICE), by_meta: false, draw: &draw }).await
}

fn services_of<'a>(found: &'a stored::NodeServices, sieve: &'a Sieve) -> impl Iterator<Item = NodeService> + 'a {
    found.services.iter().map(|service| convert::service(service)).filter(|service| sieve.keeps(service))
}

pub(super) async fn node_services(call: Call, _: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    let query = Query::Node { node: call.tail("node name")? };
    let draw = |answer, sieve: &Sieve| {
        let Answer::Node(found) = answer else { return None };
        sieve.json(&match found {
            // Consul: a list that nothing was ever put into is null, unless a filter made it anew.
            Some(found) => NodeServiceList {
                node: Some(convert::node(&found.node)),
                services: (sieve.filters() || !found.services.is_empty()).then(|| services_of(&found, sieve).collect()),
            },
            None => NodeServiceList { node: None, services: None },
        })
    };
    call.rows(params, Question { look: "list", query, shape: Some(&SERVICE), by_meta: false, draw: &draw }).await
}
