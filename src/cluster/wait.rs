//! Waiting for a condition: bounded, told to the listener, patient with an API server that is away for a moment.

use std::time::{Duration, Instant};

use super::error::{ClusterError, Result};
use crate::event::Events;
use crate::trace;

const SHORTEST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// One wait. Look; when the thing is not there, say what is seen with [`Wait::not_yet`], and look again.
///
/// ```text
/// let mut wait = Wait::new("pod x to be ready", limit, events);
/// loop {
///     if let Some(pod) = wait.patient(cluster.pod("x").await)? { if ready(&pod) { return Ok(pod) } }
///     wait.not_yet(seen).await?;
/// }
/// ```
#[derive(Debug)]
pub struct Wait<'a> {
    what: String,
    namespace: Option<String>,
    limit: Duration,
    begun: Instant,
    pause: Duration,
    seen: Option<String>,
    told: Option<Option<String>>,
    events: &'a Events,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        // What was there at once was not waited for.
        if self.told.is_some() {
            trace::waited(&self.what, self.begun);
        }
    }
}

impl<'a> Wait<'a> {
    /// Begins to wait for `what`, a thing `to` be or do something such as `pod opschain-db-1 to be ready`, for at most
    /// `limit`.
    pub fn new(what: impl Into<String>, limit: Duration, events: &'a Events) -> Self {
        let (begun, pause) = (Instant::now(), SHORTEST_PAUSE);
        Self { what: what.into(), namespace: None, limit, begun, pause, seen: None, told: None, events }
    }

    /// Names the namespace of the thing, for who has to look there when it does not come.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Takes an answer. Trouble that may pass becomes `None` and what is seen; anything else is the error that it is.
    ///
    /// # Errors
    /// Any error for which asking again is of no use.
    pub fn patient<T>(&mut self, answer: Result<T>) -> Result<Option<T>> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_transient() => {
                self.seen = Some(error.to_string());
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Tells the listener what is seen, when it changed, and pauses before the next look.
    ///
    /// `None` keeps what [`Wait::patient`] saw last.
    ///
    /// # Errors
    /// [`ClusterError::Timeout`] once the limit is over.
    pub async fn not_yet(&mut self, seen: Option<String>) -> Result<()> {
        if seen.is_some() {
            self.seen = seen;
        }
        if self.told.as_ref() != Some(&self.seen) {
            self.events.waiting(self.what.clone(), self.seen.clone());
            self.told = Some(self.seen.clone());
        }
        let left = self.limit.saturating_sub(self.begun.elapsed());
        if left.is_zero() {
            return Err(ClusterError::Timeout {
                what: self.what.clone(),
                seen: self.seen.clone(),
                after: self.limit,
                namespace: self.namespace.clone(),
                log: Vec::new(),
            });
        }
        tokio::time::sleep(self.pause.min(left)).await;
        self.pause = (self.pause * 3 / 2).min(LONGEST_PAUSE);
        Ok(())
    }

    /// The failure of this wait when it is given up before its limit, though it may end well by itself one day.
    pub fn given_up(&self, seen: impl Into<String>) -> ClusterError {
        ClusterError::Timeout {
            what: self.what.clone(),
            seen: Some(seen.into()),
            after: self.begun.elapsed(),
            namespace: self.namespace.clone(),
            log: Vec::new(),
        }
    }

    /// The failure of this wait when it can never end well.
    pub fn permanent(&self, reason: impl Into<String>) -> ClusterError {
        let what = self.what.replacen(" to ", " will never ", 1);
        ClusterError::Permanent { what, reason: reason.into(), namespace: self.namespace.clone(), log: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::event::Event;

    fn listener() -> (Events, Arc<Mutex<Vec<Option<String>>>>) {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ears = heard.clone();
        let events = Events::to(move |event| {
            if let Event::Waiting { seen, .. } = event {
                ears.lock().unwrap().push(seen);
            }
        });
        (events, heard)
    }

    #[tokio::test]
    async fn what_is_seen_is_told_when_it_changes() {
        let (events, heard) = listener();
        let mut wait = Wait::new("a", Duration::from_secs(60), &events);
        for seen in ["Pending", "Running", "Running"] {
            wait.not_yet(Some(seen.into())).await.unwrap();
        }
        assert_eq!(*heard.lock().unwrap(), [Some("Pending".to_owned()), Some("Running".to_owned())]);
    }

    #[tokio::test]
    async fn the_limit_ends_it_with_what_was_seen_last() {
        let events = Events::none();
        let mut wait = Wait::new("pod x to be ready", Duration::ZERO, &events);
        let error = wait.not_yet(Some("ImagePullBackOff".into())).await.unwrap_err();
        assert_eq!(error.to_string(), "waited 0 ms for pod x to be ready; last seen: ImagePullBackOff");
    }

    #[test]
    fn what_can_never_be_is_said_with_its_reason() {
        let events = Events::none();
        let wait = |what: &str| Wait::new(what, Duration::ZERO, &events).permanent("no such image").to_string();
        assert_eq!(wait("pod x to be ready"), "pod x will never be ready: no such image");
        assert_eq!(wait("database y to hibernate"), "database y will never hibernate: no such image");
    }

    #[tokio::test]
    async fn an_api_server_that_is_away_is_waited_for_and_a_denial_is_not() {
        let events = Events::none();
        let mut wait = Wait::new("a", Duration::from_secs(1), &events);
        let away = ClusterError::Unreachable { act: "a".into(), server: "b".into(), cause: "c".into() };
        assert!(wait.patient::<()>(Err(away)).unwrap().is_none());
        assert!(wait.patient::<()>(Err(ClusterError::NoOperator)).is_err());
    }
}
