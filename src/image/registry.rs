//! Pushing an image: the handful of requests of the OCI distribution specification, 1.1.
//!
//! Not by a library: those at hand bring a TLS and proxies of their own, and what is left is small.

use std::path::PathBuf;
use std::time::Duration;

use futures::stream;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use reqwest::{Body, Client, RequestBuilder, Response, Url};
use serde::Deserialize;

use super::challenge::Challenge;
use super::credentials::Login;
use super::error::ImageError;
use super::program_image::{MANIFEST, ProgramImage};
use super::reference::ImageReference;
use crate::redact::Secrets;
use crate::text;
use crate::trace::{self, CallKind};
use crate::web;

/// How long a registry may take to be reached, and how long it may be silent.
const REACHED_WITHIN: Duration = Duration::from_secs(10);
const SILENT_FOR: Duration = Duration::from_secs(60);
/// The thinnest link that is worth it.
const LEAST_A_SECOND: u64 = 32 << 10;
/// The header with the digest of what was stored.
const STORED: &str = "docker-content-digest";
/// How much of an answer is read, and how much of a refusal is shown.
const ANSWER: usize = 256 << 10;
const SHOWN: usize = 300;

/// How registries are spoken with.
#[derive(Debug, Clone, Default)]
pub struct RegistryOptions {
    /// Without TLS.
    pub plain_http: bool,
    /// Certificates to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// What was pushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushedImage {
    /// The digest under which the registry has it.
    pub digest: String,
    /// How many bytes went up: less than the image has where the registry had some of it.
    pub sent: u64,
}

/// One repository of a registry, and who asks.
pub struct RegistryClient<'a> {
    image: &'a ImageReference,
    options: &'a RegistryOptions,
    secrets: &'a Secrets,
    client: Client,
    base: Url,
    login: Option<Login>,
    authorization: Option<HeaderValue>,
}

/// What a server of tokens answers; the first name is OAuth2's.
#[derive(Deserialize)]
struct Token {
    access_token: Option<String>,
    token: Option<String>,
}

impl<'a> RegistryClient<'a> {
    /// Prepares to push to where the name says, as whoever has logged in there.
    ///
    /// # Errors
    /// The login or the certificates cannot be read, or the proxy's address is none.
    pub async fn new(
        image: &'a ImageReference,
        options: &'a RegistryOptions,
        secrets: &'a Secrets,
    ) -> Result<Self, ImageError> {
        let scheme = if options.plain_http { "http" } else { "https" };
        let base = format!("{scheme}://{}/v2/{}/", image.host(), image.repository());
        let base = Url::parse(&base).map_err(|error| unreachable(image, error.to_string()))?;
        let (named, known) = (image.clone(), secrets.clone());
        // A program that keeps logins may ask a person.
        let login = tokio::task::spawn_blocking(move || Login::find(&named, &known)).await;
        let login = login.map_err(|error| unreachable(image, error.to_string()))??;
        let client = client(image, &base, options)?;
        Ok(Self { image, options, secrets, client, base, login, authorization: None })
    }

    /// Pushes the image, and has the registry say what it has under the name then.
    ///
    /// # Errors
    /// The registry cannot be reached, refuses, or has something else afterwards.
    pub async fn push(mut self, image: &ProgramImage) -> Result<PushedImage, ImageError> {
        let named = self.image.to_string();
        trace::call(CallKind::Registry, format!("push image {named}"), self.pushed(image)).await
    }

    async fn pushed(&mut self, image: &ProgramImage) -> Result<PushedImage, ImageError> {
        let mut sent = 0;
        if !self.has(image.layer_digest()).await? {
            let body = || Body::wrap_stream(stream::iter(image.layer()));
            self.put_blob(image.layer_digest(), image.layer_length(), body).await?;
            sent += image.layer_length();
        }
        let config = image.config();
        if !self.has(&image.config_digest()).await? {
            self.put_blob(&image.config_digest(), config.len() as u64, || Body::from(config.to_vec())).await?;
            sent += config.len() as u64;
        }
        let at = self.url(&format!("manifests/{}", self.image.tag()))?;
        let manifest = image.manifest().to_vec();
        let answer =
            self.send(|client| client.put(at.clone()).header(CONTENT_TYPE, MANIFEST).body(manifest.clone())).await?;
        self.require(answer, StatusCode::CREATED, "take the manifest").await?;
        sent += manifest.len() as u64;
        // What a pod will be given is what is looked at, not what was sent.
        let answer = self.send(|client| client.head(at.clone()).header(ACCEPT, MANIFEST)).await?;
        let answer = self.require(answer, StatusCode::OK, "show what it has taken").await?;
        let stored = answer.headers().get(STORED).and_then(|value| value.to_str().ok()).map(str::to_owned);
        match stored {
            Some(stored) if stored == image.digest() => Ok(PushedImage { digest: stored, sent }),
            Some(other) => Err(self.refused("keep it as it is", format!("it has {} now", shown(&other)))),
            // Not every registry says so: then the manifest itself is read back.
            None => {
                let answer = self.send(|client| client.get(at.clone()).header(ACCEPT, MANIFEST)).await?;
                let answer = self.require(answer, StatusCode::OK, "show what it has taken").await?;
                match self.body(answer).await? == manifest {
                    true => Ok(PushedImage { digest: image.digest(), sent }),
                    false => Err(self.refused("keep it as it is", "it has another manifest now".into())),
                }
            }
        }
    }

