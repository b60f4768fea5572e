//! The way to a bucket's server: TLS, proxy, patience, key.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use super::address::BucketAddress;
use super::credentials::{KeySource, PromptKey};
use super::rate::Rate;
use super::refusal::{Refusal, RefusalKind};
use super::service::{Absence, BucketService};
use crate::redact::Secrets;
use crate::store::notice::Notice;
use crate::web::{self, WebError};

/// How long a server that is away is waited for where nothing else is asked for.
pub const USUAL_WAIT: Duration = Duration::from_secs(60);
/// How long one attempt at a request may take: the largest part, over the thinnest link that is worth it.
const ATTEMPT: Duration = Duration::from_secs(240);
/// How long a request is tried again. It is signed once, and a signature is good for a quarter of an hour.
const RETRIED_FOR: Duration = Duration::from_secs(180);
/// How long the other side may leave bytes unanswered, and how long it may take to be reached.
const UNANSWERED: Duration = Duration::from_secs(30);
const REACHED_WITHIN: Duration = Duration::from_secs(10);

/// Which checksum goes with each part beside the signature's own, which every server checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// What a bucket with Object Lock asks for.
    Sha256,
    /// What Amazon's newer tools send.
    Crc64Nvme,
}

/// What leads to a bucket beside its name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BucketOptions {
    /// `https://HOST:PORT` of the server; Amazon's own when absent.
    pub endpoint: Option<String>,
    pub region: Option<String>,
    /// Whether the bucket's name is a part of the host's, and not of the path.
    pub virtual_host: bool,
    /// Certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// A file with the key, in the form of Amazon's own tools.
    pub credentials_file: Option<PathBuf>,
    /// Which key of it.
    pub profile: Option<String>,
    /// The least bytes of a part; more where the object would have too many.
    pub part_bytes: Option<u64>,
    pub checksum: Option<Checksum>,
    /// The most bytes that go up a second.
    pub bytes_a_second: Option<u64>,
    /// How long a server that cannot be reached is waited for; not at all when absent.
    pub wait: Option<Duration>,
    /// A folder of this host for what was read of small files; they are read again each time when absent.
    pub kept: Option<PathBuf>,
    /// How often a request is tried again; the default is right but for tests.
    pub retries: Option<usize>,
}

/// What asks a server.
pub(super) struct BucketConnection {
    pub s3: AmazonS3,
    /// The same for what the library does not ask.
    pub http: HttpClient,
    pub region: String,
    /// The address of the bucket.
    pub url: String,
}

/// The endpoint and the region that this process finds in its environment.
pub fn of_environment() -> (Option<String>, Option<String>) {
    use object_store::aws::AmazonS3ConfigKey as Key;
    let variables = AmazonS3Builder::from_env();
    let configured = |key| variables.get_config_value(&key).filter(|value| !value.is_empty());
    (configured(Key::Endpoint), configured(Key::Region))
}

