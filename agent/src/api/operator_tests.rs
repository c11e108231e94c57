//! What operators are answered: autopilot's rules and health, and the address of the web view.

use std::sync::Arc;

use shared::api::operator::OperatorHealth;

use super::tests::Lab;

#[tokio::test]
async fn autopilots_rules_are_set_whole_and_only_over_those_that_were_read() {
    let lab = Lab::new().await;
    let path = "/v1/operator/autopilot/configuration";
    let put = async |query: &str, body: &str| lab.send(&format!("PUT {path}{query}"), body, &[]).await;
    let seen = put("", r#"{"MinQuorum":3,"LastContactThreshold":"70.5s","MaxTrailingLogs":7}"#).await;
    assert_eq!((seen.status, &*seen.body, seen.header("x-consul-index")), (200, "true", "-"));
    let seen = lab.ask(&format!("GET {path}")).await;
    let index =
        seen.body.rsplit("Index\":").next().and_then(|rest| rest.strip_suffix('}')).expect("an index").to_owned();
    assert_eq!(
        (seen.body.replace(&index, "N"), seen.header("x-consul-index")),
        (
            r#"{"CleanupDeadServers":false,"LastContactThreshold":"1m10.5s","MaxTrailingLogs":7,"MinQuorum":3,"ServerStabilizationTime":"0s","RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":"","CreateIndex":N,"ModifyIndex":N}"#.to_owned(),
            "-"
        )
    );
    for (query, status, body) in [
        ("?cas=1".to_owned(), 200, "false"),
        (format!("?cas={index}"), 200, "true"),
        (format!("?cas={index}"), 200, "false"),
        (
            "?cas=x".to_owned(),
            400,
            r#"Bad request: Error parsing cas value: strconv.ParseUint: parsing "x": invalid syntax"#,
        ),
    ] {
        let seen = put(&query, "{}").await;
        assert_eq!((seen.status, &*seen.body), (status, body), "{query}");
    }
    lab.end().await;
}

#[tokio::test]
async fn who_is_not_well_makes_429_with_the_same_body() {
    let lab = Lab::new().await;
    for (healthy, status, kind) in [(true, 200, "application/json"), (false, 429, "text/plain; charset=utf-8")] {
        let health = OperatorHealth { healthy, failure_tolerance: 0, servers: Vec::new() };
        lab.context.backend.tell_health(u64::MAX, health);
        let seen = lab.ask("GET /v1/operator/autopilot/health").await;
        let body = format!(r#"{{"Healthy":{healthy},"FailureTolerance":0,"Servers":[]}}"#);
        assert_eq!((seen.status, seen.header("content-type"), &*seen.body), (status, kind, &*body));
    }
    lab.end().await;
}

#[tokio::test]
async fn the_address_of_the_web_view_says_that_there_is_none_yet() {
    let mut lab = Lab::new().await;
    Arc::get_mut(&mut lab.context).expect("nobody else has it").ui = Some("/ui/".to_owned());
    for path in ["/", "/?x=1", "/ui"] {
        let seen = lab.ask(&format!("GET {path}")).await;
        let to = "<a href=\"/ui/\">Moved Permanently</a>.\n\n";
        assert_eq!((seen.status, seen.header("location"), &*seen.body), (301, "/ui/", to), "{path}");
    }
    let seen = lab.ask("GET /ui/dc1/services").await;
    assert!(seen.status == 404 && seen.body.starts_with("The web view is not built yet."), "{}", seen.body);
    assert_eq!(lab.ask("GET /nope").await.body, "");
    lab.end().await;
}
