//! Who a URL speaks to: what a token is bound to, and what a redirect may change.

use std::net::IpAddr;

use anyhow::{Context, Result, bail, ensure};
use ureq::http::Uri;

/// Scheme, host and port of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of `url`.
    ///
    /// # Errors
    /// If it is not a plain http or https URL.
    pub(crate) fn of(url: &str) -> Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("`{url}` is not a URL"))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => bail!("`{url}` begins with neither https:// nor http://"),
        };
        let authority = uri.authority().with_context(|| format!("`{url}` names no host"))?;
        ensure!(!authority.as_str().contains('@'), "a URL with a user name in it is refused");
        let host = authority.host().trim_matches(['[', ']']).to_lowercase();
        ensure!(!host.is_empty(), "`{url}` names no host");
        Ok(Self { secure, host, port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }) })
    }

    /// The host's name.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Whether a secret may travel there: encrypted, or without leaving the machine.
    pub(crate) fn keeps_secrets(&self) -> bool {
        self.secure || self.is_loopback()
    }

    /// Checks a redirect from here to `next` by a chain of answers that began at `home`.
    pub(crate) fn redirect(&self, next: &Self, home: &Self) -> Result<()> {
        ensure!(next.secure || !self.secure, "a redirect from https to http ({}) is refused", next.host);
        // An answer from outside must not make this machine talk to its own network.
        ensure!(!next.is_private() || home.is_private(), "a redirect to the private address {} is refused", next.host);
        Ok(())
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
    }

    fn is_private(&self) -> bool {
        let Ok(address) = self.host.parse::<IpAddr>() else {
            return self.host == "localhost" || self.host.ends_with(".localhost");
        };
        match address.to_canonical() {
            IpAddr::V4(four) => {
                four.is_loopback() || four.is_private() || four.is_link_local() || four.is_unspecified()
            }
            IpAddr::V6(six) => {
                six.is_loopback() || six.is_unspecified() || six.is_unique_local() || six.is_unicast_link_local()
            }
        }
    }
}

/// The URL that `location` names in an answer to `url`.
pub(crate) fn join(url: &str, location: &str) -> String {
    let location = location.split('#').next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    if is_absolute(location) {
        location.to_owned()
    } else if let Some(authority) = location.strip_prefix("//") {
        format!("{scheme}://{authority}")
    } else if location.starts_with('/') {
        format!("{scheme}://{host}{location}")
    } else {
        let path = rest[host.len()..].split('?').next().unwrap_or_default();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{host}{folder}/{location}")
    }
}

/// Whether `location` names its host.
pub(crate) fn is_absolute(location: &str) -> bool {
    location.starts_with("http://") || location.starts_with("https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Origin {
        Origin::of(url).expect(url)
    }

    #[test]
    fn scheme_host_and_port_make_an_origin() {
        assert_eq!(origin("https://Hub.example/a"), origin("https://hub.example:443/b?c"));
        assert_ne!(origin("https://hub.example"), origin("http://hub.example"));
        assert_ne!(origin("http://127.0.0.1:1"), origin("http://127.0.0.1:2"));
        for bad in ["ftp://x", "hub.example", "https://user:word@hub.example/", "/path", ""] {
            assert!(Origin::of(bad).is_err(), "{bad}");
        }
        assert!(origin("https://hub.example").keeps_secrets());
        assert!(origin("http://[::1]:8080").keeps_secrets());
        assert!(!origin("http://hub.example").keeps_secrets());
    }

    #[test]
    fn redirects_neither_lose_encryption_nor_enter_the_own_network() {
        let home = origin("https://hub.example");
        let refused = |to: &str| home.redirect(&origin(to), &home).is_err();
        assert!(!refused("https://cdn.example/x"));
        for bad in [
            "http://cdn.example/x",
            "https://localhost/x",
            "https://127.8.8.8/x",
            "https://10.0.0.1/x",
            "https://169.254.169.254/latest",
            "https://[::1]/x",
            "https://[fd00::1]/x",
            "https://[::ffff:127.0.0.1]/x",
        ] {
            assert!(refused(bad), "{bad}");
        }
        let here = origin("http://127.0.0.1:1");
        assert!(here.redirect(&origin("http://127.0.0.1:2"), &here).is_ok());
    }

    #[test]
    fn locations_are_joined_as_browsers_do() {
        let url = "https://hub.example/a/b?c";
        assert_eq!(join(url, "https://cdn.example/x"), "https://cdn.example/x");
        assert_eq!(join(url, "//cdn.example/x"), "https://cdn.example/x");
        assert_eq!(join(url, "/x?y#z"), "https://hub.example/x?y");
        assert_eq!(join(url, "x"), "https://hub.example/a/x");
    }
}
