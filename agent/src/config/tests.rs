//! Whole configurations: what arguments and files become, and what is refused in which words.
//! What Consul says was measured on 1.8.7.

use super::*;

fn host() -> Host {
    let interface = |name: &str, addr: &str| Interface {
        name: name.to_owned(),
        addr: addr.parse().expect("an address"),
        is_loopback: name == "lo",
    };
    Host { hostname: "box".to_owned(), interfaces: vec![interface("lo", "127.0.0.1"), interface("eth0", "10.9.9.9")] }
}

/// Words separated by blanks; `~` stands for a blank inside one.
fn loaded(line: &str) -> Result<Loaded, Errors> {
    let words: Vec<String> = line.split_whitespace().map(|word| word.replace('~', " ")).collect();
    load(&words, &host())
}

#[track_caller]
fn good(line: &str) -> Loaded {
    loaded(line).unwrap_or_else(|errors| panic!("{line}: {errors}"))
}

/// The message without our lines below it.
#[track_caller]
fn refused(line: &str, expected: &str) {
    let text = loaded(line).expect_err(line).to_string();
    let (first, _) = text.split_once("\n    ").unwrap_or((&text, ""));
    assert_eq!(first.trim_end(), expected, "{line}");
}

#[track_caller]
fn value<T: PartialEq + std::fmt::Debug>(line: &str, of: fn(&Config) -> T, expected: T) {
    assert_eq!(of(&good(line).config), expected, "{line}");
}

#[test]
fn values_are_refused_in_consuls_words() {
    refused("-server", "==> data_dir cannot be empty");
    refused("-data-dir d -bootstrap", "==> 'bootstrap = true' requires 'server = true'");
    refused(
        "-data-dir d -server -bootstrap -bootstrap-expect 3",
        "==> 'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive",
    );
    refused(
        "-data-dir d -server -bootstrap-expect -1",
        "==> bootstrap_expect cannot be -1. Must be greater than or equal to zero",
    );
    refused("-data-dir d -bootstrap-expect 3", "==> 'bootstrap_expect > 0' requires 'server = true'");
    refused("-dev -bootstrap-expect 3", "==> 'bootstrap_expect > 0' not allowed in dev mode");
    refused(
        "-dev -log-level foo",
        "==> Invalid log level: foo. Valid log levels are: [TRACE DEBUG INFO WARN ERR ERROR]",
    );
    refused(
        "-dev -node-id xx",
        "==> failed to setup node ID: specified NodeID is invalid: uuid string is wrong length",
    );
    refused(
        "-dev -retry-interval 5",
        "==> 1 error occurred:\n\t* retry_interval: invalid duration: \"5\": time: missing unit in duration \"5\"",
    );
    refused("-dev -datacenter A~B", "==> datacenter cannot be \"a b\". Please use only [a-z0-9-_]");
    refused(
        "-dev -hcl performance{raft_multiplier=11}",
        "==> performance.raft_multiplier cannot be 11. Must be between 1 and 10",
    );
    refused(
        "-dev -hcl dns_config{a_record_limit=-1}",
        "==> dns_config.a_record_limit cannot be -1. Must be greater than or equal to zero",
    );
    refused(
        "-dev -check_output_max_size 0",
        "==> check_output_max_size must be positive, to discard check output use the discard_check_output flag",
    );
    refused(
        "-dev -node-meta consul-x:y",
        "==> node_meta invalid: Couldn't load metadata pair ('consul-x', 'y'): Key prefix 'consul-' is reserved for internal use",
    );
    refused(
        "-dev -node-meta a~b:y",
        "==> node_meta invalid: Couldn't load metadata pair ('a b', 'y'): Key contains invalid characters",
    );
    refused("-dev -config-format xml", "==> config: -config-format must be either 'hcl' or 'json'");
    refused("-dev -segment x", "==> Network segments are not supported in this version of Consul");
}

