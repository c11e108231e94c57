//! Our verbs beside Consul's, pointed at the same HashiCorp agent: same text, same exit code.
//! Helps are not compared: they say the same in other words.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Output;

use crate::support::eventually;
use crate::support::real_consul::{self, RealConsul, run};

/// One program's answer to a command line.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    out: String,
    err: String,
    code: Option<i32>,
}

/// What of an answer is compared.
#[derive(Clone, Copy)]
enum Part {
    All,
    /// The rest is help or usage, in each program's own words.
    FirstErrorLine,
}

struct Beside<'a> {
    real: &'a RealConsul,
    programs: [PathBuf; 2],
    /// All that differ are told at once.
    differing: RefCell<Vec<String>>,
}

impl Beside<'_> {
    fn said(&self, program: &PathBuf, line: &[&str], stdin: &str, part: Part) -> Said {
        if line.contains(&"delete") && line.contains(&"-modify-index={index}") {
            // For the second program: the first one removed it.
            self.real.order("/v1/kv/cas", "again");
        }
        let index = self.real.http("/v1/kv/cas");
        let index =
            index.split("\"ModifyIndex\":").nth(1).and_then(|rest| rest.split(['}', ',']).next()).unwrap_or("0");
        let words: Vec<String> =
            line.iter().map(|word| word.replace("{ip}", &self.real.ip).replace("{index}", index.trim())).collect();
        let address = self.real.address();
        let Output { status, stdout, stderr } = run(program, &words, &[("CONSUL_HTTP_ADDR", &address)], stdin);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        // Each calls itself by its own name.
        let itself = program.file_name().expect("a name").to_string_lossy();
        let (out, err) = (text(stdout), text(stderr).replace(&format!("Usage: {itself} "), "Usage: "));
        match part {
            Part::All => Said { out, err, code: status.code() },
            Part::FirstErrorLine => {
                Said { out: String::new(), err: err.lines().next().unwrap_or_default().to_owned(), code: status.code() }
            }
        }
    }

    fn check_with(&self, line: &[&str], stdin: &str, part: Part) {
        let [theirs, ours] = self.programs.each_ref().map(|program| self.said(program, line, stdin, part));
        if ours != theirs {
            self.differing.borrow_mut().push(format!("{line:?}\n  ours   {ours:?}\n  theirs {theirs:?}"));
        }
    }

    fn check(&self, line: &str) {
        self.check_with(&line.split_whitespace().collect::<Vec<_>>(), "", Part::All);
    }

    fn check_error(&self, line: &str) {
        self.check_with(&line.split_whitespace().collect::<Vec<_>>(), "", Part::FirstErrorLine);
    }
}

