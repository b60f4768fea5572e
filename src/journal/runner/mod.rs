//! Executes steps under a journal: announce, act, report. What becomes of a run whose step fails is its verb's to say.

use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::error::{Interrupted, JournalError, StepError};
use super::fault;
use super::record::{self, Outcome, Record, StepState};
use super::run::Journal;
use super::step::{self, Outputs, Step};
use crate::clock;
use crate::event::{Event, Events};
use crate::redact::Secrets;
use crate::text::chain;
use crate::trace;

/// What the runner needs of the program around it.
#[derive(Debug, Clone)]
pub struct RunContext {
    /// The verb, for people: `bundle create`.
    pub label: &'static str,
    /// Who listens.
    pub events: Events,
    /// Cancelled when the user asks to stop.
    pub cancel: CancellationToken,
    /// What no record may show.
    pub secrets: Secrets,
}

/// A run that did not come to its end, and stands open.
#[derive(Debug)]
pub struct RunFailure<E> {
    pub run: String,
    /// Why the step failed.
    pub error: E,
    /// The step that it stopped in.
    pub step: Option<String>,
}

/// A step that was not undone. The run stands open, and undoing continues with this step when it is tried again.
#[derive(Debug, thiserror::Error)]
#[error("{title}: {error}")]
pub struct UndoFailure<E> {
    /// The run's id.
    pub run: String,
    /// The step's name.
    pub step: Option<String>,
    /// What was to be put back, for people.
    pub title: &'static str,
    pub error: E,
}

/// Executes the steps that have not succeeded yet, in order, and ends the run.
///
/// # Errors
/// [`RunFailure`]: the run stands open.
pub async fn execute<W, E: StepError>(
    context: &RunContext,
    journal: &mut Journal,
    steps: &[Step<W, E>],
    work: &W,
) -> Result<Outputs, RunFailure<E>> {
    let (run, folder) = traced_as(journal);
    let _events = context.events.begin_run(&run);
    let executed = trace::run(&run, folder.as_deref(), forward(context, journal, steps, work)).await;
    executed.map_err(|error| RunFailure { error, step: journal.replay().stopped_in().map(str::to_owned), run })
}

async fn forward<W, E: StepError>(
    context: &RunContext,
    journal: &mut Journal,
    steps: &[Step<W, E>],
    work: &W,
) -> Result<Outputs, E> {
    let (replay, events) = (journal.replay(), &context.events);
    events.emit(Event::RunStarted {
        verb: context.label.to_owned(),
        steps: steps.iter().map(|step| step.name.to_owned()).collect(),
        resumed: !replay.states.is_empty(),
    });
    let mut outputs = Outputs::of(replay);
    for (index, step) in steps.iter().enumerate() {
        let (name, number, of) = (step.name.to_owned(), index + 1, steps.len());
        if journal.replay().state(step.name) == StepState::Succeeded {
            events.emit(Event::StepSkipped { step: name, number, of });
            continue;
        }
        events.emit(Event::StepStarted { step: name.clone(), number, of });
        let begun = Instant::now();
        match trace::step(step.name, act(context, journal, step, work, &mut outputs)).await {
            Ok(summary) => {
                events.emit(Event::StepDone { step: name, summary, milliseconds: since(begun) });
            }
            Err(error) => {
                let text = error.headline().to_owned();
                events.emit(Event::StepFailed { step: name, error: text, milliseconds: since(begun) });
                return Err(error);
            }
        }
    }
    journal.append(Record::Ended { outcome: Outcome::Done, at: clock::now() })?;
    Ok(outputs)
}