#[test]
fn addresses_are_refused_in_consuls_words() {
    refused("-dev -bind x", "==> bind_addr cannot be empty");
    refused("-dev -client 1.2.3.4~x", "==> 1 error occurred:\n\t* client_addr: invalid ip address: x");
    refused("-dev -client unix:///x", "==> 1 error occurred:\n\t* client_addr cannot be a unix socket");
    refused(
        "-dev -bind 10.1.1.1~10.1.1.2",
        "==> bind_addr cannot contain multiple addresses. Use 'addresses.{dns,http,https}' instead.",
    );
    refused("-dev -http-port 99999", "==> 1 error occurred:\n\t* ports.http: invalid port: 99999");
    refused("-dev -http-port 8600", "==> HTTP address 127.0.0.1:8600 already configured for DNS");
    refused(
        "-data-dir d -serf-wan-port 8301",
        "==> Serf Advertise WAN address 10.9.9.9:8301 already configured for Serf Advertise LAN",
    );
    refused("-dev -advertise 0.0.0.0", "==> Advertise address cannot be 0.0.0.0, :: or [::]");
    refused("-dev -advertise-wan 0.0.0.0", "==> Advertise WAN address cannot be 0.0.0.0, :: or [::]");
    refused("-data-dir d -bind ::", "==> No public IPv6 address found");
    refused("-dev -recursor [::]", "==> DNS recursor address cannot be 0.0.0.0, :: or [::]");
    refused("-dev -recursor unix:///tmp/x", "==> DNS Recursors cannot be unix sockets: unix:///tmp/x");
    refused(
        "-dev -hcl addresses{https=\"x\"}",
        "==> addresses.https is not supported: TLS is not built yet, and speaking in the clear what was meant secret is no option",
    );
}

#[test]
fn flags_and_fragments_that_cannot_be_read_are_named() {
    let usage = |line: &str| loaded(line).expect_err(line).to_string();
    assert!(usage("-foo").starts_with("flag provided but not defined: -foo\nUsage:\n  -advertise value\n"));
    assert!(usage("-server=maybe").starts_with("invalid boolean value \"maybe\" for -server: strconv.ParseBool"));
    assert_eq!(usage("-server foo -dev"), "==> Unexpected extra arguments: [foo -dev]\n");
    assert!(usage("-h").starts_with("Usage: "));
    assert_eq!(
        usage("-dev -hcl foo=1~data_dri=2"),
        "==> failed to parse flags-0.hcl: 2 errors occurred:\n\t* invalid config key foo\n\t* invalid config key data_dri\n\n    \
         data_dri: did you mean data_dir?\n"
    );
    refused(
        "-dev -hcl server=\"x\"",
        "==> failed to parse flags-0.hcl: 1 error(s) decoding:\n\n* 'server' expected type 'bool', got unconvertible type 'string'",
    );
}

#[test]
fn all_that_is_wrong_is_said_at_once_with_its_place() {
    let text = loaded("-server -bootstrap-expect -1 -hcl retry_interval=\"x\"").expect_err("three faults").to_string();
    assert_eq!(
        text,
        "==> 3 errors occurred:\n\t* retry_interval: invalid duration: \"x\": time: invalid duration \"x\"\n\t\
         * bootstrap_expect cannot be -1. Must be greater than or equal to zero\n\t* data_dir cannot be empty\n\n    \
         retry_interval = \"x\" (flags-0.hcl)\n    bootstrap_expect = -1 (flag -bootstrap-expect)\n"
    );
}

#[test]
fn the_only_private_address_is_told_and_a_given_one_wins() {
    value("-data-dir d", |c| c.advertise_addr.to_string(), "10.9.9.9".to_owned());
    value("-data-dir d -bind 10.1.1.1", |c| c.listen.rpc_advertise.to_string(), "10.1.1.1:8300".to_owned());
    value("-data-dir d -advertise 10.1.1.2", |c| c.listen.serf_lan_advertise.to_string(), "10.1.1.2:8301".to_owned());
    value("-data-dir d -advertise 10.1.1.2", |c| c.listen.serf_lan_bind.to_string(), "0.0.0.0:8301".to_owned());
    value("-data-dir d -advertise-wan 1.2.3.4", |c| c.tagged_addresses["wan_ipv4"].clone(), "1.2.3.4".to_owned());
    value("-dev", |c| c.bind_addr.to_string(), "127.0.0.1".to_owned());
    value("-dev -client 127.0.0.1~::1", |c| c.listen.http.len(), 2);
    value("-dev -http-port -1", |c| c.listen.http.len(), 0);
    value("-dev -serf-wan-port -1", |c| c.listen.serf_wan_bind, None);
    value("-dev -dns-port 0", |c| c.ports.dns, Some(0));
}