#[test]
fn verbs_print_what_consuls_verbs_print() {
    let Some(theirs) = real_consul::program("verbs_print_what_consuls_verbs_print") else { return };
    let real = RealConsul::start(&theirs);
    let programs = [theirs, PathBuf::from(env!("CARGO_BIN_EXE_agent"))];
    let beside = Beside { real: &real, programs, differing: RefCell::default() };
    pool(&beside);
    register(&real, r#"{"Name":"web","ID":"web-1","Tags":["v2","v1"],"Port":80}"#);
    register(&real, r#"{"Name":"web","ID":"web-2","Tags":["v1","long-tag"]}"#);
    register(&real, r#"{"Name":"a-longer-name"}"#);
    round_trips(&beside);
    services(&beside);
    operator_and_catalog(&beside);
    keys(&beside);
    trees_of_keys(&beside);
    connections(&beside);
    let differing = beside.differing.borrow();
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
    // Last, for it ends the agent: only ours is asked.
    let left = beside.said(&beside.programs[1], &["leave"], "", Part::All);
    assert_eq!(left, Said { out: "Graceful leave complete\n".into(), err: String::new(), code: Some(0) });
}

/// Registers a service with the agent, and waits until the catalog has it.
fn register(real: &RealConsul, definition: &str) {
    let name = definition.split('"').nth(3).expect("its name comes first").to_owned();
    real.order("/v1/agent/service/register", definition);
    let ask = || real.http(&format!("/v1/catalog/service/{name}"));
    eventually("the service is in the catalog", ask, |instances| instances.len() > 2);
}

fn pool(beside: &Beside) {
    for line in [
        "members",
        "members -detailed",
        "members -wan",
        "members --status=al.*e -wan=false",
        "members -status=failed",
        "members -segment=x",
        "members -wan -segment=x",
        "members ignored",
        "join {ip}",
        "join -wan {ip} {ip}",
        "join 127.0.0.254",
        "join 127.0.0.254 {ip}",
        "force-leave x",
        "force-leave -prune x",
        "reload",
        "monitor -log-level=x",
    ] {
        beside.check(line);
    }
    for line in
        ["join", "force-leave", "force-leave a b", "leave x", "members -nope", "members -detailed=z", "members -status"]
    {
        beside.check_error(line);
    }
    let info = ["info"];
    let [theirs, ours] = beside.programs.each_ref().map(|program| beside.said(program, &info, "", Part::All));
    let names =
        |said: &Said| said.out.lines().map(|line| line.split(" = ").next().map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    assert!(ours.out.contains("\tserver = true\n"), "{}", ours.out);
}

/// Each is done twice, by theirs and by ours: the second time it is so already.
fn services(beside: &Beside) {
    for line in [
        "maint",
        "maint -enable",
        "maint -enable -reason=why",
        "maint",
        "maint -disable",
        "maint -enable -service=web-1 -reason=broken",
        "maint",
        "maint -disable -service=web-1",
        "maint -enable -service=nope",
        "maint -disable -service=nope",
        "maint -enable -disable",
        "maint -reason=x",
        "maint -service=web-1",
        "services register -name=flagged -id=f1 -port=8 -tag=a -tag=b -meta=k=v -address=1.2.3.4",
        "services deregister -id=f1",
        "services deregister -id=nope",
        "services register",
        "services register -name=x y",
        "services register /no/such.json",
        "services deregister",
        "services deregister -id=x y",
        "services deregister /no/such.json",
    ] {
        beside.check(line);
    }
    for line in ["services", "services nope", "services register -meta=bad -name=x", "maint -nope"] {
        beside.check_error(line);
    }
}

fn round_trips(beside: &Beside) {
    let ask = || beside.real.http("/v1/coordinate/nodes");
    eventually("the real agent told its coordinate", ask, |nodes| nodes.contains("\"one\""));
    for line in
        ["rtt one", "rtt one one", "rtt x", "rtt one x", "rtt -wan one.dc1", "rtt -wan one", "rtt -wan one.dc1 x.dc1"]
    {
        beside.check(line);
    }
    for line in ["rtt", "rtt a b c", "rtt -nope"] {
        beside.check_error(line);
    }
}

fn operator_and_catalog(beside: &Beside) {
    for line in [
        "operator raft list-peers",
        "operator raft list-peers -stale",
        "operator raft list-peers -stale=false ignored",
        "operator raft list-peers -datacenter=zz",
        "catalog nodes",
        "catalog nodes -detailed",
        "catalog nodes -service=consul -near _agent",
        "catalog nodes -service=consul -detailed",
        "catalog nodes -service=nope",
        "catalog nodes -service=web",
        "catalog nodes -node-meta=a=b -node-meta c=d",
        "catalog nodes -datacenter=zz",
        "catalog nodes x",
        "catalog services",
        "catalog services -tags",
        "catalog services -node=one",
        "catalog services -node=one -tags",
        "catalog services -node=nope",
        "catalog services -node-meta=a=b",
        "catalog services x y",
        "catalog datacenters",
        "catalog datacenters x",
        "validate",
        "validate /nope",
        "version -format=x",
    ] {
        beside.check(line);
    }
    for line in
        ["catalog nodes -node-meta=x", "operator raft list-peers -stale=z", "kv get -separator", "kv put -flags=x a"]
    {
        beside.check_error(line);
    }
}

fn keys(beside: &Beside) {
    for line in [
        "kv put a 1",
        "kv put a b c",
        "kv put -flags=0x10 b/empty",
        "kv put /a 1",
        "kv put -base64 b/decoded aGk=",
        "kv put b/nofile @/nope",
        "kv put",
        "kv put -cas a 1",
        "kv put -cas -modify-index=1 a 1",
        "kv put -acquire a 1",
        "kv put -release a 1",
        "kv put -acquire -session=nope a 1",
        "kv put -release -session=nope a 1",
        "kv put -datacenter zz a 1",
        "kv put cas 1",
        "kv put -cas -modify-index={index} -flags=3 cas 2",
        "kv get cas",
        "kv get a",
        "kv get /a",
        "kv get -detailed a",
        "kv get -detailed b/empty",
        "kv get -base64 a",
        "kv get -base64 -detailed a",
        "kv get -stale a",
        "kv get b/empty",
        "kv get nope",
        "kv get",
        "kv get a b",
        "kv get -datacenter=zz a",
        "kv get -keys",
        "kv get -keys b",
        "kv get -keys -separator= b",
        "kv get -keys -separator=/ b/",
        "kv get -keys -recurse -detailed /b",
        "kv get -keys nope",
        "kv get -recurse",
        "kv get -recurse b/",
        "kv get -recurse -base64 b",
        "kv get -recurse -detailed b",
        "kv get -recurse nope",
        "kv delete -cas a",
        "kv delete -modify-index=1 a",
        "kv delete -recurse -modify-index=1 a",
        "kv delete -cas -recurse -modify-index=1 a",
        "kv delete -cas -modify-index=1 a",
        "kv delete -cas -modify-index={index} cas",
        "kv delete",
        "kv delete a b",
        "kv delete nope",
        "kv delete /a",
        "kv delete -datacenter zz a",
    ] {
        beside.check(line);
    }
    beside.check_with(&["kv", "put", "we ird/é?#%", "a\nb"], "", Part::All);
    beside.check_with(&["kv", "get", "we ird/é?#%"], "", Part::All);
    beside.check_with(&["kv", "put", "", "x"], "", Part::All);
    beside.check_with(&["kv", "put", "b/stdin", "-"], "from stdin\n", Part::All);
    beside.check_with(&["kv", "get", "b/stdin"], "", Part::All);
}

fn trees_of_keys(beside: &Beside) {
    beside.check("kv export");
    beside.check("kv export /b");
    beside.check("kv export nope");
    beside.check("kv export a b");
    beside.check("kv export -datacenter zz");
    for data in [
        r#"[{"key":"i/<a&>","flags":3,"value":"aGk="}]"#,
        r#"[{"key":"i/b","flags":3,"value":"!!"}]"#,
        r#"[{"key":"i/c"},{"Key":"i/d","Value":"aGk="}]"#,
        r#"[{"key":"","value":"aGk="}]"#,
        "[]",
        "",
        "{",
        "@/nope",
    ] {
        beside.check_with(&["kv", "import", data], "", Part::All);
    }
    beside.check_with(&["kv", "import", "-"], r#"[{"key":"i/stdin","value":"aGk="}]"#, Part::All);
    beside.check("kv import");
    beside.check("kv import a b");
    beside.check("kv export i/");
    beside.check("kv delete -recurse i/");
    beside.check("kv delete -recurse");
    beside.check("kv export");
}

fn connections(beside: &Beside) {
    for verb in [
        "members",
        "info",
        "leave",
        "reload",
        "join a",
        "join -wan a",
        "force-leave a",
        "force-leave -prune a",
        "monitor",
        "monitor -log-json -log-level=debug",
        "operator raft list-peers",
        "catalog nodes",
        "catalog nodes -service=x -near=_agent -node-meta=a=b -filter=Z -datacenter=q",
        "catalog services",
        "catalog services -node=x",
        "catalog services -node-meta=a=b",
        "catalog datacenters",
        "kv get a",
        "kv get -recurse -stale a",
        "kv get -keys -separator= a",
        "kv put -cas -modify-index=3 -flags=4 a 3",
        "kv put -acquire -session=x a 3",
        "kv put a 1",
        "kv delete a",
        "kv delete -recurse a",
        "kv delete -cas -modify-index=4 a",
        "kv export a",
    ] {
        for how in
            ["-http-addr={ip}:1", "-http-addr=ftp://{ip}:1", "-token-file=/nope", "-ca-file=/nope", "-client-key=/nope"]
        {
            let mut words: Vec<&str> = verb.split_whitespace().collect();
            let at = words.iter().position(|word| word.starts_with('-')).unwrap_or(match words[0] {
                "kv" | "catalog" => 2,
                "operator" => 3,
                _ => 1,
            });
            words.insert(at, how);
            beside.check_with(&words, "", Part::All);
        }
    }
    beside.check("members -http-addr=https://{ip}:8500");
    beside.check("members -http-addr=http://[::1]:1");
    beside.check("members -http-addr=");
    beside.check("kv get -http-addr={ip}:1 -stale é?#%;a:b@c&d=e+f,g$h!i*j(k)l\"m<n>'");
}
