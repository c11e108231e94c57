//! `services register`, `services deregister`: services of the agent that is asked, from files or flags.

use serde_json::{Map, Value, json};

use super::{Call, Ended, Group, Reach, Verb, Word, failing};
use crate::checks::spec::Check;
use crate::config::{self, Service};
use crate::flags::{Flag, Kind};

pub(super) const GROUP: Group = Group {
    path: "services",
    synopsis: "Registers and deregisters services of an agent",
    form: "[options] [args]",
    about: "  Registers and deregisters services of the agent that is asked. What all\n  \
            agents have registered is seen with \"{program} catalog\".",
    words: &[Word::Verb(&DEREGISTER), Word::Verb(&REGISTER)],
};

pub(super) const DEREGISTER: Verb = Verb {
    path: "services deregister",
    synopsis: "Deregisters services of an agent",
    form: "[options] [FILE...]",
    about: "  Deregisters services that were registered with the agent that is asked.\n\n  \
            Those that a file defines:\n\n      $ {program} services deregister web.json db.json\n\n  \
            One by its ID:\n\n      $ {program} services deregister -id=web",
    flags: &[Flag::new("id", Kind::String, "The ID of the service; without files.")],
    reach: Reach::Servers,
    run: |call| Box::pin(async move { Ended::from(deregister(call).await) }),
};

pub(super) const REGISTER: Verb = Verb {
    path: "services register",
    synopsis: "Registers services with an agent",
    form: "[options] [FILE...]",
    about: "  Registers services with the agent that is asked: those that configuration\n  \
            files define, in JSON or HCL, or one that flags describe. They stay, over\n  \
            restarts of the agent too, until they are deregistered.\n\n      \
            $ {program} services register web.json\n      \
            $ {program} services register -name=web -port=80",
    flags: &[
        Flag::new("address", Kind::String, "Its address; the node's if nothing is said."),
        Flag::new("id", Kind::String, "Its ID; its name if nothing is said."),
        Flag::new("meta", Kind::Pairs, "Metadata of it; may be given more than once.").value("key=value"),
        Flag::new("name", Kind::String, "Its name; without files."),
        Flag::new("port", Kind::IntValue, "Its port.").value("int"),
        Flag::new("tag", Kind::List, "A tag of it; may be given more than once."),
        Flag::new("tagged-address", Kind::Pairs, "An address of it under a tag; may be given more than once.")
            .value("tag=host:port"),
    ],
    reach: Reach::Servers,
    run: |call| Box::pin(async move { Ended::from(register(call).await) }),
};

async fn deregister(call: &Call) -> Result<Ended, Ended> {
    let (id, files) = (call.flags.text("id"), call.flags.rest());
    let ids = match (id.is_empty(), files.is_empty()) {
        (true, true) => {
            return Err(Ended::failed("Service deregistration requires at least one argument or -id."));
        }
        (false, false) => return Err(Ended::failed("Service deregistration requires arguments or -id, not both.")),
        (false, true) => vec![id.to_owned()],
        (true, false) => read(files)?.into_iter().map(|service| service.fields.id).collect(),
    };
    let client = call.client()?;
    let mut told = String::new();
    for id in ids {
        let complaint = format!("Error registering service {id:?}");
        let asked = client.put(&format!("/v1/agent/service/deregister/{id}")).send().await;
        asked.map_err(|error| with(&told, failing(&complaint)(error)))?;
        told += &format!("Deregistered service: {id}\n");
    }
    Ok(Ended::said(told))
}

async fn register(call: &Call) -> Result<Ended, Ended> {
    let (name, files) = (call.flags.text("name"), call.flags.rest());
    let bodies: Vec<(String, Value)> = match (name.is_empty(), files.is_empty()) {
        (true, true) => {
            return Err(Ended::failed("Service registration requires at least one argument or flags."));
        }
        (false, false) => return Err(Ended::failed("Service registration requires arguments or -id, not both.")),
        (false, true) => vec![(name.to_owned(), described(call, name)?)],
        (true, false) => read(files)?.iter().map(|service| (service.fields.name.clone(), body(service))).collect(),
    };
    let client = call.client()?;
    let mut told = String::new();
    for (name, body) in bodies {
        let complaint = format!("Error registering service {name:?}");
        let asked = client.put("/v1/agent/service/register").json_body(&body).send().await;
        asked.map_err(|error| with(&told, failing(&complaint)(error)))?;
        told += &format!("Registered service: {name}\n");
    }
    Ok(Ended::said(told))
}

