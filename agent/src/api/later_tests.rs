//! What is not there yet, asked as a Consul 1.8.7 was asked that had never been told anything.

use super::tests::Lab;

#[tokio::test]
async fn questions_are_answered_as_by_a_consul_that_was_never_told_anything() {
    let lab = Lab::new().await;
    let no_uuid = "index error: UUID must be 36 characters";
    let no_namespace = "Bad request: Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature";
    let no_session = format!("failed session lookup: {no_uuid}");
    let no_query = format!("failed prepared query lookup: {no_uuid}");
    let no_intention = format!("Bad request: failed intention lookup: {no_uuid}");
    for (line, status, body) in [
        ("GET /v1/session/list", 200, "[]"),
        ("GET /v1/session/node/one", 200, "[]"),
        ("GET /v1/session/node/", 400, "Missing node name"),
        ("GET /v1/session/info/e3b0c442-98fc-1c14-9afb-4c8996fb9242", 200, "[]"),
        ("GET /v1/session/info/x", 500, no_session.as_str()),
        ("GET /v1/session/info/", 400, "Missing session"),
        ("GET /v1/query", 200, "[]"),
        ("GET /v1/query/x", 500, no_query.as_str()),
        ("GET /v1/query/x/execute", 404, "Query not found"),
        ("GET /v1/config/", 200, "[]"),
        ("GET /v1/config/service-defaults", 200, "[]"),
        ("GET /v1/config/proxy-defaults/global", 404, "Config entry not found for \"proxy-defaults\" / \"global\""),
        ("GET /v1/config/nope", 500, "invalid config entry kind: nope"),
        ("GET /v1/connect/intentions", 200, "[]"),
        ("GET /v1/connect/intentions/match?by=source&name=x", 200, "{\"x\":null}"),
        ("GET /v1/connect/intentions/match", 500, "required query parameter 'by' not set"),
        ("GET /v1/connect/intentions/check?source=a&destination=b", 200, "{\"Allowed\":true}"),
        ("GET /v1/connect/intentions/x", 400, no_intention.as_str()),
        ("GET /v1/connect/ca/roots", 500, "Connect must be enabled in order to use this endpoint"),
        ("GET /v1/agent/connect/ca/leaf/web", 500, "Connect must be enabled in order to use this endpoint"),
        ("GET /v1/discovery-chain/", 400, "Bad request: Missing chain name"),
        ("GET /v1/catalog/gateway-services/x", 200, "null"),
        ("GET /v1/health/ingress/web", 200, "[]"),
        ("GET /v1/acl/tokens", 401, "ACL support disabled"),
        ("PUT /v1/acl/bootstrap", 401, "ACL support disabled"),
        ("GET /v1/connect/ca/roots?dc=nope", 500, "No path to datacenter"),
        ("GET /v1/kv/a?ns=x", 400, no_namespace),
        ("GET /v1/config/service-defaults?ns=x", 400, no_namespace),
        ("GET /v1/agent/health/service/name/x?ns=x", 400, no_namespace),
        ("GET /v1/query?ns=x", 200, "[]"),
    ] {
        lab.check(line, status, body).await;
    }
    lab.end().await;
}

#[tokio::test]
async fn changes_of_what_is_not_there_are_refused_by_name() {
    let lab = Lab::new().await;
    for (line, what) in [
        ("PUT /v1/session/create", "sessions"),
        ("PUT /v1/session/destroy/x", "sessions"),
        ("PUT /v1/session/renew/x", "sessions"),
        ("POST /v1/query", "prepared queries"),
        ("DELETE /v1/query/x", "prepared queries"),
        ("PUT /v1/txn", "transactions"),
        ("PUT /v1/config", "config entries"),
        ("DELETE /v1/config/proxy-defaults/global", "config entries"),
        ("POST /v1/connect/intentions", "intentions"),
        ("GET /v1/snapshot", "snapshots over HTTP"),
        ("PUT /v1/snapshot", "snapshots over HTTP"),
    ] {
        lab.check(line, 501, &format!("{what} are not supported by this agent yet")).await;
    }
    lab.check("PUT /v1/session/destroy/", 400, "Missing session").await;
    lab.check("GET /v1/txn", 405, "method GET not allowed").await;
    lab.end().await;
}

#[tokio::test]
async fn what_never_changes_is_waited_for_until_the_time_is_over() {
    let lab = Lab::new().await;
    let seen = lab.ask("GET /v1/session/list?index=1&wait=10ms").await;
    assert_eq!((seen.status, seen.header("x-consul-index"), seen.body.as_str()), (200, "1", "[]"));
    assert_eq!(seen.header("x-consul-knownleader"), "true");
    lab.end().await;
}