/// Prepares to ask the server; nothing is sent yet.
///
/// # Errors
/// The options do not fit, a file of theirs cannot be read, or there is no key.
pub(super) fn connect(
    address: &BucketAddress,
    options: &BucketOptions,
    secrets: &Secrets,
    notice: &Notice,
) -> Result<BucketConnection, Refusal> {
    let other = |text: String| Refusal::new(RefusalKind::Other, text);
    use object_store::aws::AmazonS3ConfigKey as Key;
    let variables = AmazonS3Builder::from_env();
    let (set_endpoint, set_region) = of_environment();
    let region = options.region.clone().or(set_region).unwrap_or_else(|| "us-east-1".into());
    let endpoint = options.endpoint.clone().or(set_endpoint);
    let server = endpoint.clone().unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
    let url = bucket_url(&server, &address.bucket, options.virtual_host).map_err(other)?;
    let key =
        KeySource::find(options.credentials_file.as_deref(), options.profile.as_deref(), endpoint.is_some(), secrets)?;
    let http = HttpClient::new(BucketService {
        client: client(&server, options.ca_file.as_deref())?,
        rate: options.bytes_a_second.map(|bytes| Arc::new(Rate::new(bytes))),
        absence: Absence::new(address.place(), options.wait.unwrap_or_default(), notice.clone()),
    });
    let mut builder = variables
        .with_bucket_name(&address.bucket)
        .with_region(&region)
        // The address holds the bucket already, so the library takes it for whole.
        .with_virtual_hosted_style_request(true)
        .with_config(Key::S3Endpoint, &url)
        .with_allow_http(server.starts_with("http://"))
        .with_disable_bulk_delete(true)
        .with_retry(retries(options.retries))
        .with_http_connector(Connector(http.clone()));
    if let Some(checksum) = options.checksum {
        builder = builder.with_checksum_algorithm(match checksum {
            Checksum::Sha256 => object_store::aws::Checksum::SHA256,
            Checksum::Crc64Nvme => object_store::aws::Checksum::CRC64NVME,
        });
    }
    let build = |builder: AmazonS3Builder| builder.build().map_err(|error| other(error.to_string()));
    let s3 = match key {
        KeySource::File(key) => {
            // What is wrong with it is said at once, and not as the failure of the first request.
            key.read()?;
            build(builder.with_credentials(Arc::new(key)))?
        }
        KeySource::Surroundings(whose) => {
            let key = Arc::clone(build(builder.clone())?.credentials());
            build(builder.with_credentials(Arc::new(PromptKey { whose, key })))?
        }
    };
    Ok(BucketConnection { s3, http, region, url })
}

fn bucket_url(server: &str, bucket: &str, virtual_host: bool) -> Result<String, String> {
    let server = server.trim_end_matches('/');
    let parsed: Option<http::Uri> = server.parse().ok();
    let plain = parsed.filter(|uri| {
        let has_host = uri.host().is_some() && uri.authority().is_some_and(|a| !a.as_str().contains('@'));
        has_host && matches!(uri.scheme_str(), Some("http" | "https")) && uri.path() == "/" && uri.query().is_none()
    });
    match (plain, server.split_once("://")) {
        (Some(_), Some((scheme, host))) if virtual_host => Ok(format!("{scheme}://{bucket}.{host}")),
        (Some(_), Some(_)) => Ok(format!("{server}/{bucket}")),
        _ => Err("the endpoint is no https://HOST or https://HOST:PORT".into()),
    }
}

fn retries(count: Option<usize>) -> RetryConfig {
    let backoff = BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(15),
        // The pauses are drawn between the first one and so many times the last one: with 2 they would hardly grow.
        base: 4.0,
    };
    RetryConfig { backoff, max_retries: count.unwrap_or(10), retry_timeout: RETRIED_FOR }
}

/// What speaks HTTP. A server that sends elsewhere is asked at the wrong address: no signature is taken there.
fn client(server: &str, ca_file: Option<&Path>) -> Result<reqwest::Client, Refusal> {
    let other = |text: String| Refusal::new(RefusalKind::Other, text);
    let uri: http::Uri = server.parse().map_err(|_| other("the endpoint is no address".into()))?;
    let builder = web::client(&uri, ca_file).map_err(|error| match error {
        WebError::Tls(text) => Refusal::new(RefusalKind::Tls, text),
        WebError::Address(text) => other(text),
    })?;
    let builder = builder.timeout(ATTEMPT).connect_timeout(REACHED_WITHIN);
    let builder = builder.tcp_user_timeout(UNANSWERED).tcp_keepalive(UNANSWERED);
    builder.build().map_err(|error| other(error.without_url().to_string()))
}

/// Gives the library the client that was made here.
#[derive(Debug)]
struct Connector(HttpClient);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_is_in_the_path_or_in_the_hosts_name() {
        let url = |server: &str, virtual_host| bucket_url(server, "b", virtual_host);
        assert_eq!(url("https://h:1/", false), Ok("https://h:1/b".into()));
        assert_eq!(url("https://h:1", true), Ok("https://b.h:1".into()));
        for bad in ["h:1", "https://", "ftp://h", "https://h/x", "https://h?x", "https://u:p@h"] {
            assert!(url(bad, false).is_err(), "{bad}");
        }
    }
}