/// Announces, acts and reports. Returns what was seen.
async fn act<W, E: StepError>(
    context: &RunContext,
    journal: &mut Journal,
    step: &Step<W, E>,
    work: &W,
    outputs: &mut Outputs,
) -> Result<String, E> {
    journal.append(Record::Started { step: step.name.into(), at: clock::now() })?;
    let acted = async {
        if context.cancel.is_cancelled() {
            return Err(Interrupted.into());
        }
        fault::point(&format!("{}:before", step.name))?;
        let acted = tokio::select! {
            acted = (step.act)(work, outputs) => acted?,
            () = context.cancel.cancelled(), if !step.handles_cancel => return Err(Interrupted.into()),
        };
        fault::point(&format!("{}:after", step.name))?;
        Ok::<_, E>(acted)
    };
    let acted = match acted.await {
        Ok(acted) => acted,
        Err(error) => {
            let text = context.secrets.scrub(&error.to_string()).into_owned();
            let failed = journal.append(Record::Failed { step: step.name.into(), error: text, at: clock::now() });
            if let Err(unwritten) = failed {
                // The step's own error is the one to be told; without its record the step counts as begun.
                context.events.warn(chain(&unwritten), None);
            }
            return Err(error);
        }
    };
    journal.append(Record::Succeeded {
        step: step.name.into(),
        output: acted.output.clone(),
        summary: context.secrets.scrub(&acted.summary).into_owned(),
        at: clock::now(),
    })?;
    outputs.insert(step.name, acted.output);
    Ok(acted.summary)
}

/// The run's id, and its folder where it has one: its log and its timing go there.
fn traced_as(journal: &Journal) -> (String, Option<PathBuf>) {
    (journal.replay().begun.run.clone(), journal.folder().map(Path::to_owned))
}

fn since(begun: Instant) -> u64 {
    begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
}

/// Undoes every step that began, newest first, and ends the run with `outcome`. Not stopped by Ctrl-C: it is what
/// Ctrl-C asks for.
///
/// # Errors
/// The first undoing that failed; the run then stands open, and the next call continues there.
pub async fn put_back<W, E: StepError>(
    context: &RunContext,
    journal: &mut Journal,
    steps: &[Step<W, E>],
    work: &W,
    outcome: Outcome,
) -> Result<(), UndoFailure<E>> {
    let (run, folder) = traced_as(journal);
    let _events = context.events.begin_run(&run);
    trace::run(&run, folder.as_deref(), undo_all(context, journal, steps, work, outcome)).await
}

async fn undo_all<W, E: StepError>(
    context: &RunContext,
    journal: &mut Journal,
    steps: &[Step<W, E>],
    work: &W,
    outcome: Outcome,
) -> Result<(), UndoFailure<E>> {
    let outputs = Outputs::of(journal.replay());
    let run = journal.replay().begun.run.clone();
    let events = &context.events;
    let undoings = step::undoings(steps, journal.replay());
    let of = undoings.len();
    // Undoing is safe to repeat: what cannot be written down is done all the same, and done again by whoever closes the run.
    let mut unwritten = None;
    let mut write = |journal: &mut Journal, record: Record| {
        if unwritten.is_none()
            && let Err(error) = journal.append(record)
        {
            let text = format!("the run stays open, and what was begun is put back all the same: {}", chain(&error));
            events.warn(text, None);
            unwritten = Some(error);
        }
    };
    for (number, (name, undo)) in (1..).zip(undoings) {
        debug_assert!(record::next(journal.replay().state(name), record::StepEvent::Undo).is_some());
        let (begun, title, step) = (Instant::now(), undo.title, name.to_owned());
        events.emit(Event::Undoing { step: step.clone(), title: title.to_owned(), number, of });
        let undone = async {
            write(journal, Record::UndoStarted { step: step.clone(), at: clock::now() });
            fault::point(&format!("{name}:undo"))?;
            (undo.act)(work, &outputs).await?;
            write(journal, Record::UndoFinished { step: step.clone(), at: clock::now() });
            Ok::<_, E>(())
        };
        if let Err(error) = trace::step(&format!("undo {name}"), undone).await {
            let said = format!("not put back: {}", error.headline());
            events.emit(Event::StepFailed { step: step.clone(), error: said, milliseconds: since(begun) });
            let text = context.secrets.scrub(&error.to_string()).into_owned();
            write(journal, Record::UndoFailed { step: step.clone(), error: text, at: clock::now() });
            return Err(UndoFailure { run, step: Some(step), title, error });
        }
        events.emit(Event::StepUndone { step, summary: "put back".into(), milliseconds: since(begun) });
    }
    write(journal, Record::Ended { outcome, at: clock::now() });
    let unclosed = |error: JournalError| UndoFailure { run, step: None, title: "close the run", error: error.into() };
    unwritten.map_or(Ok(()), |error| Err(unclosed(error)))
}

#[cfg(test)]
mod tests;
