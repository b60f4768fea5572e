//! Asking once more what a connection that broke has left without an answer: an API server that restarts, a load balancer
//! that moves. Only what reads is asked again; whatever changes something may have been done.

use std::time::Duration;

use http::{HeaderMap, Method, Request, header};
use kube::client::Body;
use tower::BoxError;
use tower::retry::Policy;

/// How long is waited before each further try.
const PAUSES: [Duration; 2] = [Duration::from_millis(300), Duration::from_secs(2)];

/// How often one question was asked again.
#[derive(Debug, Clone, Default)]
pub(super) struct AskAgain {
    tries: usize,
}

impl<Answer> Policy<Request<Body>, Answer, BoxError> for AskAgain {
    type Future = tokio::time::Sleep;

    fn retry(&mut self, _: &mut Request<Body>, result: &mut Result<Answer, BoxError>) -> Option<Self::Future> {
        let pause = PAUSES.get(self.tries).filter(|_| result.is_err())?;
        self.tries += 1;
        Some(tokio::time::sleep(*pause))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        if !only_reads(request.method(), request.headers()) {
            return None;
        }
        let mut again = Request::new(request.body().try_clone()?);
        *again.method_mut() = request.method().clone();
        *again.uri_mut() = request.uri().clone();
        *again.headers_mut() = request.headers().clone();
        *again.extensions_mut() = request.extensions().clone();
        Some(again)
    }
}

/// A stream into a pod begins with a GET, too, and runs a program.
fn only_reads(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::GET && !headers.contains_key(header::UPGRADE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_reads_is_asked_again_and_nothing_else() {
        let plain = HeaderMap::new();
        let mut stream = HeaderMap::new();
        stream.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
        assert!(only_reads(&Method::GET, &plain));
        assert!(!only_reads(&Method::GET, &stream));
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert!(!only_reads(&method, &plain), "{method}");
        }
    }

    #[tokio::test]
    async fn an_answer_ends_it_and_so_do_two_more_tries() {
        let mut request = Request::new(Body::empty());
        let mut again = AskAgain::default();
        assert!(again.retry(&mut request, &mut Ok(())).is_none());
        let broken = || Err::<(), BoxError>("connection reset".into());
        let tries = std::iter::from_fn(|| again.retry(&mut request, &mut broken())).count();
        assert_eq!(tries, PAUSES.len());
    }
}
