//! The HTTP of a bucket: waits for a server that is away, and paces what goes up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http_body_util::BodyExt;
use hyper::body::Body;
use object_store::client::{HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService};

use super::paced::PacedBody;
use super::rate::Rate;
use super::refusal::{Refusal, RefusalKind};
use crate::store::notice::Notice;
use crate::text::elapsed;

/// The pauses between two attempts at a server that is away.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What every request to a bucket goes through.
#[derive(Debug)]
pub(super) struct BucketService {
    pub client: reqwest::Client,
    pub rate: Option<Arc<Rate>>,
    pub absence: Absence,
}

#[async_trait]
impl HttpService for BucketService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (begun, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let error = match self.once(request.clone()).await {
                Err(error) if is_away(&error) => error,
                answer => {
                    self.absence.is_over();
                    return answer;
                }
            };
            let left = self.absence.left(begun.elapsed(), &error);
            if left.is_zero() {
                // Of a kind that the library does not try again: it was waited for as long as was asked.
                return Err(HttpError::new(HttpErrorKind::Unknown, error));
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl BucketService {
    async fn once(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        match &self.rate {
            Some(rate) if request.body().size_hint().exact() != Some(0) => self.paced(request, rate).await,
            _ => self.client.call(request).await,
        }
    }

    /// As the library's own client does it, but for the body.
    async fn paced(&self, request: HttpRequest, rate: &Arc<Rate>) -> Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        let url = reqwest::Url::parse(&head.uri.to_string());
        let url = url.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let mut request = reqwest::Request::new(head.method, url);
        *request.headers_mut() = head.headers;
        *request.body_mut() = Some(reqwest::Body::wrap(PacedBody::new(body, Arc::clone(rate))));
        let answer: http::Response<reqwest::Body> = self.client.execute(request).await.map_err(failed)?.into();
        Ok(answer.map(|body| HttpResponseBody::new(body.map_err(failed))))
    }
}

fn failed(error: reqwest::Error) -> HttpError {
    let kind = match (error.is_timeout(), error.is_connect()) {
        (true, _) => HttpErrorKind::Timeout,
        (_, true) => HttpErrorKind::Connect,
        // What goes up is the same at each attempt.
        _ => HttpErrorKind::Request,
    };
    HttpError::new(kind, error.without_url())
}

/// Whether nothing was sent, since nobody was there to take it. A name without an address and a certificate that is not
/// trusted are no such thing: they do not pass by waiting.
fn is_away(error: &HttpError) -> bool {
    error.kind() == HttpErrorKind::Connect && Refusal::of(error).kind == RefusalKind::Passing
}

/// How long a server that cannot be reached is waited for.
#[derive(Debug)]
pub(super) struct Absence {
    /// The store, as messages call it.
    place: String,
    /// How long one request waits for it.
    wait: Duration,
    notice: Notice,
    state: Mutex<AbsenceState>,
}

/// What is known of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum AbsenceState {
    #[default]
    There,
    /// It is waited for, and that was said.
    Awaited,
    /// It did not come in time: nobody waits for it again before it has answered.
    GivenUp,
}

impl Absence {
    pub fn new(place: String, wait: Duration, notice: Notice) -> Self {
        Self { place, wait, notice, state: Mutex::default() }
    }

    fn is_over(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = AbsenceState::There;
    }

    /// For how long it is still waited for by a request that waits since `waited`. Says so at the first.
    fn left(&self, waited: Duration, error: &HttpError) -> Duration {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.wait.saturating_sub(waited);
        match *state {
            AbsenceState::GivenUp => return Duration::ZERO,
            _ if left.is_zero() => *state = AbsenceState::GivenUp,
            AbsenceState::Awaited => {}
            AbsenceState::There => {
                *state = AbsenceState::Awaited;
                let why = Refusal::of(error);
                let bound = elapsed(self.wait);
                self.notice
                    .say(format!("store {} cannot be reached ({why}): waiting for it, up to {bound}", self.place));
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;

    use object_store::client::HttpRequestBody;

    use super::*;

    fn client() -> reqwest::Client {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = tls.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
        reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap()
    }

    fn asked(wait: Duration, port: u16, heard: mpsc::Sender<String>) -> Result<http::StatusCode, HttpError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let notice = Notice::to(move |text| heard.send(text).unwrap());
        let absence = Absence::new("s3://b".into(), wait, notice);
        let service = BucketService { client: client(), rate: None, absence };
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.uri_mut() = format!("http://127.0.0.1:{port}/").parse().unwrap();
        runtime.block_on(service.call(request)).map(|answer| answer.status())
    }

    /// A port that nobody listens at.
    fn port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn a_server_that_comes_back_is_waited_for_and_that_is_said() {
        let (port, (heard, told)) = (port(), mpsc::channel());
        let server = std::thread::spawn(move || {
            let said = told.recv().unwrap();
            let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
            let (mut client, _) = listener.accept().unwrap();
            client.read_exact(&mut [0; 4]).unwrap();
            client.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
            said
        });
        assert_eq!(asked(Duration::from_secs(60), port, heard).unwrap(), http::StatusCode::NO_CONTENT);
        let said = server.join().unwrap();
        assert!(said.starts_with("store s3://b cannot be reached (") && said.ends_with("up to 1 min 0 s"), "{said}");
    }

    #[test]
    fn a_server_that_stays_away_is_given_up_and_without_a_time_it_is_not_waited_for() {
        for (wait, said) in [(Duration::ZERO, 0), (Duration::from_millis(300), 1)] {
            let (heard, told) = mpsc::channel();
            let error = asked(wait, port(), heard).unwrap_err();
            assert_eq!(error.kind(), HttpErrorKind::Unknown, "the library would try it again: {error}");
            assert_eq!(Refusal::of(&error).kind, RefusalKind::Passing, "{error}");
            assert_eq!(told.iter().count(), said);
        }
    }

    #[test]
    fn what_was_given_up_once_is_not_waited_for_again_before_it_answers() {
        let absence = Absence::new("s3://b".into(), Duration::from_secs(9), Notice::default());
        let error = HttpError::new(HttpErrorKind::Connect, std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        let left = |seconds| absence.left(Duration::from_secs(seconds), &error).as_secs();
        assert_eq!((left(0), left(8), left(9), left(0)), (9, 1, 0, 0));
        absence.is_over();
        assert_eq!(left(0), 9);
    }
}
