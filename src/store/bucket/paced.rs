//! The body of a request, in small pieces that each wait for their turn.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use object_store::client::{HttpError, HttpRequestBody};
use tokio::time::Sleep;

use super::rate::Rate;

pub(super) struct PacedBody {
    body: HttpRequestBody,
    /// What of the body was taken and not passed on.
    taken: Bytes,
    left: u64,
    rate: Arc<Rate>,
    turn: Option<Pin<Box<Sleep>>>,
}

impl PacedBody {
    pub fn new(body: HttpRequestBody, rate: Arc<Rate>) -> Self {
        let left = body.content_length() as u64;
        Self { body, taken: Bytes::new(), left, rate, turn: None }
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        while self.taken.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => self.taken = frame.into_data().unwrap_or_default(),
                over => return Poll::Ready(over),
            }
        }
        let length = self.taken.len().min(self.rate.piece());
        let rate = Arc::clone(&self.rate);
        let turn = self.turn.get_or_insert_with(|| Box::pin(rate.turn(length as u64)));
        ready!(turn.as_mut().poll(context));
        self.turn = None;
        self.left = self.left.saturating_sub(length as u64);
        Poll::Ready(Some(Ok(Frame::data(self.taken.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use http_body_util::BodyExt;

    use super::*;

    #[test]
    fn no_byte_goes_before_the_rate_lets_it_and_none_is_lost() {
        const A_SECOND: usize = 1 << 20;
        let bytes: Vec<u8> = (0..A_SECOND / 4).map(|at| at as u8).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (rate, begun) = (Arc::new(Rate::new(A_SECOND as u64)), Instant::now());
            let mut body = PacedBody::new(bytes.clone().into(), Arc::clone(&rate));
            assert_eq!(body.size_hint().exact(), Some(bytes.len() as u64));
            let mut passed = Vec::new();
            while let Some(frame) = body.frame().await {
                let piece = frame.unwrap().into_data().unwrap();
                let due = Duration::from_millis((passed.len() * 1000 / A_SECOND) as u64);
                assert!(piece.len() <= rate.piece() && begun.elapsed() >= due, "{} too soon", passed.len());
                passed.extend_from_slice(&piece);
            }
            assert!(passed == bytes && body.is_end_stream());
        });
    }
}