#[test]
fn what_is_not_said_is_consuls_default_and_ours_where_stated() {
    value("-data-dir d", |c| (c.server, c.leave_on_terminate, c.skip_leave_on_interrupt), (false, true, None));
    value("-data-dir d -server", |c| (c.server, c.leave_on_terminate, c.bootstrap), (true, false, false));
    value("-data-dir d", |c| c.performance.raft_multiplier, 1);
    value("-data-dir d", |c| c.node_name.clone(), "box".to_owned());
    value("-data-dir d -node=", |c| c.node_name.clone(), "box".to_owned());
    value("-dev", |c| (c.server, c.elects_itself(), c.log.level.clone()), (true, true, "DEBUG".to_owned()));
    value("-data-dir d -server -bootstrap-expect 1", |c| (c.bootstrap, c.bootstrap_expect), (true, 0));
    value(
        "-dev -recursor 10.0.0.2:54 -recursor 10.0.0.1 -recursor 10.0.0.2:54",
        |c| c.dns.recursors.clone(),
        vec!["10.0.0.2:54".to_owned(), "10.0.0.1".to_owned()],
    );
    value("-data-dir d -domain Example.org", |c| c.dns.domain.clone(), "example.org.".to_owned());
    value("-data-dir d -datacenter DC9", |c| c.primary_datacenter.clone(), "dc9".to_owned());
    value("-dev -hcl skip_leave_on_interrupt=false", |c| c.skip_leave_on_interrupt, Some(false));
    value("-dev -log-level err", |c| c.log.level.clone(), "ERROR".to_owned());
}

#[test]
fn files_are_laid_over_each_other_in_order_and_flags_over_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    std::fs::create_dir(path("d")).expect("made");
    std::fs::write(path("a.json"), r#"{"node_name":"a","retry_join":["1.1.1.1"],"ports":{"http":1}}"#)
        .expect("written");
    std::fs::write(path("d/b.hcl"), "node_name = \"b\" retry_join = [\"2.2.2.2\"] ports { dns = 2 }").expect("written");
    let line =
        |first: &str, second: &str| format!("-dev {first} {second} -retry-join 3.3.3.3 -hcl retry_join=[\"4.4.4.4\"]");
    let (file, folder) = (format!("-config-file {}", path("a.json")), format!("-config-dir={}", path("d")));
    let config = good(&line(&file, &folder)).config;
    assert_eq!(config.node_name, "b");
    assert_eq!(config.join_lan.retry, ["3.3.3.3", "1.1.1.1", "2.2.2.2", "4.4.4.4"]);
    assert_eq!((config.ports.http, config.ports.dns), (Some(1), Some(2)));
    assert_eq!(good(&line(&folder, &file)).config.node_name, "a");
    assert_eq!(good(&format!("-dev {file} -node c")).config.node_name, "c");
}

#[test]
fn guide_3_is_taken_as_printed() {
    let text = r#"{ "bootstrap_expect": 2, "datacenter": "dc1", "data_dir": "consul/data", "log_level": "INFO",
        "server": true, "node_name": "node2_201", "ui": true, "bind_addr": "51.6.196.201",
        "client_addr": "51.6.196.201", "advertise_addr": "51.6.196.201", "enable_script_checks": true,
        "retry_join": ["51.6.196.201","51.6.196.211"], "retry_interval": "5s",
        "ports":{ "http": 8500, "dns": 8600, "server": 8300, "serf_lan": 8301, "serf_wan": 8302 } }"#;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("c.json").to_string_lossy().into_owned();
    std::fs::write(&path, text).expect("written");
    let loaded = good(&format!("-config-file {path}"));
    assert_eq!(
        banner(&loaded.config, "53c42a83-99bf-ebd4-708b-a26ba5eb6707", "0.1.0"),
        "==> Starting Quorate agent...
           Version: '0.1.0'
           Node ID: '53c42a83-99bf-ebd4-708b-a26ba5eb6707'
         Node name: 'node2_201'
        Datacenter: 'dc1' (Segment: '<all>')
            Server: true (Bootstrap: false)
       Client Addr: [51.6.196.201] (HTTP: 8500, HTTPS: -1, gRPC: -1, DNS: 8600)
      Cluster Addr: 51.6.196.201 (LAN: 8301, WAN: 8302)
           Encrypt: Gossip: false, TLS-Outgoing: false, TLS-Incoming: false, Auto-Encrypt-TLS: false

==> Log data will now stream in as it occurs:

"
    );
    assert_eq!(
        messages(&loaded),
        [
            "Node name \"node2_201\" will not be discoverable via DNS due to invalid characters. Valid characters include \
             all alpha-numerics and dashes.",
            "bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance. See \
             https://www.consul.io/docs/internals/consensus.html#deployment-table",
            "bootstrap_expect > 0: expecting 2 servers",
            "using enable-script-checks without ACLs and without allow_write_http_from is DANGEROUS, use \
             enable-local-script-checks instead, see \
             https://www.hashicorp.com/blog/protecting-consul-from-rce-risk-in-specific-configurations/",
        ]
    );
    let notices: Vec<String> = loaded.notices.iter().map(Notice::to_string).collect();
    assert_eq!(
        notices,
        [format!(
            "ui: the web view is not built yet, its address says so; the user interface is the console: place={path:?}"
        )]
    );
}

