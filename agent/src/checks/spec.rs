//! PURE: what a check is, as files, requests and the data directory define it; Consul's rules for it, its
//! defaults and limits. `config` and `api` read definitions into it, `runner` asks what there is to do.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::store::command::{CheckFields, CheckStatus, ServiceFields};

/// The check that keeps a node out of answers.
pub const NODE_MAINTENANCE: &str = "_node_maintenance";
/// Before the ID of a service: the check that keeps it out of answers.
pub const SERVICE_MAINTENANCE: &str = "_service_maintenance:";

/// Consul runs none more often.
pub const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Consul's, where a script says nothing.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(30);
/// Consul's, where a check that connects says nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Consul deregisters no service sooner.
pub const DEREGISTER_AFTER_MIN: Duration = Duration::from_secs(60);

/// A check as it was defined. What says nothing is empty, zero or none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Check {
    pub id: String,
    pub name: String,
    pub notes: String,
    /// Empty: a check of the node.
    pub service_id: String,
    /// Before it was looked at for the first time.
    pub status: Option<CheckStatus>,
    pub args: Vec<String>,
    pub shell: String,
    pub docker_container_id: String,
    pub http: String,
    pub method: String,
    pub header: BTreeMap<String, Vec<String>>,
    pub body: String,
    pub tls_skip_verify: bool,
    pub tcp: String,
    pub udp: String,
    /// `host:port/service`
    pub grpc: String,
    pub grpc_use_tls: bool,
    /// Empty: this node.
    pub alias_node: String,
    /// The ID of a service.
    pub alias_service: String,
    pub interval: Duration,
    pub timeout: Duration,
    pub ttl: Duration,
    pub deregister_critical_service_after: Duration,
    /// Bytes of output to keep, where that is less than the agent keeps; 0 says nothing.
    pub output_max_size: i64,
    /// Results in a row that it takes to pass, and to turn critical; 0 and below are as 1.
    pub success_before_passing: i64,
    pub failures_before_critical: i64,
}

/// What there is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    Script {
        args: Vec<String>,
    },
    Http(Http),
    Tcp {
        address: String,
    },
    Udp {
        address: String,
    },
    Grpc {
        target: String,
        tls: bool,
        tls_skip_verify: bool,
    },
    /// Nothing: somebody reports before the time is over.
    Ttl {
        ttl: Duration,
    },
    Alias {
        node: String,
        service: String,
    },
    /// It is as it was set, as maintenance is.
    Nothing,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    pub url: String,
    pub method: String,
    pub header: BTreeMap<String, Vec<String>>,
    pub body: String,
    pub tls_skip_verify: bool,
}

impl Check {
    pub fn is_script(&self) -> bool {
        !self.args.is_empty()
    }

    fn is_alias(&self) -> bool {
        !self.alias_node.is_empty() || !self.alias_service.is_empty()
    }

