//! Host and port notations, as Go's `net` writes and reads them.

/// `127.0.0.1:8500`, `[::1]:8500`: the host in brackets when it has colons.
pub fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_colons_is_bracketed() {
        assert_eq!(host_port("::1", 8500), "[::1]:8500");
        assert_eq!(host_port("localhost", 8500), "localhost:8500");
    }
}