    async fn has(&mut self, digest: &str) -> Result<bool, ImageError> {
        let at = self.url(&format!("blobs/{digest}"))?;
        let answer = self.send(|client| client.head(at.clone())).await?;
        match answer.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            // A blob may lie elsewhere.
            status if status.is_redirection() => Ok(true),
            _ => self.require(answer, StatusCode::OK, "say what it has").await.map(|_| true),
        }
    }

    /// One upload, in one piece.
    async fn put_blob(&mut self, digest: &str, bytes: u64, body: impl Fn() -> Body) -> Result<(), ImageError> {
        let begin = self.url("blobs/uploads/")?;
        let answer = self.send(|client| client.post(begin.clone()).header(CONTENT_LENGTH, 0)).await?;
        let answer = self.require(answer, StatusCode::ACCEPTED, "begin an upload").await?;
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let to = location.and_then(|text| answer.url().join(text).ok());
        let mut to = to.ok_or_else(|| self.refused("begin an upload", "it does not say where to".into()))?;
        if !self.options.plain_http && to.scheme() != "https" {
            return Err(self.refused("begin an upload", "it wants the image without TLS".into()));
        }
        to.query_pairs_mut().append_pair("digest", digest);
        let answer = self
            .send(|client| {
                let request = client.put(to.clone()).header(CONTENT_TYPE, "application/octet-stream");
                request.header(CONTENT_LENGTH, bytes).body(body())
            })
            .await?;
        self.require(answer, StatusCode::CREATED, "take what was uploaded").await.map(drop)
    }

    /// Sends a request; where the registry asks who it is, once more with the answer.
    async fn send(&mut self, request: impl Fn(&Client) -> RequestBuilder) -> Result<Response, ImageError> {
        let answer = self.sent(request(&self.client)).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let challenges = answer.headers().get_all(WWW_AUTHENTICATE);
        let challenges: Vec<&str> = challenges.iter().filter_map(|value| value.to_str().ok()).collect();
        let Some(challenge) = Challenge::read(&challenges.join(", ")) else {
            return Err(self.unauthorized("it asks for no login that is known here"));
        };
        self.authorization = Some(self.answer(challenge).await?);
        let answer = self.sent(request(&self.client)).await?;
        match answer.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let said = self.said(answer).await;
                Err(self.unauthorized(&said))
            }
            _ => Ok(answer),
        }
    }

    async fn sent(&self, request: RequestBuilder) -> Result<Response, ImageError> {
        let mut request = request.build().map_err(|error| self.unreachable(error))?;
        // An upload may go to another server, which is none of those that the login is for.
        if request.url().origin() == self.base.origin()
            && let Some(authorization) = &self.authorization
        {
            request.headers_mut().insert(AUTHORIZATION, authorization.clone());
        }
        // A thin link has its time for what goes up.
        let bytes = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let limit = SILENT_FOR + Duration::from_secs(bytes.unwrap_or(0_u64) / LEAST_A_SECOND);
        match tokio::time::timeout(limit, self.client.execute(request)).await {
            Ok(answer) => answer.map_err(|error| self.unreachable(error)),
            Err(_) => Err(self.silent(limit)),
        }
    }

    async fn answer(&self, challenge: Challenge) -> Result<HeaderValue, ImageError> {
        match (challenge, &self.login) {
            (Challenge::Bearer { realm, service }, login) => {
                self.token(&realm, service.as_deref(), login.as_ref()).await
            }
            (Challenge::Basic, Some(Login::Password { user, password })) => Ok(basic(user, password)),
            (Challenge::Basic, _) => Err(self.unauthorized("it wants a name and a password")),
        }
    }

    /// Changes the login for a token of this repository.
    async fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        login: Option<&Login>,
    ) -> Result<HeaderValue, ImageError> {
        let bad = || self.unauthorized("what it names as its server of tokens is no https:// address");
        let mut at = Url::parse(realm).map_err(|_| bad())?;
        if at.scheme() != "https" && !(self.options.plain_http && at.scheme() == "http") {
            return Err(bad());
        }
        let scope = format!("repository:{}:pull,push", self.image.repository());
        let mut form = at.clone();
        form.set_query(None);
        for url in [&mut at, &mut form] {
            let mut pairs = url.query_pairs_mut();
            pairs.extend_pairs(service.map(|service| ("service", service)));
            pairs.append_pair("scope", &scope);
        }
        let client = client(self.image, &at, self.options)?;
        let request = match login {
            None => client.get(at),
            Some(Login::Password { user, password }) => client.get(at).header(AUTHORIZATION, basic(user, password)),
            Some(Login::Identity(token)) => {
                form.query_pairs_mut()
                    .append_pair("grant_type", "refresh_token")
                    .append_pair("client_id", "dr")
                    .append_pair("refresh_token", token);
                let body = form.query().unwrap_or_default().to_owned();
                at.set_query(None);
                client.post(at).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
            }
        };
        let answer = tokio::time::timeout(SILENT_FOR, request.send()).await;
        let answer = answer.map_err(|_| self.unauthorized("its server of tokens does not answer"))?;
        let answer = answer.map_err(|error| self.unreachable(error))?;
        if !answer.status().is_success() {
            let said = self.said(answer).await;
            return Err(self.unauthorized(&format!("its server of tokens says {said}")));
        }
        let token: Option<Token> = serde_json::from_slice(&self.body(answer).await?).ok();
        let token = token.and_then(|token| token.access_token.or(token.token)).filter(|token| !token.is_empty());
        let token = token.ok_or_else(|| self.unauthorized("its server of tokens gives none"))?;
        self.secrets.register(token.as_bytes());
        secret_header(&format!("Bearer {token}")).ok_or_else(|| self.unauthorized("the token cannot be sent"))
    }

    fn url(&self, path: &str) -> Result<Url, ImageError> {
        self.base.join(path).map_err(|error| unreachable(self.image, error.to_string()))
    }

    async fn require(&self, answer: Response, wanted: StatusCode, act: &str) -> Result<Response, ImageError> {
        if answer.status() == wanted {
            return Ok(answer);
        }
        let (status, said) = (answer.status(), self.said(answer).await);
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.unauthorized(&said),
            _ => self.refused(act, said),
        })
    }

    /// The status, with the registry's own words where it has some: `{"errors": [{"code": "...", "message": "..."}]}`.
    async fn said(&self, answer: Response) -> String {
        let status = answer.status().as_u16();
        let body = self.body(answer).await.unwrap_or_default();
        let body: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let first = body.as_ref().map(|body| &body["errors"][0]);
        let word = |key: &str| first.and_then(|error| error[key].as_str()).map(shown);
        match word("message").filter(|text| !text.is_empty()).or_else(|| word("code")) {
            Some(words) => format!("status {status}, {}", self.secrets.scrub(&words)),
            None => format!("status {status}"),
        }
    }

    async fn body(&self, mut answer: Response) -> Result<Vec<u8>, ImageError> {
        let mut body = Vec::new();
        while body.len() < ANSWER {
            let piece = tokio::time::timeout(SILENT_FOR, answer.chunk()).await;
            match piece.map_err(|_| self.silent(SILENT_FOR))?.map_err(|error| self.unreachable(error))? {
                Some(piece) => body.extend_from_slice(&piece),
                None => break,
            }
        }
        Ok(body)
    }

    fn silent(&self, limit: Duration) -> ImageError {
        unreachable(self.image, format!("no answer within {}", text::elapsed(limit)))
    }

    fn unauthorized(&self, said: &str) -> ImageError {
        ImageError::Unauthorized {
            registry: self.image.registry().to_owned(),
            repository: self.image.repository().to_owned(),
            who: Login::who(self.login.as_ref()),
            said: said.to_owned(),
        }
    }

    fn refused(&self, act: &str, said: String) -> ImageError {
        ImageError::Refused { registry: self.image.registry().to_owned(), act: act.to_owned(), said }
    }

    fn unreachable(&self, error: reqwest::Error) -> ImageError {
        unreachable(self.image, text::chain(&error.without_url()))
    }
}

fn unreachable(image: &ImageReference, cause: String) -> ImageError {
    ImageError::Unreachable { registry: image.registry().to_owned(), cause }
}

fn client(image: &ImageReference, server: &Url, options: &RegistryOptions) -> Result<Client, ImageError> {
    let origin: Result<http::Uri, _> = server.origin().ascii_serialization().parse();
    let origin = origin.map_err(|_| unreachable(image, "it is no address".into()))?;
    let builder = web::client(&origin, options.ca_file.as_deref());
    let builder = builder.map_err(|error| unreachable(image, error.to_string()))?;
    let builder = builder.connect_timeout(REACHED_WITHIN).tcp_user_timeout(REACHED_WITHIN * 3);
    builder.build().map_err(|error| unreachable(image, text::chain(&error.without_url())))
}

fn basic(user: &str, password: &str) -> HeaderValue {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    // The letters of base64 are all a header's.
    secret_header(&format!("Basic {pair}")).unwrap_or_else(|| HeaderValue::from_static(""))
}

fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What others have written, for people: no more than a line of it.
fn shown(words: &str) -> String {
    words.chars().filter(|c| text::is_safe(*c)).take(SHOWN).collect()
}
