//! Names as parts of a URL, escaped as Go escapes them; pure.

/// A path: `/` and what may stand in a path unescaped are kept.
pub fn path(text: &str) -> String {
    escape(text, b"-_.~$&+,/:;=@", "%20")
}

/// One value of a query; a blank is a plus.
pub fn query(text: &str) -> String {
    escape(text, b"-_.~", "+")
}

fn escape(text: &str, kept: &[u8], blank: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => escaped += blank,
            _ if byte.is_ascii_alphanumeric() || kept.contains(&byte) => escaped.push(char::from(byte)),
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_escaped_as_go_escapes_them() {
        let text = "we ird/é?#%;a:b@c&d=e+f,g$h!i*j(k)l\"m<n>'";
        let expected = "we%20ird/%C3%A9%3F%23%25;a:b@c&d=e+f,g$h%21i%2Aj%28k%29l%22m%3Cn%3E%27";
        assert_eq!(super::path(text), expected);
        assert_eq!(super::query("a:b /é~*"), "a%3Ab+%2F%C3%A9~%2A");
    }
}
