//! Registrations over HTTP on a whole agent, held against what Consul 1.8.7 answers.

use serde_json::Value;

use super::tests::Lab;

#[track_caller]
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|fault| panic!("{fault}: {text}"))
}

async fn put(lab: &Lab, path: &str, body: &str) -> (u16, String) {
    let seen = lab.send(&format!("PUT {path}"), body, &[]).await;
    (seen.status, seen.body)
}

async fn checks(lab: &Lab) -> Value {
    json(&lab.ask("GET /v1/agent/checks").await.body)
}

#[tokio::test]
async fn services_that_cannot_be_are_refused_in_the_reference_s_words() {
    let lab = Lab::new().await;
    let refused = async |fields: &str, status: u16, text: &str| {
        let body = format!(r#"{{"ID":"s1","Name":"s",{fields}}}"#);
        assert_eq!(put(&lab, "/v1/agent/service/register", &body).await, (status, text.to_owned()), "{fields}");
    };
    refused(r#""Name":"""#, 400, "Missing service name").await;
    refused(r#""Bogus":1"#, 400, r#"Request decode failed: json: unknown field "Bogus""#).await;
    refused(r#""Port":"x","Check":{"Bogus":1}"#, 400, r#"Request decode failed: json: unknown field "Bogus""#).await;
    let deep = format!(r#""Tags":{}"#, "[".repeat(100_000));
    refused(&deep, 400, "Request decode failed: invalid character '[' exceeded max depth").await;
    refused(r#""Port":1,"Proxy":{"Bogus":1}"#, 400, r#"Request decode failed: json: unknown field "Bogus""#).await;
    let port = "Request decode failed: json: cannot unmarshal string into Go struct field .Port of type int";
    refused(r#""Port":"80""#, 400, port).await;
    refused(r#""Port":70000"#, 400, "Invalid Port: 70000 is no port, they are 0 to 65535").await;
    refused(r#""Address":"0.0.0.0""#, 400, "Invalid service address").await;
    refused(r#""Weights":{}"#, 400, "Invalid Weights: Passing must be greater than 0").await;
    let negative = "Invalid Weights: Warning must be greater or equal than 0";
    refused(r#""Weights":{"Passing":1,"Warning":-1}"#, 400, negative).await;
    let meta = "Invalid Service Meta: Couldn't load metadata pair ('bad key', 'v'): Key contains invalid characters";
    refused(r#""Meta":{"bad key":"v"}"#, 400, meta).await;
    refused(r#""Check":{"Interval":"1s"}"#, 400, "Invalid check: TTL must be > 0 for TTL checks").await;
    let status = "Status for checks must 'passing', 'warning', 'critical'";
    refused(r#""Check":{"TTL":"1s","Status":"bad"}"#, 400, status).await;
    let scripts =
        "Scripts are disabled on this agent from remote calls; to enable, configure 'enable_script_checks' to true";
    refused(r#""Check":{"Args":["true"],"Interval":"1s"}"#, 500, scripts).await;
    let mesh = "Connect cannot be given: the service mesh is not built";
    refused(r#""Connect":{"SidecarService":{"Port":1}}"#, 400, mesh).await;
    assert_eq!(put(&lab, "/v1/agent/service/register", "").await, (400, "Request decode failed: EOF".to_owned()));
    let large = format!(r#"{{"Name":"s","Tags":["{}"]}}"#, "x".repeat(1_100_000));
    let answer = put(&lab, "/v1/agent/service/register", &large).await;
    assert_eq!(answer, (413, "Request body too large, max size: 1048576 bytes".to_owned()));
    let services = json(&lab.ask("GET /v1/agent/services").await.body);
    assert_eq!(
        services.as_object().map(|all| all.keys().collect::<Vec<_>>()),
        Some(vec![&"w1".to_owned()]),
        "half registered"
    );
    lab.end().await;
}

#[tokio::test]
async fn checks_that_cannot_be_are_refused_in_the_reference_s_words() {
    let lab = Lab::new().await;
    let refused = async |body: &str, status: u16, text: &str| {
        assert_eq!(put(&lab, "/v1/agent/check/register", body).await, (status, text.to_owned()), "{body}");
    };
    refused(r#"{"ID":"x","TTL":"30s"}"#, 400, "Missing check name").await;
    refused(r#"{"Name":"x"}"#, 400, "Invalid check: TTL must be > 0 for TTL checks").await;
    refused(r#"{"Name":"x","TTL":"soon"}"#, 400, r#"Request decode failed: time: invalid duration "soon""#).await;
    refused(r#"{"Name":"x","TTL":"30s","Status":"great"}"#, 400, "Bad check status").await;
    let interval = "Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks";
    refused(r#"{"Name":"x","HTTP":"http://127.0.0.1:1/"}"#, 400, interval).await;
    refused(r#"{"Name":"x","HTTP":"http://127.0.0.1:1/","Interval":"0s"}"#, 400, interval).await;
    refused(r#"{"Name":"x","ServiceID":"nope","TTL":"30s"}"#, 500, r#"ServiceID "nope" does not exist"#).await;
    refused(r#"{"Name":"x","TTL":"1s","CheckID":"x"}"#, 400, r#"Request decode failed: json: unknown field "CheckID""#)
        .await;
    assert!(checks(&lab).await.get("x").is_none(), "half registered");
    lab.check("GET /v1/agent/check/register", 405, "method GET not allowed").await;
    lab.check("GET /v1/agent/check/pass/x", 405, "method GET not allowed").await;
    lab.check("GET /v1/agent/service/register", 405, "method GET not allowed").await;
    lab.check("GET /v1/agent/maintenance?enable=true", 405, "method GET not allowed").await;
    for path in ["pass/x", "warn/x", "fail/x"] {
        let no_ttl = (500, r#"CheckID "x" does not have associated TTL"#.to_owned());
        assert_eq!(put(&lab, &format!("/v1/agent/check/{path}"), "").await, no_ttl);
    }
    assert_eq!(put(&lab, "/v1/agent/check/deregister/", "").await, (500, "CheckID missing".to_owned()));
    assert_eq!(put(&lab, "/v1/agent/check/deregister/nope", "").await, (200, String::new()));
    assert_eq!(put(&lab, "/v1/agent/service/deregister/", "").await, (500, "ServiceID missing".to_owned()));
    assert_eq!(put(&lab, "/v1/agent/service/deregister/nope", "").await, (200, String::new()));
    lab.end().await;
}

#[tokio::test]
async fn reports_turn_a_check_and_the_health_of_its_service() {
    let lab = Lab::new().await;
    let register = r#"{"id":"a/b ü","name":"api","Check":{"TTL":"600s","Notes":"a note"}}"#;
    assert_eq!(put(&lab, "/v1/agent/service/register", register).await, (200, String::new()));
    let told = async |path: &str, body: &str, status: &str, output: &str, code: u16| {
        assert_eq!(put(&lab, path, body).await, (200, String::new()), "{path}");
        let check = checks(&lab).await["service:a/b ü"].clone();
        assert_eq!((check["Status"].as_str(), check["Output"].as_str()), (Some(status), Some(output)), "{path}");
        lab.check("GET /v1/agent/health/service/name/api?format=text", code, status).await;
        let answer = lab.ask("GET /v1/agent/health/service/id/a/b%20%C3%BC").await;
        assert_eq!((answer.status, answer.header("x-consul-reason")), (code, status));
    };
    let id = "service:a/b%20%C3%BC";
    told(&format!("/v1/agent/check/pass/{id}?note=all%20good"), "", "passing", "all good", 200).await;
    told(&format!("/v1/agent/check/warn/{id}?note=hm"), "", "warning", "hm", 429).await;
    told(&format!("/v1/agent/check/fail/{id}"), "", "critical", "", 503).await;
    let update = format!("/v1/agent/check/update/{id}");
    told(&update, r#"{"Status":"passing","Output":"said"}"#, "passing", "said", 200).await;
    let wrong = (400, "Invalid check status: 'great'".to_owned());
    assert_eq!(put(&lab, &update, r#"{"Status":"great"}"#).await, wrong);
    let type_of =
        "Request decode failed: json: cannot unmarshal number into Go struct field checkUpdate.Output of type string";
    assert_eq!(put(&lab, &update, r#"{"Status":"passing","Output":5}"#).await, (400, type_of.to_owned()));
    let long = "y".repeat(5_000);
    assert_eq!(put(&lab, &format!("/v1/agent/check/pass/{id}?note={long}"), "").await.0, 200);
    let output = checks(&lab).await["service:a/b ü"]["Output"].as_str().unwrap_or_default().to_owned();
    assert!(output.ends_with("y ... (captured 4096 of 5000 bytes)"), "{output}");
    lab.check("GET /v1/agent/health/service/name/nope", 404, "[]").await;
    lab.check("GET /v1/agent/health/service/name/nope?format=text", 404, "ServiceName nope Not Found").await;
    let unknown = r#"{"AggregatedStatus":"critical","Service":null,"Checks":null}"#;
    lab.check("GET /v1/agent/health/service/id/nope", 404, unknown).await;
    let unknown = "\"ServiceId nope not found\"";
    lab.check("GET /v1/agent/health/service/id/nope?format=text", 404, unknown).await;
    lab.check("GET /v1/agent/health/service/id/", 500, "Bad request: Missing serviceID").await;
    lab.end().await;
}

#[tokio::test]
async fn a_service_that_is_registered_again_goes_on() {
    let lab = Lab::new().await;
    let register = async |query: &str, body: &str| {
        let path = format!("/v1/agent/service/register{query}");
        assert_eq!(put(&lab, &path, body).await, (200, String::new()), "{body}");
        let all = checks(&lab).await;
        let rows = all.as_object().expect("checks").iter().filter(|(_, check)| check["ServiceID"] == "w");
        rows.map(|(id, check)| format!("{id} {}", check["Status"].as_str().unwrap_or("-"))).collect::<Vec<_>>()
    };
    let two = r#"{"ID":"w","Name":"web","Checks":[{"TTL":"10m"},{"CheckID":"b","TTL":"10m","Status":"passing"}]}"#;
    assert_eq!(register("", two).await, ["b passing", "service:w:1 critical"]);
    assert_eq!(put(&lab, "/v1/agent/check/pass/service:w:1", "").await.0, 200);
    assert_eq!(register("", two).await, ["b passing", "service:w:1 passing"]);
    let one = r#"{"ID":"w","Name":"web","Check":{"TTL":"10m"}}"#;
    assert_eq!(register("?replace-existing-checks=1", one).await.len(), 3);
    assert_eq!(register("?replace-existing-checks=true", one).await, ["service:w critical"]);
    let three = r#"{"ID":"w","Name":"web","Check":{"TTL":"10m"},"Checks":[{"TTL":"10m"}]}"#;
    let numbered = register("?replace-existing-checks", three).await;
    assert_eq!(numbered, ["service:w:1 critical", "service:w:2 critical"]);
    lab.end().await;
}

#[tokio::test]
async fn maintenance_is_a_check_with_a_reason() {
    let lab = Lab::new().await;
    let switch = async |path: &str, status: u16, text: &str| {
        assert_eq!(put(&lab, path, "").await, (status, text.to_owned()), "{path}");
    };
    let service = "/v1/agent/service/maintenance/w1";
    switch(service, 400, "Missing value for enable").await;
    switch(&format!("{service}?enable=maybe"), 400, "Invalid value for enable: \"maybe\"").await;
    switch("/v1/agent/service/maintenance/?enable=true", 400, "Missing service ID").await;
    switch("/v1/agent/service/maintenance/nope?enable=true", 404, "No service registered with ID \"nope\"").await;
    switch(&format!("{service}?enable=true&reason=broken"), 200, "").await;
    switch(&format!("{service}?enable=1&reason=again"), 200, "").await;
    let check = checks(&lab).await["_service_maintenance:w1"].clone();
    let fields = ["Name", "Status", "Notes", "ServiceID", "Type"].map(|key| check[key].as_str().unwrap_or("-"));
    assert_eq!(fields, ["Service Maintenance Mode", "critical", "broken", "w1", "maintenance"]);
    lab.check("GET /v1/agent/health/service/id/w1?format=text", 503, "maintenance").await;
    switch(&format!("{service}?enable=false"), 200, "").await;
    switch("/v1/agent/maintenance", 400, "Missing value for enable").await;
    switch("/v1/agent/maintenance?enable=true", 200, "").await;
    let notes = checks(&lab).await["_node_maintenance"]["Notes"].clone();
    assert!(notes.as_str().is_some_and(|notes| notes.ends_with("This is a default message.")), "{notes}");
    switch("/v1/agent/maintenance?enable=false", 200, "").await;
    assert_eq!(checks(&lab).await.as_object().map(serde_json::Map::len), Some(1));
    lab.end().await;
}
