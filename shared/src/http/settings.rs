//! Where an agent is and how to speak to it, as Consul's programs are told: `CONSUL_HTTP_ADDR`,
//! `CONSUL_HTTP_TOKEN` and their family, which flags may override.
//!
//! The one place that reads the environment for the client; `from_lookup` is the pure half.

use std::path::{Path, PathBuf};

use super::Error;

/// What an agent's address looks like when nothing else is said.
pub const ADDRESS_DEFAULT: &str = "127.0.0.1:8500";

/// Everything a [`super::Client`] is built from. Paths are read when the client is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `host:port`, or with `http://` or `https://` in front.
    pub address: String,
    /// TLS also when the address names no scheme.
    pub is_tls: bool,
    pub is_verified: bool,
    pub token: Option<String>,
    /// Its content, when there is any, wins over `token`.
    pub token_file: Option<PathBuf>,
    /// User and password of a proxy in front of the agent.
    pub basic_auth: Option<(String, String)>,
    pub ca_file: Option<PathBuf>,
    /// A directory of certificates.
    pub ca_path: Option<PathBuf>,
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
    /// The name that the agent's certificate must have, when it is not the address.
    pub tls_server_name: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: ADDRESS_DEFAULT.to_owned(),
            is_tls: false,
            is_verified: true,
            token: None,
            token_file: None,
            basic_auth: None,
            ca_file: None,
            ca_path: None,
            client_cert: None,
            client_key: None,
            tls_server_name: None,
        }
    }
}

impl Settings {
    /// What this process's environment says.
    pub fn from_environment() -> Self {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// What `lookup` says of each variable; an empty one is as none, and a bool that is none is passed over.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let switch = |name: &str| text(name).and_then(|value| to_bool(&value));
        let path = |name: &str| text(name).map(PathBuf::from);
        let default = Self::default();
        Self {
            address: text("CONSUL_HTTP_ADDR").unwrap_or(default.address),
            is_tls: switch("CONSUL_HTTP_SSL").unwrap_or(default.is_tls),
            is_verified: switch("CONSUL_HTTP_SSL_VERIFY").unwrap_or(default.is_verified),
            token: text("CONSUL_HTTP_TOKEN"),
            token_file: path("CONSUL_HTTP_TOKEN_FILE"),
            basic_auth: text("CONSUL_HTTP_AUTH").map(|pair| match pair.split_once(':') {
                Some((user, password)) => (user.to_owned(), password.to_owned()),
                None => (pair, String::new()),
            }),
            ca_file: path("CONSUL_CACERT"),
            ca_path: path("CONSUL_CAPATH"),
            client_cert: path("CONSUL_CLIENT_CERT"),
            client_key: path("CONSUL_CLIENT_KEY"),
            tls_server_name: text("CONSUL_TLS_SERVER_NAME"),
        }
    }

    /// The scheme and the authority (`http`, `127.0.0.1:8500`).
    pub(super) fn place(&self) -> Result<(&'static str, String), Error> {
        let scheme = if self.is_tls { "https" } else { "http" };
        let (scheme, authority) = match self.address.split_once("://") {
            None => (scheme, self.address.as_str()),
            Some(("http", authority)) => (scheme, authority),
            Some(("https", authority)) => ("https", authority),
            Some(("unix", path)) => return Err(Error::UnixSocket(path.to_owned())),
            Some((other, _)) => return Err(Error::Scheme(other.to_owned())),
        };
        Ok((scheme, authority.trim_end_matches('/').to_owned()))
    }

    /// The token to send, from its file when that has one.
    pub(super) fn effective_token(&self) -> Result<Option<String>, Error> {
        let Some(path) = &self.token_file else { return Ok(self.token.clone()) };
        let content = read(path).map_err(|cause| Error::File { what: "Error loading token file: ", cause })?;
        let token = String::from_utf8_lossy(&content).trim().to_owned();
        Ok(if token.is_empty() { self.token.clone() } else { Some(token) })
    }

