//! What a run consists of.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::JournalError;
use super::record::{Replay, StepState};

/// A step's name in the journal, with the type of what it leaves for later steps. Declared once, and used where the
/// step is listed and where its output is read: a step that is renamed or leaves something else does not compile
/// with those that read it.
pub struct StepName<T> {
    text: &'static str,
    output: PhantomData<fn() -> T>,
}

impl<T> StepName<T> {
    /// Names a step.
    pub const fn new(text: &'static str) -> Self {
        Self { text, output: PhantomData }
    }

    /// The name in the journal.
    pub const fn text(self) -> &'static str {
        self.text
    }
}

impl<T> Clone for StepName<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for StepName<T> {}

/// What a step gives back: its output for later steps and for a resume, and a line for people.
#[derive(Debug)]
pub struct Done<T> {
    output: T,
    summary: String,
}

impl Done<()> {
    /// With nothing for later steps.
    pub fn said(summary: impl Into<String>) -> Self {
        Self { output: (), summary: summary.into() }
    }
}

impl<T> Done<T> {
    /// With an output. It goes into the journal in clear, so it must hold no secret.
    pub fn with(output: T, summary: impl Into<String>) -> Self {
        Self { output, summary: summary.into() }
    }
}

/// The outputs of the steps that succeeded: the only thing that passes from a step to a later one, or to a resumed run.
#[derive(Debug, Default, Clone)]
pub struct Outputs(BTreeMap<String, Value>);

impl Outputs {
    /// Those of a journal.
    pub fn of(replay: &Replay) -> Self {
        Self(replay.outputs.clone())
    }

    pub(super) fn insert(&mut self, step: &str, output: Value) {
        self.0.insert(step.to_owned(), output);
    }

    /// What `step` has left.
    ///
    /// # Errors
    /// `Output` when it has not run, or a program of another version left something else.
    pub fn get<T: DeserializeOwned>(&self, step: StepName<T>) -> Result<T, JournalError> {
        let value = self.0.get(step.text).cloned().unwrap_or_default();
        serde_json::from_value(value).map_err(|source| JournalError::Output { step: step.text, source })
    }

    /// What `step` has left, if anything: for steps that are not in every list, and for undoing, when the step may have
    /// died before.
    pub fn maybe<T: DeserializeOwned>(&self, step: StepName<T>) -> Option<T> {
        self.0.get(step.text).and_then(|value| serde_json::from_value(value.clone()).ok())
    }
}

/// What a step left, as the journal holds it.
pub(super) struct Acted {
    pub(super) output: Value,
    pub(super) summary: String,
}

type Act<W, E> = Box<dyn for<'a> Fn(&'a W, &'a Outputs) -> BoxFuture<'a, Result<Acted, E>> + Send + Sync>;
type Undo<W, E> = Box<dyn for<'a> Fn(&'a W, &'a Outputs) -> BoxFuture<'a, Result<(), E>> + Send + Sync>;

/// One unit of doing, resuming and undoing. Acting and undoing may each be called again after a crash in the middle,
/// so both must come to the same end however often they run.
pub struct Step<W, E> {
    pub(super) name: &'static str,
    pub(super) act: Act<W, E>,
    pub(super) undo: Option<Undoing<W, E>>,
    pub(super) handles_cancel: bool,
}

/// How a step is undone.
pub(super) struct Undoing<W, E> {
    /// What is put back, for people.
    pub(super) title: &'static str,
    pub(super) act: Undo<W, E>,
}

/// A step that cannot or need not be undone.
pub fn step<W, T, E>(
    name: StepName<T>,
    act: impl for<'a> Fn(&'a W, &'a Outputs) -> BoxFuture<'a, Result<Done<T>, E>> + Send + Sync + 'static,
) -> Step<W, E>
where
    T: Serialize + 'static,
    E: From<JournalError> + 'static,
{
    let name = name.text;
    let write = move |Done { output, summary }: Done<T>| {
        let output = serde_json::to_value(output).map_err(|source| JournalError::Output { step: name, source })?;
        Ok(Acted { output, summary })
    };
    let act: Act<W, E> = Box::new(move |work, outputs| {
        let acting = act(work, outputs);
        acting.map(move |done| done.and_then(write)).boxed()
    });
    Step { name, act, undo: None, handles_cancel: false }
}