#[test]
fn what_we_do_not_have_is_refused_by_name_unless_it_is_off() {
    refused(
        "-dev -hcl checks=[{name=\"web\"}]",
        "==> 1 error occurred:\n\t* Failed to register check 'web': Check is not valid: TTL must be > 0 for TTL checks",
    );
    refused(
        "-dev -hcl acl{enabled=true}",
        "==> acl.enabled is not supported: access control is not built yet, and running open what was meant closed is no option",
    );
    let secret = format!("{:?}", loaded("-dev -encrypt pUqJrVyVRj5jsiYEkM/tFQ==").map(|loaded| loaded.config.encrypt));
    assert!(secret.contains("hidden") && !secret.contains("pUqJ"), "{secret}");
    good(
        "-dev -hcl acl{enabled=false}~services=[]~connect{enabled=false}~ports{https=-1~grpc=0}~verify_incoming=false",
    );
    refused(
        "-dev -retry-join provider=aws",
        "==> retry_join cannot be \"provider=aws\": the provider aws is not built in: name a DNS name that resolves to the members, or write their addresses to a file and use provider=file path=/where/it/is",
    );
}

#[test]
fn gossips_settings_are_what_they_are_set_to() {
    let config = good(
        "-data-dir d -rejoin -protocol 3 -hcl gossip_lan{gossip_interval=\"50ms\"~gossip_nodes=5~probe_timeout=\"1s\"} -hcl gossip_wan{suspicion_mult=7}~reconnect_timeout=\"9h\"",
    )
    .config;
    let lan = Gossip { gossip_interval: Duration::from_millis(50), gossip_nodes: 5, ..Gossip::lan() };
    assert_eq!(config.gossip_lan, Gossip { probe_timeout: Duration::from_secs(1), ..lan });
    assert_eq!(config.gossip_wan, Gossip { suspicion_mult: 7, ..Gossip::wan() });
    assert_eq!((config.rejoin_after_leave, config.protocol), (true, 3));
    assert_eq!(config.reconnect_timeout_lan, Duration::from_secs(9 * 3600));
    assert_eq!(good("-dev").config.gossip_wan.probe_interval, Duration::from_millis(100));
    refused("-dev -protocol 4", "==> Protocol version '4' too high. Must be in range: [2, 3]");
    refused(
        "-dev -hcl gossip_lan{probe_interval=\"0s\"}",
        "==> gossip_lan.probe_interval cannot be 0s. Must be greater than zero",
    );
}

#[test]
fn atlas_is_taken_and_its_end_is_told() {
    let loaded = good("-data-dir d -atlas-join -atlas=ATLAS_USERNAME/infrastructure -atlas-token=\"YOUR_ATLAS_TOKEN\"");
    let text = "Atlas has ended and -atlas, -atlas-join, -atlas-token have no effect: name members with -retry-join";
    assert_eq!(loaded.notices, [Notice { is_warning: true, text: text.to_owned() }]);
    let loaded = good("-data-dir d -hcl atlas_infrastructure=\"U/infra\"~atlas_join=true");
    let words = "changes nothing here: Atlas has ended; name members with retry_join";
    let said = |notice: &Notice| notice.is_warning && notice.text.contains(words);
    assert!(loaded.notices.len() == 2 && loaded.notices.iter().all(said), "{:?}", loaded.notices);
}

