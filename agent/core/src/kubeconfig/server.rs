//! The API server's address, taken apart once.

use std::fmt;

/// `https://host[:port][/prefix]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// A DNS name or an IP address, IPv6 without brackets.
    pub host: String,
    /// 443 where the URL has none.
    pub port: u16,
    /// Before every path; empty or `/something` without a slash at its end.
    pub prefix: String,
}

impl Server {
    /// Reads the URL. Only https: a bootstrap token must not cross the network in the clear.
    ///
    /// # Errors
    /// What is wrong, to be said after "server".
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let rest = url.strip_prefix("https://").ok_or("is not an https:// URL")?;
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if path.contains(['?', '#']) || authority.contains(['?', '#']) {
            return Err("has a query or fragment, which an API server's address has not");
        }
        if authority.contains('@') {
            return Err("has a user name in it; give the credential as a token or certificate");
        }
        let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
            let (host, after) = rest.split_once(']').ok_or("has an unclosed [")?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("has something in [] that is not an IPv6 address");
            }
            (host, after.strip_prefix(':').unwrap_or(after))
        } else {
            authority.split_once(':').unwrap_or((authority, ""))
        };
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '_');
        if host.is_empty() || !host.chars().all(name) {
            return Err("has no usable host name");
        }
        let port = match port {
            "" => 443,
            text => match text.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err("has a port that is not one"),
            },
        };
        Ok(Self { host: host.to_owned(), port, prefix: path.trim_end_matches('/').to_owned() })
    }

    /// `host:port` as the HTTP `Host` header and a TCP connection want it.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.authority(), self.prefix)
    }
}
