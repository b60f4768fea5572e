//! Whether nobody wrote while the position was noted: looked at, not concluded. What decides asks nobody.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::bundle::OutOfScope;
use crate::cluster::{PodAddress, Session};
use crate::error::{CommandError, Exit, Result};
use crate::ops::quiesce::WRITERS;
use crate::opschain::workloads::{AGENT_PODS, POOL_PODS, STAY_CONNECTED, WORKING_PODS};
use crate::postgres::Lsn;
use crate::settings::{Allow, Quiesce};

/// What stands before the name of a transaction that was prepared, where its session would say what it is called.
const PREPARED: &str = " (prepared transaction ";

/// How long a new pod may take to say its address.
pub(super) const ADDRESS_LIMIT: Duration = Duration::from_secs(15);

/// The noted position, and what was allowed and seen meanwhile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WalMark {
    pub lsn: Lsn,
    pub seen: Vec<OutOfScope>,
}

/// What there was while the position was noted.
pub(super) struct QuietFacts {
    pub sessions: Vec<Session>,
    /// Databases in which sessions came and went unseen, while something was written.
    pub unseen: Vec<String>,
    pub pods: Vec<PodAddress>,
    /// Pods of changes, steps and agents.
    pub working: Vec<String>,
}

/// What is to be said of the moment in the bundle, where it was allowed.
///
/// # Errors
/// [`Exit::Busy`] naming who may have written.
pub(super) fn judge(facts: &QuietFacts, allow: &[Allow]) -> Result<Vec<OutOfScope>> {
    refuse_work(&facts.working, allow)?;
    let mut foreign = foreign(&facts.sessions, &facts.pods, false);
    if foreign.is_empty() {
        foreign.extend(facts.unseen.iter().map(|database| format!("a session on {database} that came and went")));
    }
    if foreign.is_empty() {
        return Ok(Vec::new());
    }
    refuse_prepared(&foreign)?;
    if !allow.contains(&Allow::ForeignWriters) {
        return Err(may_write(&foreign));
    }
    Ok(vec![OutOfScope {
        what: "a moment without writers".into(),
        why: format!("connected while the position was noted, and able to write: {}", foreign.join(", ")),
        whereabouts: "What these had written until then is in the bundle, perhaps half done: look at it.".into(),
    }])
}

/// Running work would be in the bundle half done: refused, unless the bundle is made without quiescing or it may be
/// there, or OpsChain is asked to begin none and waited for. So are others that may write: looked at here so that nothing is stopped in vain.
pub(super) fn running_work(
    working: &[String],
    foreign: &[String],
    quiesce: Quiesce,
    allow: &[Allow],
    waits: bool,
) -> Result<Option<String>> {
    refuse_prepared(foreign)?;
    if quiesce != Quiesce::None {
        if !waits {
            refuse_work(working, allow)?;
        }
        if !foreign.is_empty() && !allow.contains(&Allow::ForeignWriters) {
            return Err(may_write(foreign));
        }
    }
    let working: Vec<&str> = working.iter().map(String::as_str).collect();
    let then = if waits { "it is waited for in maintenance mode" } else { "the bundle will hold that work half done" };
    let left = || format!("{}; {then}", at_work(&working));
    Ok((!working.is_empty()).then(left))
}

