//! `event`: fires a user event.

use serde_json::Value;
use shared::api::event::UserEvent;

use super::{Call, Ended, Reach, Verb, failing};
use crate::flags::{Flag, Kind};

pub(super) const EVENT: Verb = Verb {
    path: "event",
    synopsis: "Fires a new event",
    form: "[options] [payload]",
    about: "  Fires a user event, which every member of the pool hears of. It has a name\n  \
            and, if wanted, a payload of some hundred bytes. Regular expressions over\n  \
            the nodes' names, their services and their services' tags say whom it is\n  meant for.",
    flags: &[
        Flag::new("name", Kind::String, "Name of the event."),
        Flag::new("node", Kind::String, "Only nodes whose name matches this regular expression."),
        Flag::new("service", Kind::String, "Only nodes with a service that matches this regular expression."),
        Flag::new(
            "tag",
            Kind::String,
            "Only services with a tag that matches this regular expression; needs -service.",
        ),
    ],
    reach: Reach::Agent,
    run: |call| Box::pin(async move { Ended::from(event(call).await) }),
};

async fn event(call: &Call) -> Result<Ended, Ended> {
    let name = call.flags.text("name");
    if name.is_empty() {
        return Err(Ended::failed(format!("Event name must be specified\n\n{}", call.help())));
    }
    let filter = |flag: &str| {
        let text = call.flags.text(flag);
        regex_lite::Regex::new(text)
            .map_err(|e| Ended::failed(format!("Failed to compile {flag} filter regexp: error parsing regexp: {e}")))?;
        Ok::<_, Ended>((!text.is_empty()).then(|| text.to_owned()))
    };
    let (node, service, tag) = (filter("node")?, filter("service")?, filter("tag")?);
    if tag.is_some() && service.is_none() {
        return Err(Ended::failed("Cannot provide tag filter without service filter."));
    }
    let payload = match call.flags.rest() {
        [] => "",
        [payload] => payload,
        _ => return Err(Ended::failed(format!("Too many command line arguments.\n\n{}", call.help()))),
    };
    let client = call.client_or("Error connecting to Consul agent")?;
    let _: Value = client.get("/v1/agent/self").json().await.map_err(failing("Error querying Consul agent"))?;
    let request = client
        .put(&format!("/v1/event/fire/{name}"))
        .query_some("node", node)
        .query_some("service", service)
        .query_some("tag", tag)
        .body(payload.to_owned());
    let fired: UserEvent = request.json().await.map_err(failing("Error firing event"))?;
    Ok(Ended::said(format!("Event ID: {}\n", fired.id)))
}