/// What was done before it failed stays done, and is told.
fn with(told: &str, failed: Ended) -> Ended {
    Ended { out: told.into(), ..failed }
}

fn read(files: &[String]) -> Result<Vec<Service>, Ended> {
    config::services(files).map_err(|errors| {
        let text = errors.to_string();
        Ended::failed(format!("Error: {}", text.strip_prefix("==> ").unwrap_or(&text)))
    })
}

/// `key=value` each; the flags' parser has seen to it.
fn pairs(given: &[String]) -> Vec<(String, String)> {
    given
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The service that flags describe.
fn described(call: &Call, name: &str) -> Result<Value, Ended> {
    let flags = &call.flags;
    let mut addresses = Map::new();
    for (tag, address) in pairs(flags.list("tagged-address")) {
        let (host, port) = address.rsplit_once(':').unwrap_or((&address, "0"));
        let Ok(port) = port.parse::<u16>() else {
            return Err(Ended::failed(format!("Error: the tagged address {tag:?} has no port: {address}")));
        };
        addresses.insert(tag, json!({"Address": host.trim_matches(['[', ']']), "Port": port}));
    }
    let meta: Map<_, _> = pairs(flags.list("meta")).into_iter().map(|(k, v)| (k, Value::String(v))).collect();
    Ok(json!({
        "ID": flags.text("id"),
        "Name": name,
        "Address": flags.text("address"),
        "Port": flags.given_int("port").unwrap_or(0),
        "Tags": flags.list("tag"),
        "Meta": meta,
        "TaggedAddresses": addresses,
    }))
}

/// A definition as the API takes it.
fn body(service: &Service) -> Value {
    let fields = &service.fields;
    let tagged = fields.tagged_addresses.iter();
    let tagged: Map<_, _> =
        tagged.map(|(tag, (host, port))| (tag.clone(), json!({"Address": host, "Port": port}))).collect();
    json!({
        "ID": fields.id,
        "Name": fields.name,
        "Tags": fields.tags,
        "Address": fields.address,
        "TaggedAddresses": tagged,
        "Meta": fields.meta,
        "Port": fields.port,
        "Weights": {"Passing": fields.weights.0, "Warning": fields.weights.1},
        "EnableTagOverride": fields.enable_tag_override,
        "Checks": service.checks.iter().map(check).collect::<Vec<_>>(),
    })
}

/// Only what is said: older agents refuse fields they do not know.
fn check(check: &Check) -> Value {
    let span = |span: std::time::Duration| shared::duration::format(span);
    let mut body = json!({
        "CheckID": check.id,
        "Name": check.name,
        "Status": check.status.map(|status| status.as_str()).unwrap_or_default(),
        "Notes": check.notes,
        "ScriptArgs": check.args,
        "HTTP": check.http,
        "Header": check.header,
        "Method": check.method,
        "Body": check.body,
        "TCP": check.tcp,
        "UDP": check.udp,
        "Interval": span(check.interval),
        "Timeout": span(check.timeout),
        "TTL": span(check.ttl),
        "DockerContainerID": check.docker_container_id,
        "Shell": check.shell,
        "GRPC": check.grpc,
        "GRPCUseTLS": check.grpc_use_tls,
        "TLSSkipVerify": check.tls_skip_verify,
        "AliasNode": check.alias_node,
        "AliasService": check.alias_service,
        "DeregisterCriticalServiceAfter": span(check.deregister_critical_service_after),
        "OutputMaxSize": check.output_max_size,
        "SuccessBeforePassing": check.success_before_passing,
        "FailuresBeforeCritical": check.failures_before_critical,
    });
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !config::is_off(value) && *value != "0s");
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_what_the_api_takes() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("web.hcl");
        let text = "service { name = \"web\" port = 80 check { tcp = \"a:1\" interval = \"90s\" } }";
        std::fs::write(&path, text).expect("written");
        let services = read(&[path.to_string_lossy().into_owned()]).expect("a definition");
        let body = body(&services[0]);
        assert_eq!((&body["ID"], &body["Port"]), (&json!("web"), &json!(80)));
        let expected =
            json!([{"CheckID": "service:web", "Name": "Service 'web' check", "TCP": "a:1", "Interval": "1m30s"}]);
        assert_eq!(body["Checks"], expected);
        let missing = read(&["/no/such/file.json".to_owned()]).expect_err("no file");
        assert_eq!(
            missing.err,
            "Error: config: Open failed on /no/such/file.json. open /no/such/file.json: no such file or directory"
        );
    }
}
