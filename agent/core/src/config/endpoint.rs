//! An `http://` or `https://` address, as far as the agent asks for one: scheme, host, port, path.

/// Where to ask over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `https`.
    pub tls: bool,
    /// A name or an address, without the brackets of IPv6.
    pub host: String,
    /// The port; 80 or 443 where none is written.
    pub port: u16,
    /// Begins with `/`; the query with it.
    pub path: String,
}

impl Endpoint {
    /// Reads an address.
    ///
    /// # Errors
    /// What keeps it from being one, to be said after the address.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let (tls, rest) = if let Some(rest) = url.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = url.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err("does not begin with http:// or https://");
        };
        if rest.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("has a blank or a control character in it");
        }
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        if path.contains('#') || !path.starts_with('/') {
            return Err("has something after its host that is not a path");
        }
        if authority.contains('@') {
            return Err("has a user in it: credentials do not belong in a configuration");
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or("has a [ without its ] in its host")?;
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err("has something in [ ] that is not an IPv6 address");
                }
                (host, port)
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        if host.is_empty() {
            return Err("has no host");
        }
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(digits) => match digits.parse::<u16>() {
                Ok(port) if port > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => port,
                _ => return Err("has a port that is not 1 to 65535"),
            },
            None => return Err("has something after its host that is not a port"),
        };
        Ok(Self { tls, host: host.to_owned(), port, path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused_with_the_reason() {
        for (url, want) in [
            ("https://127.0.0.1:10250/healthz", Ok((true, "127.0.0.1", 10250, "/healthz"))),
            ("http://localhost", Ok((false, "localhost", 80, "/"))),
            ("https://[::1]:10250/a?b=c", Ok((true, "::1", 10250, "/a?b=c"))),
            ("https://[::1]/a", Ok((true, "::1", 443, "/a"))),
            ("", Err("http://")),
            ("ftp://x", Err("http://")),
            ("127.0.0.1:10250", Err("http://")),
            ("https://", Err("no host")),
            ("https:///healthz", Err("no host")),
            ("https://h:0/", Err("port")),
            ("https://h:65536/", Err("port")),
            ("https://h:+1/", Err("port")),
            ("https://h:/", Err("port")),
            ("https://[::1/", Err("without its ]")),
            ("https://[x]/", Err("IPv6")),
            ("https://[::1]x/", Err("not a port")),
            ("https://u:p@h/", Err("user")),
            ("https://h/ x", Err("blank")),
            ("https://h?x", Err("not a path")),
            ("https://h/#x", Err("not a path")),
        ] {
            match (Endpoint::parse(url), want) {
                (Ok(got), Ok((tls, host, port, path))) => {
                    let want = Endpoint { tls, host: host.to_owned(), port, path: path.to_owned() };
                    assert_eq!(got, want, "{url}");
                }
                (Err(why), Err(part)) => assert!(why.contains(part), "{url}: {why}"),
                (got, want) => panic!("{url}: {got:?}, wanted {want:?}"),
            }
        }
    }
}