impl<W, E> Step<W, E> {
    /// Gives the step its undoing, with what is put back. It is called also when the step failed or died half way.
    #[must_use]
    pub fn undo(
        mut self,
        title: &'static str,
        undo: impl for<'a> Fn(&'a W, &'a Outputs) -> BoxFuture<'a, Result<(), E>> + Send + Sync + 'static,
    ) -> Self {
        self.undo = Some(Undoing { title, act: Box::new(undo) });
        self
    }

    /// The same between what may refuse it and what is told why it failed, if it did. Where the step is dropped in its middle,
    /// nothing comes after it.
    #[must_use]
    pub fn between(
        self,
        before: impl Fn() -> BoxFuture<'static, Result<(), E>> + Send + Sync + 'static,
        after: impl Fn(Option<String>) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self
    where
        W: Sync + 'static,
        E: std::fmt::Display + Send + 'static,
    {
        let (act, after) = (std::sync::Arc::new(self.act), std::sync::Arc::new(after));
        let between: Act<W, E> = Box::new(move |work, outputs| {
            let (first, act, after) = (before(), std::sync::Arc::clone(&act), std::sync::Arc::clone(&after));
            async move {
                first.await?;
                let done = act(work, outputs).await;
                after(done.as_ref().err().map(ToString::to_string)).await;
                done
            }
            .boxed()
        });
        Self { act: between, ..self }
    }

    /// The step watches [`super::RunContext::cancel`] itself and ends soon after it: it is not dropped in its middle.
    /// For steps that drive another program, which must be told to stop and be waited for.
    #[must_use]
    pub fn handles_cancel(mut self) -> Self {
        self.handles_cancel = true;
        self
    }

    /// The name in the journal.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// What undoing the steps of a run would put back, newest first.
pub fn to_undo<W, E>(steps: &[Step<W, E>], replay: &Replay) -> Vec<&'static str> {
    undoings(steps, replay).into_iter().map(|(_, undo)| undo.title).collect()
}

/// The steps that are to be undone, newest first, each with how.
pub(super) fn undoings<'s, W, E>(steps: &'s [Step<W, E>], replay: &Replay) -> Vec<(&'static str, &'s Undoing<W, E>)> {
    let began = |step: &&Step<W, E>| !matches!(replay.state(step.name), StepState::Pending | StepState::Undone);
    steps.iter().rev().filter(began).filter_map(|step| Some((step.name, step.undo.as_ref()?))).collect()
}

/// The digest of a list of steps, by which a run tells whether a program could continue it.
pub fn digest<W, E>(steps: &[Step<W, E>]) -> String {
    let names: Vec<&str> = steps.iter().map(Step::name).collect();
    hex::encode(Sha256::digest(names.join("\n")))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    type Said = Arc<Mutex<Vec<String>>>;

    /// A step that says that it acts, between what comes before and after it.
    fn between(said: &Said, refuses: bool, fails: bool) -> Step<(), JournalError> {
        let error = |text: &str| JournalError::NotFound(text.to_owned());
        let [first, acts, last] = [said, said, said].map(Arc::clone);
        let say = |said: &Said, text: String| said.lock().unwrap().push(text);
        step(StepName::<()>::new("x"), move |(): &(), _| {
            say(&acts, "act".into());
            let done = if fails { Err(error("failed")) } else { Ok(Done::with((), "done")) };
            Box::pin(async move { done })
        })
        .between(
            move || {
                say(&first, "before".into());
                let ready = if refuses { Err(error("refused")) } else { Ok(()) };
                Box::pin(async move { ready })
            },
            move |error| {
                say(&last, error.map_or_else(|| "after".to_owned(), |error| format!("after: {error}")));
                Box::pin(async {})
            },
        )
    }

    #[tokio::test]
    async fn what_comes_before_may_refuse_and_what_comes_after_knows_the_outcome_and_changes_none() {
        for (refuses, fails, wanted) in [
            (false, false, "before, act, after"),
            (false, true, "before, act, after: there is no run `failed`"),
            (true, false, "before"),
        ] {
            let said = Said::default();
            let acted = (between(&said, refuses, fails).act)(&(), &Outputs::default()).await;
            assert_eq!((acted.is_err(), said.lock().unwrap().join(", ")), (refuses || fails, wanted.to_owned()));
        }
    }
}