    /// Nothing is said of how the service is: a block that may be left empty.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What Consul says is wrong with it.
    pub fn fault(&self) -> Option<&'static str> {
        let connects = [&self.http, &self.tcp, &self.udp, &self.grpc].iter().any(|target| !target.is_empty());
        let is_periodic = self.is_script() || connects;
        if !self.interval.is_zero() && !self.ttl.is_zero() {
            Some("Interval and TTL cannot both be specified")
        } else if is_periodic && self.interval.is_zero() {
            Some("Interval must be > 0 for Script, HTTP, or TCP checks")
        } else if is_periodic && self.is_alias() {
            Some("Interval cannot be set for Alias checks")
        } else if self.is_alias() && !self.ttl.is_zero() {
            Some("TTL must be not be set for Alias checks")
        } else if !is_periodic && !self.is_alias() && self.ttl.is_zero() {
            Some("TTL must be > 0 for TTL checks")
        } else if self.output_max_size < 0 {
            Some("MaxOutputMaxSize must be positive")
        } else if self.is_script() && !self.docker_container_id.is_empty() {
            Some("Docker checks are not built: give args without docker_container_id, or a check of another kind")
        } else if !self.alias_node.is_empty() && self.alias_service.is_empty() {
            Some("an alias of a whole node needs AliasService too: name the service on that node")
        } else {
            None
        }
    }

    /// Consul's word for what kind of check it is.
    pub fn kind(&self) -> &'static str {
        match self.probe() {
            Probe::Grpc { .. } => "grpc",
            Probe::Http(_) => "http",
            Probe::Ttl { .. } => "ttl",
            Probe::Tcp { .. } => "tcp",
            Probe::Udp { .. } => "udp",
            Probe::Alias { .. } => "alias",
            Probe::Script { .. } => "script",
            Probe::Nothing if self.id == NODE_MAINTENANCE || self.id.starts_with(SERVICE_MAINTENANCE) => "maintenance",
            Probe::Nothing => "",
        }
    }

    /// Of several kinds that are said the first of these counts, as in Consul.
    pub fn probe(&self) -> Probe {
        if !self.ttl.is_zero() {
            Probe::Ttl { ttl: self.ttl }
        } else if !self.http.is_empty() {
            Probe::Http(Http {
                url: self.http.clone(),
                method: if self.method.is_empty() { "GET".to_owned() } else { self.method.clone() },
                header: self.header.clone(),
                body: self.body.clone(),
                tls_skip_verify: self.tls_skip_verify,
            })
        } else if !self.tcp.is_empty() {
            Probe::Tcp { address: self.tcp.clone() }
        } else if !self.udp.is_empty() {
            Probe::Udp { address: self.udp.clone() }
        } else if !self.grpc.is_empty() {
            let (tls, tls_skip_verify) = (self.grpc_use_tls, self.tls_skip_verify);
            Probe::Grpc { target: self.grpc.clone(), tls, tls_skip_verify }
        } else if self.is_script() {
            Probe::Script { args: self.args.clone() }
        } else if self.is_alias() {
            Probe::Alias { node: self.alias_node.clone(), service: self.alias_service.clone() }
        } else {
            Probe::Nothing
        }
    }

    /// How often it is looked at.
    pub fn interval(&self) -> Duration {
        self.interval.max(INTERVAL_MIN)
    }

    /// How long one look may take.
    pub fn timeout(&self) -> Duration {
        match self.timeout {
            Duration::ZERO if self.is_script() => SCRIPT_TIMEOUT,
            Duration::ZERO => CONNECT_TIMEOUT,
            given => given,
        }
    }

    /// How long it may be critical before its service goes; none: for ever.
    pub fn deregister_after(&self) -> Option<Duration> {
        let given = self.deregister_critical_service_after;
        (!given.is_zero()).then(|| given.max(DEREGISTER_AFTER_MIN))
    }

    /// Of an agent that keeps `agents`.
    pub fn output_max(&self, agents: usize) -> usize {
        match usize::try_from(self.output_max_size) {
            Ok(own) if own > 0 => own.min(agents),
            _ => agents,
        }
    }

    /// As the catalog has it before it was looked at.
    pub fn fields(&self) -> CheckFields {
        CheckFields {
            id: self.id.clone(),
            name: self.name.clone(),
            status: self.status.unwrap_or_default(),
            notes: self.notes.clone(),
            output: String::new(),
            service_id: self.service_id.clone(),
            kind: self.kind().to_owned(),
            definition: String::new(),
        }
    }

    /// What keeps the node, or the service of this ID, out of answers.
    pub fn maintenance(service: Option<&str>, reason: &str) -> Self {
        let (id, name, of) = match service {
            None => (NODE_MAINTENANCE.to_owned(), "Node Maintenance Mode", "node"),
            Some(service) => (format!("{SERVICE_MAINTENANCE}{service}"), "Service Maintenance Mode", "service"),
        };
        let standard = || {
            format!("Maintenance mode is enabled for this {of}, but no reason was provided. This is a default message.")
        };
        Self {
            id,
            name: name.to_owned(),
            notes: if reason.is_empty() { standard() } else { reason.to_owned() },
            service_id: service.unwrap_or_default().to_owned(),
            status: Some(CheckStatus::Critical),
            ..Self::default()
        }
    }
}

