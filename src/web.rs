//! HTTP and TLS to servers outside the cluster: whom to trust, and the way out through a proxy.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::proxy::{ProxyVariables, proxy_to};
use crate::read;

/// Why there is no way to a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// The certificates to trust are none.
    #[error("{0}")]
    Tls(String),
    /// An address is none.
    #[error("{0}")]
    Address(String),
}

/// What speaks HTTP to `server`: through the proxy that the environment names for it, as for the cluster, and to no other
/// server that this one points to. `ca_file` has certificates to trust beside the system's.
///
/// # Errors
/// An address is none, or the file holds no certificate.
pub fn client(server: &http::Uri, ca_file: Option<&Path>) -> Result<reqwest::ClientBuilder, WebError> {
    let address = |text: &str| WebError::Address(text.into());
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(ca_file)?)
        .http1_only()
        .user_agent(concat!("dr/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy();
    if let Some(proxy) = proxy_to(server, None, &ProxyVariables::of_this_process()).map_err(WebError::Address)? {
        // The proxy resolves the server's name.
        let proxy = proxy.to_string().replacen("socks5://", "socks5h://", 1);
        builder = builder.proxy(reqwest::Proxy::all(proxy).map_err(|_| address("the proxy is no address"))?);
    }
    Ok(builder)
}

/// The certificates that are trusted here, the system's and those of the file, in PEM: for a place that has none.
///
/// # Errors
/// The file holds no certificate.
pub fn trusted_pem(ca_file: Option<&Path>) -> Result<String, WebError> {
    use base64::Engine as _;
    let mut all = rustls_native_certs::load_native_certs().certs;
    if let Some(path) = ca_file {
        all.extend(ca_certificates(path)?);
    }
    let mut pem = String::new();
    for certificate in all {
        let text = base64::engine::general_purpose::STANDARD.encode(&certificate);
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for at in (0..text.len()).step_by(64) {
            pem.push_str(&text[at..text.len().min(at + 64)]);
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    Ok(pem)
}

/// The certificates of a file in PEM.
///
/// # Errors
/// It cannot be read, or holds none.
pub fn ca_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, WebError> {
    let unreadable = |error| WebError::Tls(format!("certificates {} cannot be read: {error}", path.display()));
    let pem = read::file(path, read::SMALL).map_err(unreadable)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    certificates.ok().filter(|found| !found.is_empty()).ok_or_else(|| no_certificate(path))
}

fn no_certificate(path: &Path) -> WebError {
    WebError::Tls(format!("{} holds no certificate in PEM", path.display()))
}

fn tls(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, WebError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file
        && roots.add_parsable_certificates(ca_certificates(path)?).0 == 0
    {
        return Err(no_certificate(path));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.map_err(|error| WebError::Tls(error.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_are_none_are_refused_with_their_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = tls(Some(file.path())).unwrap_err();
        assert!(matches!(&refused, WebError::Tls(text) if text.ends_with("holds no certificate in PEM")), "{refused}");
        assert!(tls(Some(Path::new("/no/such"))).unwrap_err().to_string().contains("/no/such cannot be read"));
        tls(None).unwrap();
    }
}
