//! `version`, `validate`, `keygen`: verbs that ask no agent. `agent` is here for the list of verbs; `cli`
//! runs it before any verb is looked for.

use base64::Engine;
use rand::TryRngCore;
use serde_json::json;

use super::{Call, Ended, Reach, Verb};
use crate::agent::{API_VERSION, VERSION};
use crate::flags::{Flag, Kind};

pub(super) const AGENT: Verb = Verb {
    path: "agent",
    synopsis: "Runs an agent",
    form: "[options]",
    about: "",
    flags: &[],
    reach: Reach::Here,
    run: |_| Box::pin(async { Ended::default() }),
};

pub(super) const KEYGEN: Verb = Verb {
    path: "keygen",
    synopsis: "Makes a new encryption key",
    form: "",
    about: "  Makes a new key of 32 bytes for encrypting gossip, written as the agent's\n  configuration wants it.",
    flags: &[],
    reach: Reach::Here,
    run: |_| Box::pin(async { keygen() }),
};

pub(super) const VALIDATE: Verb = Verb {
    path: "validate",
    synopsis: "Checks configuration files and directories",
    form: "[options] FILE_OR_DIRECTORY...",
    about: "  Reads configuration files and directories as an agent would that was given\n  \
            all of them, and says what is wrong with them. The agent is not started.\n\n  \
            Ends with 0 when an agent could start with them, otherwise with 1.",
    flags: &[
        Flag::new("config-format", Kind::String, "Read all files as this, whatever they are called: hcl or json."),
        Flag::new("quiet", Kind::Bool, "Print nothing when all is well."),
    ],
    reach: Reach::Here,
    run: |call| Box::pin(async move { validate(call) }),
};

pub(super) const VERSION_VERB: Verb = Verb {
    path: "version",
    synopsis: "Prints the version",
    form: "[options]",
    about: "",
    flags: &[Flag::new("format", Kind::String, "What to print: pretty or json.").value("format").default("pretty")],
    reach: Reach::Here,
    run: |call| Box::pin(async move { version(call) }),
};

/// What `version` and `--version` print.
pub fn version_text() -> String {
    format!(
        "Quorate v{VERSION} (Consul v{API_VERSION} API)\nProtocol 2 spoken by default, understands 2 to 3 (agent will \
         automatically use protocol >2 when speaking to compatible agents)\n\n"
    )
}

fn version(call: &Call) -> Ended {
    match call.flags.text("format") {
        "pretty" => Ended::said(version_text()),
        "json" => {
            // Consul: indented by three, its Version is the level of the API.
            let fields = json!({
                "Version": API_VERSION,
                "Revision": "",
                "Prerelease": "",
                "RPC": { "Default": 2, "Min": 2, "Max": 3 },
                "Quorate": VERSION,
            });
            let mut text = Vec::new();
            let style = serde_json::ser::PrettyFormatter::with_indent(b"   ");
            let mut writer = serde_json::Serializer::with_formatter(&mut text, style);
            serde::Serialize::serialize(&fields, &mut writer).expect("plain data, written to memory");
            text.push(b'\n');
            Ended::said(text)
        }
        other => Ended::failed(format!("Unknown format: {other}")),
    }
}

fn keygen() -> Ended {
    let mut key = [0_u8; 32];
    match rand::rngs::OsRng.try_fill_bytes(&mut key) {
        Ok(()) => Ended::said(base64::engine::general_purpose::STANDARD.encode(key) + "\n"),
        Err(error) => Ended::failed(format!("Error reading random data: {error}")),
    }
}

fn validate(call: &Call) -> Ended {
    let paths = call.flags.rest();
    if paths.is_empty() {
        return Ended::failed("Must specify at least one config file or directory");
    }
    match crate::config::validate(paths, call.flags.given_text("config-format"), &crate::agent::host()) {
        Ok(_) if call.flags.is_on("quiet") => Ended::default(),
        Ok(loaded) => {
            let notices: Vec<String> = loaded.notices.iter().map(ToString::to_string).collect();
            Ended { out: b"Configuration is valid!\n".to_vec(), err: notices.join("\n"), code: 0 }
        }
        Err(crate::config::Errors::Refused(refusal)) => {
            Ended::failed(format!("Config validation failed: {}", refusal.messages().join("\n")))
        }
        Err(other) => Ended::failed(other.to_string()),
    }
}