/// A service's checks with the IDs and names that Consul gives to those without.
pub fn of_service(service: &ServiceFields, checks: Vec<Check>) -> Vec<Check> {
    let several = checks.len() > 1;
    let named = |(at, check): (usize, Check)| {
        let number = if several { format!(":{}", at + 1) } else { String::new() };
        let given = |text: String, standard: String| if text.is_empty() { standard } else { text };
        Check {
            id: given(check.id, format!("service:{}{number}", service.id)),
            name: given(check.name, format!("Service '{}' check", service.name)),
            service_id: service.id.clone(),
            ..check
        }
    };
    checks.into_iter().enumerate().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn script() -> Check {
        Check { args: vec!["true".to_owned()], interval: SECOND, ..Check::default() }
    }

    fn http() -> Check {
        Check { http: "http://a/".to_owned(), interval: SECOND, ..Check::default() }
    }

    fn alias() -> Check {
        Check { alias_service: "w".to_owned(), ..Check::default() }
    }

    #[track_caller]
    fn check(check: &Check, kind: &str, fault: Option<&str>) {
        assert_eq!((check.kind(), check.fault()), (kind, fault), "{check:?}");
    }

    #[test]
    fn what_is_wrong_is_said_in_consuls_words() {
        let ttl = Check { ttl: SECOND, ..Check::default() };
        check(&ttl, "ttl", None);
        check(&script(), "script", None);
        check(&http(), "http", None);
        check(&alias(), "alias", None);
        check(&Check { interval: SECOND, ..alias() }, "alias", None);
        check(&Check::default(), "", Some("TTL must be > 0 for TTL checks"));
        check(&Check { interval: SECOND, ..Check::default() }, "", Some("TTL must be > 0 for TTL checks"));
        let both = Check { ttl: SECOND, ..http() };
        check(&both, "ttl", Some("Interval and TTL cannot both be specified"));
        let never = Check { interval: Duration::ZERO, ..http() };
        check(&never, "http", Some("Interval must be > 0 for Script, HTTP, or TCP checks"));
        let strange = Check { ttl: SECOND, ..alias() };
        check(&strange, "ttl", Some("TTL must be not be set for Alias checks"));
        let strange = Check { alias_service: "w".to_owned(), ..http() };
        check(&strange, "http", Some("Interval cannot be set for Alias checks"));
        check(&Check { output_max_size: -1, ..ttl }, "ttl", Some("MaxOutputMaxSize must be positive"));
        let docker = Check { docker_container_id: "c".to_owned(), ..script() };
        assert!(docker.fault().is_some_and(|fault| fault.starts_with("Docker")));
    }

    #[test]
    fn limits_are_consuls() {
        let hasty = Check { interval: Duration::from_millis(1), ..http() };
        assert_eq!((hasty.interval(), hasty.timeout()), (SECOND, Duration::from_secs(10)));
        assert_eq!(script().timeout(), Duration::from_secs(30));
        let short = Check { deregister_critical_service_after: SECOND, ..http() };
        assert_eq!((short.deregister_after(), http().deregister_after()), (Some(DEREGISTER_AFTER_MIN), None));
        let little = Check { output_max_size: 10, ..http() };
        assert_eq!((little.output_max(4096), little.output_max(5), http().output_max(4096)), (10, 5, 4096));
    }

    #[test]
    fn checks_of_a_service_are_named_after_it() {
        let service = ServiceFields { id: "w1".to_owned(), name: "web".to_owned(), ..ServiceFields::default() };
        let ids = |checks: Vec<Check>| of_service(&service, checks).into_iter().map(|c| c.id).collect::<Vec<_>>();
        assert_eq!(ids(vec![http()]), ["service:w1"]);
        let own = Check { id: "own".to_owned(), ..http() };
        assert_eq!(ids(vec![http(), own, http()]), ["service:w1:1", "own", "service:w1:3"]);
        let named = of_service(&service, vec![http()]).remove(0);
        assert_eq!((&*named.name, &*named.service_id), ("Service 'web' check", "w1"));
    }

    #[test]
    fn maintenance_has_a_reason_in_any_case() {
        let node = Check::maintenance(None, "");
        assert_eq!((&*node.id, node.kind()), (NODE_MAINTENANCE, "maintenance"));
        assert!(node.notes.ends_with("This is a default message."));
        let service = Check::maintenance(Some("w"), "broken");
        assert_eq!((&*service.id, &*service.notes, &*service.service_id), ("_service_maintenance:w", "broken", "w"));
    }
}
