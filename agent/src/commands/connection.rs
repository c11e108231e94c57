//! The flags that say which agent a verb asks and how; they win over the environment.

use std::path::PathBuf;

use shared::http::{Request, Settings};

use super::Reach;
use crate::flags::{Flag, Kind, Parsed};

const fn value(name: &'static str, help: &'static str) -> Flag {
    Flag::new(name, Kind::String, help).value("value")
}

const AGENT: &[Flag] = &[
    value(
        "ca-file",
        "A file of certificate authorities (PEM) that may have signed the agent's certificate. The environment variable \
         CONSUL_CACERT says the same.",
    ),
    value(
        "ca-path",
        "A directory of such files, one authority each. The environment variable CONSUL_CAPATH says the same.",
    ),
    value(
        "client-cert",
        "The certificate (PEM) to show to an agent that verifies its clients; needs -client-key. The environment variable \
         CONSUL_CLIENT_CERT says the same.",
    ),
    value(
        "client-key",
        "The key (PEM) of that certificate. The environment variable CONSUL_CLIENT_KEY says the same.",
    ),
    Flag::new(
        "http-addr",
        Kind::String,
        "Host and port of the agent's HTTP API, with http:// or https:// in front if need be; 127.0.0.1:8500 if nothing is \
         said. The environment variable CONSUL_HTTP_ADDR says the same, and CONSUL_HTTP_SSL=true means https.",
    )
    .value("address"),
    value(
        "tls-server-name",
        "The name that the agent's certificate must have, where that is not its address. The environment variable \
         CONSUL_TLS_SERVER_NAME says the same.",
    ),
    value(
        "token",
        "The token to send with each request. The environment variable CONSUL_HTTP_TOKEN says the same.",
    ),
    value(
        "token-file",
        "A file that holds the token; wins over -token. The environment variable CONSUL_HTTP_TOKEN_FILE says the same.",
    ),
];

const SERVERS: &[Flag] = &[
    value("datacenter", "The datacenter to ask; the agent's own if nothing is said."),
    Flag::new(
        "stale",
        Kind::BoolValue,
        "Let any server answer, not the leader alone: sooner, and possibly with what was true a moment ago. Has no effect on \
         writes.",
    ),
];

pub(super) fn flags(reach: Reach) -> Vec<&'static [Flag]> {
    match reach {
        Reach::Here => vec![],
        Reach::Agent => vec![AGENT],
        Reach::Servers => vec![AGENT, SERVERS],
    }
}

/// The environment, and over it what was typed; an empty flag is as none.
pub(super) fn settings(flags: &Parsed) -> Settings {
    over(Settings::from_environment(), flags)
}

fn over(mut settings: Settings, flags: &Parsed) -> Settings {
    let text = |name: &str| flags.given_text(name).filter(|text| !text.is_empty()).map(str::to_owned);
    let path = |name: &str| text(name).map(PathBuf::from);
    if let Some(address) = text("http-addr") {
        settings.address = address;
    }
    settings.token = text("token").or(settings.token);
    settings.token_file = path("token-file").or(settings.token_file);
    settings.ca_file = path("ca-file").or(settings.ca_file);
    settings.ca_path = path("ca-path").or(settings.ca_path);
    settings.client_cert = path("client-cert").or(settings.client_cert);
    settings.client_key = path("client-key").or(settings.client_key);
    settings.tls_server_name = text("tls-server-name").or(settings.tls_server_name);
    settings
}

/// Adds the datacenter that was named.
pub(super) fn to_datacenter<'a>(request: Request<'a>, flags: &Parsed) -> Request<'a> {
    request.query_some("dc", Some(flags.text("datacenter")).filter(|dc| !dc.is_empty()))
}

/// Adds the datacenter and whether any server may answer.
pub(super) fn scoped<'a>(request: Request<'a>, flags: &Parsed) -> Request<'a> {
    let request = to_datacenter(request, flags);
    if flags.is_on("stale") { request.query("stale", "") } else { request }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_wins_over_the_environment() {
        let words: Vec<String> = ["-http-addr=b:2", "-token=", "-ca-file", "/ca"].map(str::to_owned).to_vec();
        let parsed = crate::flags::parse(&flags(Reach::Agent), &words).expect("good flags");
        let environment = Settings { address: "a:1".into(), token: Some("t".into()), ..Settings::default() };
        let expected = Settings { address: "b:2".into(), ca_file: Some("/ca".into()), ..environment.clone() };
        assert_eq!(over(environment, &parsed), expected);
    }
}