    /// What Consul calls the place of the authorities when something is wrong with it.
    pub(super) fn authorities_complaint(&self) -> &'static str {
        if self.ca_file.is_some() { "Error loading CA File: " } else { "Error loading CA Path: " }
    }

    /// The certificates to trust, in PEM; none when the machine's own shall be.
    pub(super) fn authorities(&self) -> Result<Vec<(PathBuf, Vec<u8>)>, Error> {
        let fault = |cause| Error::File { what: self.authorities_complaint(), cause };
        if let Some(path) = &self.ca_file {
            return Ok(vec![(path.clone(), read(path).map_err(fault)?)]);
        }
        let Some(directory) = &self.ca_path else { return Ok(Vec::new()) };
        let entries = std::fs::read_dir(directory).map_err(|e| fault(open_text(directory, &e)))?;
        let mut paths: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        paths.sort();
        paths.into_iter().map(|path| Ok((path.clone(), read(&path).map_err(fault)?))).collect()
    }

    /// Certificate and key of this client, in PEM, one after the other.
    pub(super) fn identity(&self) -> Result<Option<Vec<u8>>, Error> {
        match (&self.client_cert, &self.client_key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => {
                let fault = |cause| Error::File { what: "", cause };
                let mut pem = read(cert).map_err(fault)?;
                pem.push(b'\n');
                pem.extend(read(key).map_err(fault)?);
                Ok(Some(pem))
            }
            _ => Err(Error::HalfIdentity),
        }
    }
}

fn to_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| open_text(path, &e))
}

/// `open PATH: no such file or directory`, as Go tells it.
pub fn open_text(path: &Path, error: &std::io::Error) -> String {
    format!("open {}: {}", path.display(), super::error::system_text(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Settings {
        Settings::from_lookup(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    #[track_caller]
    fn place(address: &str, is_tls: bool, expected: Result<(&'static str, &str), &str>) {
        let settings = Settings { address: address.to_owned(), is_tls, ..Settings::default() };
        let found = settings.place().map_err(|e| e.to_string());
        let expected = expected.map(|(scheme, at)| (scheme, at.to_owned())).map_err(str::to_owned);
        assert_eq!(found, expected, "{address}");
    }

    #[test]
    fn the_environment_fills_what_it_names() {
        assert_eq!(with(&[]), Settings::default());
        assert_eq!(with(&[("CONSUL_HTTP_ADDR", ""), ("CONSUL_HTTP_SSL", "maybe")]), Settings::default());
        let told = with(&[
            ("CONSUL_HTTP_ADDR", "a:1"),
            ("CONSUL_HTTP_TOKEN", "t"),
            ("CONSUL_HTTP_SSL", "true"),
            ("CONSUL_HTTP_SSL_VERIFY", "0"),
            ("CONSUL_HTTP_AUTH", "u:p:q"),
            ("CONSUL_CACERT", "/ca"),
        ]);
        let expected = Settings {
            address: "a:1".into(),
            token: Some("t".into()),
            is_tls: true,
            is_verified: false,
            basic_auth: Some(("u".into(), "p:q".into())),
            ca_file: Some("/ca".into()),
            ..Settings::default()
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn an_address_may_name_its_scheme() {
        place("h:1", false, Ok(("http", "h:1")));
        place("h:1", true, Ok(("https", "h:1")));
        place("http://h:1/", true, Ok(("https", "h:1")));
        place("https://[::1]:2", false, Ok(("https", "[::1]:2")));
        place("ftp://h", false, Err("Unknown protocol scheme: ftp"));
        place(
            "unix:///run/x",
            false,
            Err("the address unix:///run/x is a Unix socket, which is not supported; \
             use the agent's HTTP address, such as 127.0.0.1:8500"),
        );
    }

    #[test]
    fn a_token_file_wins_over_a_token_unless_it_is_empty() {
        let path = std::env::temp_dir().join(format!("token-{}", std::process::id()));
        for (content, expected) in [(" secret\n", "secret"), ("\n", "given")] {
            std::fs::write(&path, content).expect("a file");
            let token_file = Some(path.clone());
            let settings = Settings { token: Some("given".into()), token_file, ..Settings::default() };
            assert_eq!(settings.effective_token().expect("readable"), Some(expected.to_owned()));
        }
        std::fs::remove_file(&path).expect("the file");
        let missing = Settings { token_file: Some("/nope".into()), ..Settings::default() };
        let text = missing.effective_token().expect_err("no such file").to_string();
        assert_eq!(text, "Error loading token file: open /nope: no such file or directory");
    }
}
