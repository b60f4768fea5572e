//! Which proxy leads to a cluster: the one that kubectl and helm, which are Go programs, would take.
//!
//! The library reads the same variables, but holds `NO_PROXY` against the proxy's own address and not the cluster's, refuses
//! a list with an empty place in it, and a proxy that is written without a scheme. What is decided here is decided as
//! `golang.org/x/net/http/httpproxy` does.

use std::net::IpAddr;

use http::Uri;
use ipnet::IpNet;

/// The variables, each by its name in capitals or, where that is unset or empty, in small letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyVariables {
    /// `HTTPS_PROXY`.
    pub https: Option<String>,
    /// `HTTP_PROXY`.
    pub http: Option<String>,
    /// `NO_PROXY`.
    pub exempt: Option<String>,
}

impl ProxyVariables {
    pub fn of_this_process() -> Self {
        let one = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let read = |name: &str| one(name).or_else(|| one(&name.to_lowercase()));
        Self { https: read("HTTPS_PROXY"), http: read("HTTP_PROXY"), exempt: read("NO_PROXY") }
    }
}

/// The proxy that leads to `server`. What the kubeconfig names goes before the variables, and no exemption concerns it.
///
/// # Errors
/// What is named is no address of a proxy: in words, without the password that may stand in it.
pub fn proxy_to(server: &Uri, of_kubeconfig: Option<&str>, variables: &ProxyVariables) -> Result<Option<Uri>, String> {
    if let Some(text) = of_kubeconfig.filter(|text| !text.is_empty()) {
        return address(text, "proxy-url of the kubeconfig").map(Some);
    }
    let (named, name) = match server.scheme_str() {
        Some("http") => (&variables.http, "HTTP_PROXY"),
        _ => (&variables.https, "HTTPS_PROXY"),
    };
    match named {
        Some(text) if !is_exempt(server, variables.exempt.as_deref().unwrap_or_default()) => {
            address(text, name).map(Some)
        }
        _ => Ok(None),
    }
}

fn address(text: &str, name: &str) -> Result<Uri, String> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    // Both resolve the cluster's name at the proxy.
    let with_scheme = with_scheme.replacen("socks5h://", "socks5://", 1);
    let uri: Option<Uri> = with_scheme.parse().ok();
    let is_known = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https" | "socks5")) && uri.host().is_some();
    uri.filter(is_known).ok_or_else(|| format!("{name} is no address of an HTTP or SOCKS5 proxy"))
}

/// Whether no proxy leads to `server`: it is this host, or on the list.
fn is_exempt(server: &Uri, list: &str) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']).to_lowercase();
    let ip: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
        return true;
    }
    let port = server.port_u16().unwrap_or(if server.scheme_str() == Some("http") { 80 } else { 443 });
    list.split(',').map(|item| item.trim().to_lowercase()).any(|item| covers(&item, &host, ip, port))
}

/// Whether an item of the list covers the host: `*`, a range of addresses, an address, a domain with what is below it, or,
/// with a dot in front, only what is below it; the last three with a port or without.
fn covers(item: &str, host: &str, ip: Option<IpAddr>, port: u16) -> bool {
    if item == "*" {
        return true;
    }
    if let Ok(range) = item.parse::<IpNet>() {
        return ip.is_some_and(|ip| range.contains(&ip));
    }
    let (name, only_port) = split_port(item);
    if only_port.is_some_and(|only| only != port.to_string()) {
        return false;
    }
    if let Ok(address) = name.parse::<IpAddr>() {
        return ip == Some(address);
    }
    let name = name.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(name);
    match name.strip_prefix('.') {
        _ if name.is_empty() => false,
        Some(_) => host.ends_with(name),
        None => host == name || host.strip_suffix(name).is_some_and(|before| before.ends_with('.')),
    }
}

fn split_port(item: &str) -> (&str, Option<&str>) {
    if let Some((name, rest)) = item.strip_prefix('[').and_then(|item| item.split_once(']')) {
        return (name, rest.strip_prefix(':'));
    }
    match item.split_once(':') {
        // More than one is an IPv6 address.
        Some((name, port)) if !port.contains(':') => (name, Some(port)),
        _ => (item, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(server: &str, of_kubeconfig: Option<&str>, https: &str, exempt: &str) -> Result<Option<String>, String> {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let variables = ProxyVariables { https: text(https), http: text("http://plain:1"), exempt: text(exempt) };
        let found = proxy_to(&server.parse().unwrap(), of_kubeconfig, &variables)?;
        Ok(found.map(|uri| uri.to_string().trim_end_matches('/').to_owned()))
    }

    #[test]
    fn the_kubeconfig_goes_before_the_variables_and_a_proxy_may_lack_its_scheme() {
        let server = "https://api.example.org:6443";
        assert_eq!(proxy(server, None, "", ""), Ok(None));
        assert_eq!(proxy(server, None, "proxy:3128", ""), Ok(Some("http://proxy:3128".into())));
        assert_eq!(proxy(server, None, "https://u:p@proxy", ""), Ok(Some("https://u:p@proxy".into())));
        assert_eq!(proxy(server, Some("socks5h://own:1080"), "p:1", "*"), Ok(Some("socks5://own:1080".into())));
        assert_eq!(proxy("http://api.example.org", None, "p:1", ""), Ok(Some("http://plain:1".into())));
        let refused = proxy(server, None, "ftp://u:secret@proxy", "").unwrap_err();
        assert_eq!(refused, "HTTPS_PROXY is no address of an HTTP or SOCKS5 proxy");
        assert!(proxy(server, Some("http://"), "", "").unwrap_err().starts_with("proxy-url of the kubeconfig"));
    }

    #[test]
    fn the_exemptions_are_those_of_go() {
        let direct = |server: &str, exempt: &str| proxy(server, None, "proxy:1", exempt).unwrap().is_none();
        let (named, by_ip) = ("https://api.example.org:6443", "https://10.1.2.3:6443");
        for exempt in [
            "*",
            "example.org",
            ".example.org",
            "*.example.org",
            "api.example.org:6443",
            "x,, API.Example.Org ,",
            "org",
        ] {
            assert!(direct(named, exempt), "{exempt}");
        }
        for exempt in
            ["", ",", "ample.org", "example.org:443", "api", ".api.example.org", "other.org", "10.0.0.0/8", "*."]
        {
            assert!(!direct(named, exempt), "{exempt}");
        }
        for exempt in ["10.0.0.0/8", "10.1.2.3", "10.1.2.3:6443"] {
            assert!(direct(by_ip, exempt), "{exempt}");
        }
        for exempt in ["11.0.0.0/8", "10.1.2.3:443", "10.1.2", "fe80::/10"] {
            assert!(!direct(by_ip, exempt), "{exempt}");
        }
        assert!(direct("https://[fd00::1]:6443", "fd00::1") && direct("https://[fd00::1]:6443", "[fd00::1]:6443"));
        assert!(direct("https://example.org", "example.org:443"), "the port goes without saying");
        for here in ["https://localhost:6443", "https://127.0.0.2:6443", "https://[::1]:6443"] {
            assert!(direct(here, ""), "{here}");
        }
    }
}
