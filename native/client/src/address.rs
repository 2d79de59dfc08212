//! Where an endpoint or a proxy listens.

use std::fmt;

use hyper::Uri;

/// An `http` or `https` address, split into what a connection and a request head need.
#[derive(Clone, Debug)]
pub struct Address {
    /// Whether the connection is secured by TLS.
    pub is_secure: bool,
    /// A name or an IP address, the latter without brackets.
    pub host: String,
    /// The port, also where it is the default of the scheme.
    pub port: u16,
    /// Host and port as in the address: the value of `Host`.
    pub authority: String,
    /// The path before that of a request, without a slash at its end.
    pub path: String,
}

/// A text that is no address of this kind.
#[derive(Debug)]
pub struct AddressInvalid(String);

impl fmt::Display for AddressInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not an address of HTTP: {}", self.0)
    }
}

impl Address {
    /// Splits a URL in ASCII without credentials.
    pub fn parse(url: &str) -> Result<Self, AddressInvalid> {
        let uri: Uri = url.parse().map_err(|problem| AddressInvalid(format!("{problem}")))?;
        let (is_secure, default_port) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            _ => return Err(AddressInvalid("the scheme is neither http nor https".to_owned())),
        };
        let authority = uri.authority().ok_or_else(|| AddressInvalid("it has no host".to_owned()))?;
        if authority.as_str().contains('@') {
            return Err(AddressInvalid("credentials have no place in it".to_owned()));
        }
        Ok(Self {
            is_secure,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(default_port),
            authority: authority.as_str().to_owned(),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Host and port, as a request for a tunnel names them.
    pub fn host_and_port(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn an_address_is_split() {
        let address = Address::parse("https://icp-api.io").unwrap();
        assert_eq!((address.is_secure, address.host.as_str(), address.port), (true, "icp-api.io", 443));
        assert_eq!((address.authority.as_str(), address.path.as_str()), ("icp-api.io", ""));
        let address = Address::parse("http://[::1]:4943/base/").unwrap();
        assert_eq!((address.is_secure, address.host.as_str(), address.port), (false, "::1", 4943));
        assert_eq!((address.authority.as_str(), address.path.as_str()), ("[::1]:4943", "/base"));
        assert_eq!(address.host_and_port(), "[::1]:4943");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in ["ftp://host", "host", "http://user:secret@host", "http://", "http://h\u{fc}"] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }
}
