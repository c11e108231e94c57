//! `/v1/kv/…`: keys read, written and deleted. Sessions and locks are not there yet.

use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shared::api::kv::KvPair;

use super::error::{Error, Refusal};
use super::extract::{Call, ReadParams};
use super::reply::{self, Meta};
use super::router::Method;
use crate::backend;
use crate::store::command::{Command, KvCommand, Outcome};
use crate::store::query::{Answer, KvEntry, Query};

pub(super) async fn kv(call: Call, method: Method) -> Result<Response, Refusal> {
    let params = call.read_params()?;
    match method {
        Method::Get if call.params.has("keys") => keys(&call, params).await,
        Method::Get if call.params.has("recurse") => list(&call, params).await,
        Method::Get => get(&call, params).await,
        Method::Put => put(call).await,
        Method::Delete => delete(&call).await,
        Method::Post => Err(Error::Method("POST".to_owned()).into()),
    }
}

fn pair(entry: &KvEntry) -> KvPair {
    KvPair {
        lock_index: entry.lock_index,
        key: entry.key.clone(),
        flags: entry.flags,
        value: (!entry.value.is_empty()).then(|| STANDARD.encode(&entry.value)),
        session: None,
        create_index: entry.create_index,
        modify_index: entry.modify_index,
    }
}

async fn keys(call: &Call, params: ReadParams) -> Result<Response, Refusal> {
    call.check_datacenter()?;
    let separator = call.params.get("separator").unwrap_or_default().to_owned();
    let reply = call.read(Query::KvKeys { prefix: call.tail.clone(), separator }, params).await?;
    let meta = Meta::of_kv(&reply);
    let Answer::KvKeys(keys) = reply.answer else { return Err(Error::Mismatch.into()) };
    // An empty store is no reason for 404: one must be able to list it.
    if keys.is_empty() && !call.tail.is_empty() {
        return Ok(reply::not_found(meta));
    }
    reply::json_with(call, meta, &keys)
}

async fn list(call: &Call, params: ReadParams) -> Result<Response, Refusal> {
    call.check_datacenter()?;
    let reply = call.read(Query::KvList { prefix: call.tail.clone() }, params).await?;
    let meta = Meta::of_kv(&reply);
    let Answer::KvPairs(entries) = reply.answer else { return Err(Error::Mismatch.into()) };
    if entries.is_empty() {
        return Ok(reply::not_found(meta));
    }
    let pairs: Vec<_> = entries.iter().map(|entry| pair(entry)).collect();
    reply::json_with(call, meta, &pairs)
}

async fn get(call: &Call, params: ReadParams) -> Result<Response, Refusal> {
    let key = call.tail("key name")?;
    call.check_datacenter()?;
    let reply = call.read(Query::KvGet { key }, params).await?;
    let meta = Meta::of_kv(&reply);
    let Answer::KvPair(found) = reply.answer else { return Err(Error::Mismatch.into()) };
    let Some(entry) = found else { return Ok(reply::not_found(meta)) };
    if call.params.has("raw") {
        return Ok(raw(&entry, meta));
    }
    reply::json_with(call, meta, &[pair(&entry)])
}

/// The value alone, with headers that keep a browser from running it.
fn raw(entry: &KvEntry, meta: Meta) -> Response {
    let mut response = Response::new(Body::from(entry.value.clone()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    meta.write(headers);
    response
}

/// Refuses a request that says two of these.
fn check_conflicts(call: &Call, flags: &[&str]) -> Result<(), Error> {
    if flags.iter().filter(|flag| call.params.has(flag)).count() > 1 {
        return Err(Error::ConflictingFlags(call.params.encode()));
    }
    Ok(())
}

async fn put(mut call: Call) -> Result<Response, Refusal> {
    let key = call.tail("key name")?;
    check_conflicts(&call, &["cas", "acquire", "release"])?;
    let flags = call.number("flags")?.unwrap_or(0);
    let cas = call.number("cas")?;
    for name in ["acquire", "release"] {
        if call.params.has(name) {
            return Err(Error::Unsupported(name).into());
        }
    }
    let limit = call.context.kv_max_value_size;
    let value = call.take_body(limit).await?.to_vec();
    call.check_datacenter()?;
    let command = match cas {
        Some(index) => KvCommand::Cas { key, value, flags, index },
        None => KvCommand::Set { key, value, flags },
    };
    write(&call, command).await
}

async fn delete(call: &Call) -> Result<Response, Refusal> {
    check_conflicts(call, &["recurse", "cas"])?;
    let command = if call.params.has("recurse") {
        KvCommand::DeleteTree { prefix: call.tail.clone() }
    } else {
        let key = call.tail("key name")?;
        match call.number("cas")? {
            Some(index) => KvCommand::DeleteCas { key, index },
            None => KvCommand::Delete { key },
        }
    };
    call.check_datacenter()?;
    write(call, command).await
}

/// `true`, or whether the condition held.
async fn write(call: &Call, command: KvCommand) -> Result<Response, Refusal> {
    let (_, outcome) = call.context.backend.write(Command::Kv(command)).await?;
    match outcome {
        Outcome::Done => reply::json(call, &true),
        Outcome::Held(held) => reply::json(call, &held),
        Outcome::Refused(why) => Err(backend::Error::Refused(why).into()),
    }
}
