//! `/v1/coordinate/…` and `?near=` on a whole server, held against what Consul 1.8.7 answers.

use std::sync::Arc;

use super::tests::Lab;
use crate::store::command::{Command, Deregistration, NodeFields, Registration};

const ORIGIN: &str = r#"{"Vec":[0,0,0,0,0,0,0,0],"Error":1.5,"Adjustment":0,"Height":0.00001}"#;

fn update(node: &str, first: f64) -> String {
    format!(
        r#"{{"node":"{node}","Segment":"","Coord":{{"Vec":[{first},0,0,0,0,0,0,0],"Error":0.5,"Adjustment":0,"Height":0}}}}"#
    )
}

async fn register(lab: &Lab, name: &str) {
    let node = NodeFields { name: name.to_owned(), address: "10.0.0.9".to_owned(), ..NodeFields::default() };
    let registration = Registration { node, ..Registration::default() };
    lab.context.backend.write(registration.into()).await.expect("registered");
}

async fn names(lab: &Lab, path: &str) -> Vec<String> {
    let seen = lab.ask(&format!("GET {path}")).await;
    assert_eq!(seen.status, 200, "{path}: {}", seen.body);
    let rows: Vec<serde_json::Value> = serde_json::from_str(&seen.body).expect("a list");
    rows.iter().map(|row| row["Node"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn places_are_told_as_the_reference_tells_them() {
    let lab = Lab::new().await;
    let oneself = format!(r#"[{{"Node":"one","Segment":"","Coord":{ORIGIN}}}]"#);
    lab.check("GET /v1/coordinate/nodes", 200, &oneself).await;
    lab.check("GET /v1/coordinate/node/one", 200, &oneself).await;
    lab.check("GET /v1/coordinate/nodes?segment=x", 200, "[]").await;
    lab.check("GET /v1/coordinate/node/one?segment=x", 404, "").await;
    lab.check("GET /v1/coordinate/node/two", 404, "").await;
    lab.check("GET /v1/coordinate/nodes?dc=dc9", 500, "No path to datacenter").await;
    lab.check("GET /v1/coordinate/update", 405, "method GET not allowed").await;
    let datacenters = format!(r#"[{{"Datacenter":"dc1","AreaID":"wan","Coordinates":{oneself}}}]"#);
    lab.check("GET /v1/coordinate/datacenters", 200, &datacenters).await;
    let seen = lab.ask("GET /v1/coordinate/nodes").await;
    let headers = ["x-consul-index", "x-consul-knownleader", "x-consul-lastcontact", "x-consul-effective-consistency"];
    assert_eq!(headers.map(|name| seen.header(name)), ["1", "true", "0", "-"]);
    lab.end().await;
}

#[tokio::test]
async fn updates_are_taken_or_refused_in_the_reference_s_words() {
    let lab = Lab::new().await;
    for (body, status, text) in [
        ("", 400, "Request decode failed: EOF"),
        (r#"{"Node":"x","Bogus":1}"#, 400, r#"Request decode failed: json: unknown field "Bogus""#),
        (r#"{"Node":"x","Coord":{"Vec":[0,0],"Error":1,"Adjustment":0,"Height":0}}"#, 500, "incompatible coordinate"),
        (r#"{"Node":"x","Coord":{"Vec":[0,0,0,0,0,0,0,1e9]}}"#, 500, "invalid coordinate"),
        (r#"{"Node":"x"}"#, 500, "invalid coordinate"),
    ] {
        let seen = lab.send("PUT /v1/coordinate/update", body, &[]).await;
        assert_eq!((seen.status, seen.body.as_str()), (status, text), "{body}");
    }
    let seen = lab.send("PUT /v1/coordinate/update", "nope", &[]).await;
    assert!(seen.status == 400 && seen.body.starts_with("Request decode failed: "), "{seen:?}");
    lab.end().await;
}

#[tokio::test]
async fn a_node_that_is_no_member_has_a_place_while_it_is_registered() {
    let lab = Lab::new().await;
    assert_eq!(lab.put("/v1/coordinate/update", &update("ext", 0.5)).await, "");
    assert_eq!(names(&lab, "/v1/coordinate/nodes").await, ["one"], "not in the catalog yet");
    register(&lab, "Ext").await;
    assert_eq!(names(&lab, "/v1/coordinate/nodes").await, ["ext", "one"]);
    assert!(lab.ask("GET /v1/coordinate/node/ext").await.body.contains("[0.5,0,0,0,0,0,0,0]"));
    let gone = Command::Deregister(Deregistration::Node { node: "ext".to_owned() });
    lab.context.backend.write(gone).await.expect("deregistered");
    assert_eq!(names(&lab, "/v1/coordinate/nodes").await, ["one"]);
    lab.end().await;
}

#[tokio::test]
async fn near_sorts_by_distance_and_keeps_unknown_ones_last() {
    let lab = Lab::new().await;
    for (node, place) in [("far", Some(0.9)), ("middle", Some(0.5)), ("nowhere", None), ("close", Some(0.1))] {
        register(&lab, node).await;
        if let Some(place) = place {
            lab.put("/v1/coordinate/update", &update(node, place)).await;
        }
    }
    let path = "/v1/catalog/nodes";
    assert_eq!(names(&lab, path).await, ["close", "far", "middle", "nowhere", "one"]);
    let nearest = ["one", "close", "middle", "far", "nowhere"];
    assert_eq!(names(&lab, &format!("{path}?near=_agent")).await, nearest);
    assert_eq!(names(&lab, &format!("{path}?near=ONE")).await, nearest);
    assert_eq!(names(&lab, &format!("{path}?near=far")).await, ["far", "middle", "close", "one", "nowhere"]);
    assert_eq!(names(&lab, &format!("{path}?near=nowhere")).await, ["close", "far", "middle", "nowhere", "one"]);
    lab.end().await;
}

#[tokio::test]
async fn a_blocking_question_ends_with_the_news() {
    let lab = Lab::new().await;
    let asked = lab.ask("GET /v1/coordinate/nodes?index=1&wait=60s");
    let update = update("one", 0.5);
    let (seen, _) = tokio::join!(asked, lab.put("/v1/coordinate/update", &update));
    assert!(seen.status == 200 && seen.header("x-consul-index") == "2", "{seen:?}");
    lab.end().await;
}

#[tokio::test]
async fn switched_off_nothing_is_told() {
    let mut lab = Lab::new().await;
    Arc::get_mut(&mut lab.context).expect("nobody else holds it").coordinates = false;
    for line in ["nodes", "node/one", "datacenters"] {
        lab.check(&format!("GET /v1/coordinate/{line}"), 401, "Coordinate support disabled").await;
    }
    let seen = lab.send("PUT /v1/coordinate/update", &update("one", 0.5), &[]).await;
    assert_eq!((seen.status, seen.body.as_str()), (401, "Coordinate support disabled"));
    lab.end().await;
}
