//! `/v1/operator/keyring`: the pools' keys, asked of every member of both.
//!
//! Only a server is in both pools, whose keys change in step: a client refuses.

use axum::response::Response;
use shared::api::operator::KeyringResponse;

use super::body::{self, Go, Object, TEXT, Way, field};
use super::error::{Error, Refusal};
use super::extract::Call;
use super::reply;
use super::router::Method;
use crate::backend;
use crate::gossip::Gossip;
use crate::gossip::keys::KeyAction;

/// A body is one key.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Consul's limit of how many others an answer goes over.
const RELAYS_MAX: i64 = 5;

static BODY: Object = Object {
    name: "keyringArgs",
    whole: "agent.keyringArgs",
    way: Way::Along,
    fields: &[
        field("Key", TEXT),
        field("Token", TEXT),
        field("RelayFactor", Go::Whole("uint8", 0, u8::MAX as i128)),
        field("LocalOnly", Go::Flag),
    ],
};

pub(super) async fn keyring(mut call: Call, method: Method) -> Result<Response, Refusal> {
    let action = match method {
        Method::Get => KeyAction::List,
        Method::Post => KeyAction::Install,
        Method::Put => KeyAction::Use,
        Method::Delete => KeyAction::Remove,
    };
    let mut key = String::new();
    if action != KeyAction::List {
        let body = body::take(&mut call, BODY_BYTES_MAX, &BODY).await.map_err(|error| match error {
            Error::Decode(_) => Error::BadRequest(error.to_string()),
            other => other,
        })?;
        key = body.text("Key");
    }
    let relay_factor = relay_factor(&call).map_err(Error::BadRequest)?;
    let local_only = local_only(&call, action == KeyAction::List).map_err(Error::BadRequest)?;
    let responses = ask_pools(&call, action, &key, relay_factor, local_only).await?;
    if let Some(text) = error_text(&responses) {
        return Err(Error::Keyring(text).into());
    }
    if action == KeyAction::List { reply::json(&call, &responses) } else { Ok(reply::empty()) }
}

/// WAN first, as Consul has it; one that fails does not keep the other from being asked.
async fn ask_pools(
    call: &Call,
    action: KeyAction,
    key: &str,
    relay_factor: u8,
    local_only: bool,
) -> Result<Vec<KeyringResponse>, Error> {
    let context = &call.context;
    if !context.server {
        return Err(backend::Error::NoServers.into());
    }
    let mut responses = Vec::new();
    let wan = context.wan.as_ref().filter(|_| !local_only).map(|pool| (true, pool));
    for (is_wan, pool) in wan.into_iter().chain([(false, &context.lan)]) {
        let mut response = ask_pool(pool, action, key, relay_factor).await;
        response.wan = is_wan;
        response.datacenter.clone_from(&context.datacenter);
        responses.push(response);
    }
    Ok(responses)
}

async fn ask_pool(pool: &Gossip, action: KeyAction, key: &str, relay_factor: u8) -> KeyringResponse {
    match pool.keys(action, key, relay_factor).await {
        Ok(report) => KeyringResponse {
            error: report.error_text().unwrap_or_default(),
            messages: report.messages,
            keys: report.keys,
            primary_keys: report.primary_keys,
            num_nodes: report.nodes,
            ..KeyringResponse::default()
        },
        Err(error) => KeyringResponse { error: error.to_string(), ..KeyringResponse::default() },
    }
}

/// What went wrong in either pool, in the words and order of Consul; none when nothing did.
fn error_text(responses: &[KeyringResponse]) -> Option<String> {
    let mut errors = Vec::new();
    for response in responses.iter().filter(|response| !response.error.is_empty()) {
        let pool = if response.wan { "WAN".to_owned() } else { format!("{} (LAN)", response.datacenter) };
        errors.push(format!("{pool} error: {}", response.error));
        errors.extend(response.messages.iter().map(|(node, message)| format!("{node}: {message}")));
    }
    let head = match errors.len() {
        0 => return None,
        1 => "1 error occurred:".to_owned(),
        count => format!("{count} errors occurred:"),
    };
    let lines: String = errors.iter().map(|error| format!("\t* {error}\n")).collect();
    Some(format!("{head}\n{lines}\n"))
}

fn relay_factor(call: &Call) -> Result<u8, String> {
    let Some(text) = call.params.given("relay-factor") else { return Ok(0) };
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("Error parsing relay factor: strconv.Atoi: parsing {text:?}: invalid syntax"));
    }
    let number: i64 = text
        .parse()
        .map_err(|_| format!("Error parsing relay factor: strconv.Atoi: parsing {text:?}: value out of range"))?;
    match u8::try_from(number) {
        Ok(factor) if number <= RELAYS_MAX => Ok(factor),
        _ => Err("Invalid relay-factor: Relay factor must be in range: [0, 5]".to_owned()),
    }
}

fn local_only(call: &Call, is_list: bool) -> Result<bool, String> {
    let Some(text) = call.params.given("local-only") else { return Ok(false) };
    let local = match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
        "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
        _ => return Err(format!("Error parsing local-only: strconv.ParseBool: parsing {text:?}: invalid syntax")),
    };
    if local && !is_list {
        return Err("Invalid use of local-only: local-only can only be set for list requests".to_owned());
    }
    Ok(local)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn errors_of_both_pools_are_told_together() {
        let failed = |wan, node: &str| KeyringResponse {
            wan,
            datacenter: "dc1".to_owned(),
            messages: BTreeMap::from([(node.to_owned(), "no".to_owned())]),
            error: "1/1 nodes reported failure".to_owned(),
            ..KeyringResponse::default()
        };
        assert_eq!(
            error_text(&[failed(true, "one.dc1"), failed(false, "one")]).as_deref(),
            Some(
                "4 errors occurred:\n\t* WAN error: 1/1 nodes reported failure\n\t* one.dc1: no\n\
                 \t* dc1 (LAN) error: 1/1 nodes reported failure\n\t* one: no\n\n"
            )
        );
        assert_eq!(error_text(&[KeyringResponse::default()]), None);
    }

    #[test]
    fn a_body_is_a_key() {
        let check = |body: &str, expected: Result<&str, &str>| {
            let read = body::read(body.as_bytes(), &BODY).map(|body| body.text("Key"));
            assert_eq!(read, expected.map(str::to_owned).map_err(str::to_owned), "{body}");
        };
        check(r#"{"kEY":"a","Token":"x","RelayFactor":5,"LocalOnly":false}"#, Ok("a"));
        check("{}", Ok(""));
        check("", Err("EOF"));
        check(r#"{"Kex":1}"#, Err(r#"json: unknown field "Kex""#));
        let wrong = "json: cannot unmarshal number 300 into Go struct field keyringArgs.RelayFactor of type uint8";
        check(r#"{"RelayFactor":300}"#, Err(wrong));
    }
}