/// Refuses the pods at work that are not allowed.
///
/// # Errors
/// [`Exit::Busy`] naming them.
fn refuse_work(working: &[String], allow: &[Allow]) -> Result<()> {
    let waits = |name: &str| {
        (name.starts_with(AGENT_PODS) && allow.contains(&Allow::Agents))
            || (name.starts_with(POOL_PODS) && allow.contains(&Allow::Pool))
    };
    let names: Vec<&str> = working.iter().map(String::as_str).filter(|name| !waits(name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(CommandError::new(Exit::Busy, at_work(&names))
        .hint("Wait until changes, steps and agents have ended; or take the state as it is with --quiesce none.")
        .hint("Agents and pods of the executor pool that only wait may stay: --allow agents, --allow pool."))
}

fn at_work(names: &[&str]) -> String {
    format!("{} at work: {}", if names.len() == 1 { "a pod is" } else { "pods are" }, names.join(", "))
}

fn may_write(foreign: &[String]) -> CommandError {
    CommandError::new(Exit::Busy, format!("others may write to the database: {}", foreign.join(", ")))
        .hint("End these sessions and try again; or take what they write as it is: --allow foreign-writers.")
}

/// Refuses a prepared transaction, whatever is allowed: the log holds it, and a database with room for none, as
/// PostgreSQL makes it and the operator leaves it, does not start from that log.
fn refuse_prepared(foreign: &[String]) -> Result<()> {
    let prepared = |who: &'_ String| {
        let (of, rest) = who.rsplit_once(PREPARED)?;
        Some((of.to_owned(), rest.strip_suffix(')')?.to_owned()))
    };
    let Some((of, name)) = foreign.iter().find_map(prepared) else { return Ok(()) };
    let what = format!("prepared transaction `{name}` is open: a database that is restored from here would not start");
    let way = match name.chars().all(crate::text::is_safe) {
        true => format!(", or `ROLLBACK PREPARED '{}'` there", name.replace('\'', "''")),
        // Its name cannot be typed as it is shown.
        false => String::new(),
    };
    Err(CommandError::new(Exit::Busy, what).hint(format!("It is of {of}: have its owner end it{way}.")))
}

/// The sessions that belong neither to what stays connected, as in the manual guide, nor, while the application `runs`, to
/// its own. Of a pooler only those that do something: it keeps the others for clients that have gone.
pub(super) fn foreign(sessions: &[Session], pods: &[PodAddress], runs: bool) -> Vec<String> {
    let is_own = |pod: &PodAddress| {
        let is_of = |names: &[&str]| pod.workload.as_deref().is_some_and(|workload| names.contains(&workload));
        let works = || WORKING_PODS.iter().any(|prefix| pod.name.starts_with(prefix));
        is_of(STAY_CONNECTED) || (runs && (is_of(&WRITERS) || works()))
    };
    let whose = |session: &Session| {
        let pod = session.address.as_ref().and_then(|address| pods.iter().find(|pod| pod.address == *address));
        let expected = pod.is_some_and(|pod| is_own(pod) || (pod.pooler && !session.busy));
        let place = match (pod, &session.address) {
            (Some(pod), _) => format!("pod {}", pod.name),
            (None, Some(address)) => address.clone(),
            (None, None) => "the database's own pod".to_owned(),
        };
        let Session { role, database, application, .. } = session;
        let with = if application.is_empty() { String::new() } else { format!(" ({application})") };
        (!expected).then(|| format!("{role} on {database} from {place}{with}"))
    };
    let mut all: Vec<String> = sessions.iter().filter_map(whose).collect();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_transaction_is_refused_whatever_is_allowed() {
        let prepared = Session { application: "prepared transaction b-1 (x)".into(), ..session(None, true) };
        let found = foreign(&[session(Some("10.0.0.9"), true), prepared], &pods(), false);
        let error = running_work(&[], &found, Quiesce::None, &[Allow::ForeignWriters], false).unwrap_err();
        assert_eq!(error.exit(), Exit::Busy);
        assert!(error.message().starts_with("prepared transaction `b-1 (x)` is open"), "{error}");
        assert!(error.hints()[0].contains("opschain on opschain"), "{:?}", error.hints());
        assert!(running_work(&[], &found[..1], Quiesce::None, &[], false).is_ok());
    }

    #[test]
    fn the_name_of_a_prepared_transaction_ends_no_statement_of_a_hint() {
        let hint = |name: &str| {
            let application = format!("prepared transaction {name}");
            let found = foreign(&[Session { application, ..session(None, true) }], &[], false);
            running_work(&[], &found, Quiesce::None, &[], false).unwrap_err().hints()[0].clone()
        };
        let hinted = hint("x'; DROP TABLE ledger; --");
        assert!(hinted.contains("`ROLLBACK PREPARED 'x''; DROP TABLE ledger; --'`"), "{hinted}");
        assert!(!hint("x\u{1b}]0;").contains("ROLLBACK"));
    }

    fn session(address: Option<&str>, busy: bool) -> Session {
        let (role, database) = ("opschain".into(), "opschain".into());
        Session { address: address.map(str::to_owned), role, database, application: "psql".into(), busy }
    }

    fn pod(name: &str, address: &str) -> PodAddress {
        let workload = name.rsplit_once('-').map(|(workload, _)| workload.to_owned());
        PodAddress { name: name.into(), address: address.into(), workload, pooler: name.contains("pooler") }
    }

    fn pods() -> Vec<PodAddress> {
        vec![
            pod("opschain-secret-vault-0", "10.0.0.1"),
            pod("opschain-log-aggregator-7d9", "10.0.0.2"),
            pod("opschain-db-pooler-rw-1", "10.0.0.3"),
            pod("opschain-api-5f6", "10.0.0.4"),
        ]
    }

    fn judged(change: impl FnOnce(&mut QuietFacts), allow: &[Allow]) -> Result<Vec<OutOfScope>> {
        let mut facts = QuietFacts {
            sessions: vec![session(Some("10.0.0.1"), true), session(Some("10.0.0.3"), false)],
            unseen: Vec::new(),
            pods: pods(),
            working: Vec::new(),
        };
        change(&mut facts);
        judge(&facts, allow)
    }

    fn refused(change: impl FnOnce(&mut QuietFacts)) -> String {
        let error = judged(change, &[]).unwrap_err();
        assert_eq!(error.exit(), Exit::Busy);
        assert!(!error.hints().is_empty());
        error.message().to_owned()
    }

    #[test]
    fn a_moment_in_which_nobody_could_write_needs_no_word() {
        assert!(judged(|_| {}, &[]).unwrap().is_empty());
    }

    #[test]
    fn a_session_that_may_write_is_named_by_role_database_and_place() {
        let others = [
            (Some("10.9.9.9"), "10.9.9.9"),
            (Some("10.0.0.3"), "pod opschain-db-pooler-rw-1"),
            (Some("10.0.0.4"), "pod opschain-api-5f6"),
            (None, "the database's own pod"),
        ];
        for (address, place) in others {
            let text = refused(|facts| facts.sessions.push(session(address, true)));
            assert_eq!(text, format!("others may write to the database: opschain on opschain from {place} (psql)"));
        }
        let seen =
            judged(|facts| facts.sessions.push(session(Some("10.9.9.9"), false)), &[Allow::ForeignWriters]).unwrap();
        assert!(seen[0].why.ends_with("able to write: opschain on opschain from 10.9.9.9 (psql)"), "{seen:?}");
        let text = refused(|facts| facts.unseen = vec!["opschain".into()]);
        assert_eq!(text, "others may write to the database: a session on opschain that came and went");
        assert!(foreign(&[session(Some("10.0.0.4"), true)], &pods(), true).is_empty());
        // A name alone is worn by any pod.
        let by_hand: Vec<PodAddress> = pods().into_iter().map(|pod| PodAddress { workload: None, ..pod }).collect();
        for address in ["10.0.0.1", "10.0.0.2", "10.0.0.4"] {
            assert_eq!(foreign(&[session(Some(address), true)], &by_hand, true).len(), 1, "{address}");
        }
    }

    #[test]
    fn others_that_are_connected_are_refused_before_anything_is_stopped_unless_they_are_allowed() {
        let planned =
            |quiesce, allow: &[Allow]| running_work(&[], &["opschain from 10.9.9.9".into()], quiesce, allow, true);
        let error = planned(Quiesce::Brief, &[Allow::Agents]).unwrap_err();
        assert_eq!(error.message(), "others may write to the database: opschain from 10.9.9.9");
        assert!(planned(Quiesce::Brief, &[Allow::ForeignWriters]).unwrap().is_none());
        assert!(planned(Quiesce::None, &[]).unwrap().is_none());
    }

    #[test]
    fn work_that_begins_in_the_moment_is_refused_unless_it_is_allowed() {
        assert_eq!(refused(|facts| facts.working = vec!["change-7".into()]), "a pod is at work: change-7");
        let waiting = |facts: &mut QuietFacts| facts.working = vec!["opschain-agent-1".into(), "executor-2".into()];
        assert_eq!(refused(waiting), "pods are at work: opschain-agent-1, executor-2");
        assert!(judged(waiting, &[Allow::Agents]).is_err() && judged(waiting, &[Allow::Pool]).is_err());
        assert!(judged(waiting, &[Allow::Agents, Allow::Pool]).unwrap().is_empty());
    }
}