#[test]
fn warnings_are_said_by_both_loggers() {
    let found: Vec<_> = warnings(&good("-data-dir d -server -bootstrap-expect 1"))
        .into_iter()
        .map(|w| format!("{}: {}", w.logger, w.message))
        .collect();
    let said = |logger: &str| {
        [
            format!("{logger}: BootstrapExpect is set to 1; this is the same as Bootstrap mode."),
            format!("{logger}: bootstrap = true: do not enable unless necessary"),
        ]
    };
    assert_eq!(found, [said("agent"), said("agent.auto_config")].concat());
}

#[test]
fn the_table_is_in_order_and_compat_md_has_it() {
    let paths: Vec<_> = keys::TABLE.iter().map(|key| key.path).collect();
    assert!(paths.is_sorted(), "{paths:?}");
    let page = include_str!("../../../assets/docs/compat.md");
    assert!(page.contains(&listing()), "write this into compat.md:\n{}", listing());
}

#[test]
fn the_sample_files_are_good() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/config");
    for name in ["server.hcl", "single.hcl", "client.json"] {
        let loaded =
            validate(&[format!("{root}/{name}")], None, &host()).unwrap_or_else(|errors| panic!("{name}: {errors}"));
        assert_eq!(loaded.notices, [], "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_brings_the_readers_down(text in "[a-z{}\\[\\]=\",:<\\-\\\\ $#/*0-9é\n]{0,60}", is_json: bool) {
        let format = if is_json { document::Format::Json } else { document::Format::Hcl };
        let source = document::Source { name: "f".to_owned(), format, text };
        // Good or bad, it comes back; and what is refused says why.
        if let Err(bad) = document::Written::default().add(&source) {
            proptest::prop_assert!(!bad.is_good());
        }
    }
}

#[test]
fn services_are_read_from_both_notations_and_add_up() {
    let services = |line: &str| good(line).config.services;
    let one = services(r#"-dev -hcl {"service":{"Name":"web","tags":["a"],"port":80,"address":"1.2.3.4"}}"#);
    let one = &one[0].fields;
    assert_eq!((&*one.id, &*one.name, one.port, one.weights), ("web", "web", 80, (1, 1)));
    let tagged: Vec<_> = one.tagged_addresses.iter().map(|(tag, at)| format!("{tag}={}:{}", at.0, at.1)).collect();
    assert_eq!(tagged, ["lan_ipv4=1.2.3.4:80", "wan_ipv4=1.2.3.4:80"]);
    let block = "service{name=\"api\"~id=\"a1\"~meta{rack=\"7\"}~weights{passing=3}~enable_tag_override=true}";
    let both = services(&format!(r#"-dev -hcl {{"services":[{{"name":"x"}},{{"name":"y"}}]}} -hcl {block}"#));
    assert_eq!(both.iter().map(|s| &*s.fields.id).collect::<Vec<_>>(), ["x", "y", "a1"]);
    let last = &both[2].fields;
    assert_eq!((last.weights, last.enable_tag_override, &*last.meta["rack"]), ((3, 1), true, "7"));
    let checks = |of: &str| {
        services(&format!(r#"-dev -enable-script-checks -hcl {{"service":{{"name":"w",{of}}}}}"#))[0].checks.clone()
    };
    let lone = checks(r#""check":{"args":["true"],"interval":"1s","name":"up"}"#);
    assert_eq!((&*lone[0].id, &*lone[0].name, lone[0].timeout().as_secs()), ("service:w", "up", 30));
    let two = checks(r#""checks":[{"args":["a"],"interval":"1ms"}],"check":{"id":"c","args":["b"],"interval":"5s"}"#);
    assert_eq!(
        two.iter().map(|c| (&*c.id, c.interval().as_secs())).collect::<Vec<_>>(),
        [("service:w:1", 1), ("c", 5)]
    );
    assert_eq!(two[0].name, "Service 'w' check");
}

#[test]
fn services_are_refused_in_consuls_words() {
    let service = |of: &str, expected: &str| refused(&format!(r#"-dev -hcl {{"service":{{{of}}}}}"#), expected);
    let listed = |of: &str, expected: &str| service(of, &format!("==> 1 error occurred:\n\t* {expected}"));
    let place = |text: &str| {
        let shown = loaded(text).expect_err(text).to_string();
        shown.split_once("failed to parse ").and_then(|(_, rest)| rest.split_once(": ")).map(|(_, why)| why.to_owned())
    };
    let unknown = place(r#"-dev -hcl {"service":{"name":"web","foo":1}}"#).expect("a place");
    assert!(unknown.contains("* invalid config key service.foo"), "{unknown}");
    let unknown = place(r#"-dev -hcl {"services":[{"name":"web","foo":1}]}"#).expect("a place");
    assert!(unknown.contains("* invalid config key services[0].foo"), "{unknown}");
    let wrong = place(r#"-dev -hcl {"service":{"name":"web","port":"80"}}"#).expect("a place");
    assert!(wrong.contains("* 'service.port' expected type 'int', got unconvertible type 'string'"), "{wrong}");
    let wrong = place(r#"-dev -hcl {"services":{"name":"web"}}"#).expect("a place");
    assert!(wrong.contains("* 'services': source data must be an array or slice, got map"), "{wrong}");
    listed(
        r#""name":"web","weights":{"passing":-1,"warning":1}"#,
        "Invalid weight definition for service web: Passing must be greater than 0",
    );
    listed(
        r#""name":"web","meta":{"a.b":"x"}"#,
        "invalid meta for service web: Couldn't load metadata pair ('a.b', 'x'): Key contains invalid characters",
    );
    listed(
        r#""name":"web","check":{"args":["true"],"interval":"x"}"#,
        "check[].interval: invalid duration: \"x\": time: invalid duration \"x\"",
    );
    listed(r#""name":"""#, "Failed to register service \"\": Service name missing");
    listed(
        r#""name":"web","check":{"args":["true"]}"#,
        "Failed to validate checks for service \"web\": Interval must be > 0 for Script, HTTP, or TCP checks",
    );
    listed(
        r#""name":"web","check":{"args":["true"],"interval":"1s"}"#,
        "Failed to register service \"web\": Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true",
    );
    listed(
        r#""name":"web","connect":{"native":true}"#,
        "service web: connect cannot be given: the service mesh is not built",
    );
}

#[test]
fn checks_are_read_with_all_that_they_may_say() {
    let checks = |text: &str| good(&format!("-dev -hcl {text}")).config.node_checks;
    let all = checks(
        r#"{"checks":[{"id":"h","name":"up","http":"http://a/","method":"PUT","header":{"X":["1","2"]},"body":"b","interval":"5s","timeout":"2s","tls_skip_verify":true,"service_id":"w","status":"passing","success_before_passing":3,"DeregisterCriticalServiceAfter":"90m","output_max_size":9}],"check":{"name":"ttl","ttl":"1m"}}"#,
    );
    let http = &all[0];
    assert_eq!((http.kind(), &*http.service_id, http.success_before_passing), ("http", "w", 3));
    assert_eq!((&http.header["X"], http.output_max_size), (&vec!["1".to_owned(), "2".to_owned()], 9));
    assert_eq!(http.deregister_critical_service_after.as_secs(), 5_400);
    assert_eq!((&*all[1].id, all[1].kind()), ("ttl", "ttl"));
    let listed = |of: &str, expected: &str| {
        refused(&format!(r#"-dev -hcl {{"check":{{{of}}}}}"#), &format!("==> 1 error occurred:\n\t* {expected}"));
    };
    listed(r#""ttl":"10s""#, "Failed to register check '': CheckID missing");
    listed(
        r#""name":"n","tcp":"x""#,
        "Failed to register check 'n': Check is not valid: Interval must be > 0 for Script, HTTP, or TCP checks",
    );
    listed(
        r#""name":"n","tcp":"x","interval":"bad""#,
        "check[].interval: invalid duration: \"bad\": time: invalid duration \"bad\"",
    );
    listed(r#""name":"n","ttl":"1s","status":"bad""#, "check 'n': status cannot be \"bad\"");
    listed(
        r#""name":"n","args":["x"],"interval":"1s""#,
        "Failed to register check 'n': Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or 'enable_local_script_checks' to true",
    );
    let bad = loaded(r#"-dev -hcl {"check":{"name":"n","http":"a","interval":"1s","header":{"a":"b"}}}"#);
    let shown = bad.expect_err("a bad header").to_string();
    assert!(shown.contains("* 'check.header[a]': source data must be an array or slice, got string"), "{shown}");
}
