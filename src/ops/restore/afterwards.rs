//! What is left for people to do after a restore, by what was seen of the bundle and of what was there before.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::config::PairedConfig;
use super::facts::OpenBundle;
use super::held::HoldFacts;
use crate::bundle::OutOfScope;
use crate::cluster::KeptObject;
use crate::error::Result;
use crate::ops::Ctx;
use crate::ops::release::secrets_from_bytes;
use crate::opschain::releases::VAULT_TOKEN_LOGGED_BEFORE;
use crate::opschain::scope::{self, ScopeFacts};
use crate::opschain::secrets::AUTHORITY;
use crate::opschain::version::Version;

/// The certificate of the authority in its Secret.
const CERTIFICATE: &str = "tls.crt";

/// What was seen when the restore was planned. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AftermathFacts {
    /// When the bundle was made.
    made: Timestamp,
    /// Whether tokens were signed with another key before; unknown where no install was there to compare with.
    token_key_changed: Option<bool>,
    authority: Authority,
    /// Whether the release that the bundle was made from has written the root token of its vault to a log.
    vault_token_logged: bool,
}

/// What becomes of the certificate authority that the nodes trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Authority {
    /// The one that was there.
    Stays,
    /// The values name certificates that somebody else has signed.
    Given,
    /// The bundle's comes to a cluster that may never have seen it.
    Elsewhere,
    /// The bundle's replaces another.
    Replaced,
    /// The bundle has none.
    New,
}

/// What is left to do, in sentences.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AfterRestore {
    /// What the users of OpsChain have to know.
    pub tell_users: Vec<String>,
    /// What to make anew, since others may have read it.
    pub rotate: Vec<String>,
    /// What the nodes, and whoever speaks to OpsChain, have to trust.
    pub trust: Vec<String>,
}

/// Looks at the bundle, and at the revision of the install that is `replaced`, if one is. `keeps_secrets`: those of the install
/// stay as they are.
///
/// # Errors
/// The bundle's Secrets cannot be opened; cluster or helm cannot be asked.
pub(super) async fn look(
    ctx: &Ctx,
    bundle: &OpenBundle,
    paired: &PairedConfig,
    replaced: Option<u32>,
    keeps_secrets: bool,
    from: &HoldFacts<'_>,
) -> Result<AftermathFacts> {
    let values = paired.values.to_json();
    let before = match replaced {
        Some(revision) => Some(ctx.stored_values(revision).await?.unwrap_or_default()),
        None => None,
    };
    let authority = if keeps_secrets {
        Authority::Stays
    } else {
        let carried = secrets_from_bytes(&bundle.member("config/secrets.yaml.age")?)?;
        let carried = carried.iter().find(|kept| kept.object().name == AUTHORITY).and_then(certificate);
        let there = match replaced {
            Some(_) => ctx.cluster().await?.secret(AUTHORITY).await?.as_ref().and_then(certificate),
            None => None,
        };
        let is_same_cluster = from.source_cluster == Some(from.target_cluster);
        authority(&values, carried.as_deref(), there.as_deref(), is_same_cluster)
    };
    let by = bundle.reader.header().opschain.version.parse::<Version>().ok().and_then(|version| version.dated_tag());
    let logs = by.is_some_and(|date| date.as_str() < VAULT_TOKEN_LOGGED_BEFORE);
    Ok(AftermathFacts {
        made: bundle.reader.header().created,
        token_key_changed: before.as_ref().and_then(|before| token_key_changed(before, &values)),
        authority,
        vault_token_logged: logs && !ScopeFacts::of_values(&values).external_vault,
    })
}

fn certificate(kept: &KeptObject) -> Option<Vec<u8>> {
    kept.value(CERTIFICATE).map(|value| value.to_vec())
}

fn authority(values: &Value, carried: Option<&[u8]>, there: Option<&[u8]>, is_same_cluster: bool) -> Authority {
    if values["useCertManager"] == Value::Bool(false) {
        return Authority::Given;
    }
    match (carried, there) {
        (Some(carried), Some(there)) if carried == there => Authority::Stays,
        (Some(_), Some(_)) => Authority::Replaced,
        (Some(_), None) if is_same_cluster => Authority::Stays,
        (Some(_), None) => Authority::Elsewhere,
        (None, Some(_)) => Authority::Stays,
        (None, None) => Authority::New,
    }
}

/// A key that either does not set is made by the release, and nobody can compare it.
fn token_key_changed(before: &Value, after: &Value) -> Option<bool> {
    let key = |values: &Value| values.pointer("/env/OPSCHAIN_TOKEN_SECRET_KEY")?.as_str().map(str::to_owned);
    Some(key(before)? != key(after)?)
}

impl AfterRestore {
    /// What `facts` and the `scope` of the bundle leave to do. A plan of an earlier `dr` has no facts.
    pub(super) fn of(facts: Option<&AftermathFacts>, bundle: &str, scope: &[OutOfScope]) -> Self {
        let left: BTreeSet<&str> = scope.iter().map(|item| item.what.as_str()).collect();
        let mut todo = Self::default();
        let mut tell = |holds: bool, line: String| {
            if holds {
                todo.tell_users.push(line);
            }
        };
        if let Some(facts) = facts {
            let made = facts.made.strftime("%Y-%m-%d %H:%MZ");
            tell(true, format!("What was done in OpsChain since bundle {bundle} was made ({made}) is gone."));
        }
        tell(
            left.contains(scope::WORK),
            "Changes and steps that were at work then are interrupted: run them again.".into(),
        );
        tell(
            [scope::MOMENT, scope::UNSEEN_WORK].iter().any(|what| left.contains(what)),
            "What was at work then may be half done: look at it in OpsChain before anything else.".into(),
        );
        tell(left.contains(scope::AGENTS), "Agents that ran then are gone: start them again.".into());
        match facts.map(|facts| facts.token_key_changed) {
            Some(Some(true)) => {
                tell(true, "Everybody logs in again: tokens were signed with another OPSCHAIN_TOKEN_SECRET_KEY.".into());
            }
            Some(None) => tell(
                true,
                "Who is refused logs in again: a token holds where OPSCHAIN_TOKEN_SECRET_KEY is the one that signed it, \
                 and there was none here to compare with."
                    .into(),
            ),
            _ => {}
        }
        tell(
            left.contains(scope::RUNNER_TOKENS),
            "Where a remote runner is refused, its token is newer than the bundle: delete its target and make a new one."
                .into(),
        );
        let Some(facts) = facts else { return todo };
        if facts.vault_token_logged {
            todo.rotate.push(format!(
                "The secret vault's root token and recovery key: releases before {VAULT_TOKEN_LOGGED_BEFORE} write them \
                 to the API's log when they first start. Purge the log outputs, too."
            ));
        }
        todo.trust.extend(facts.authority.words());
        todo
    }
}

impl Authority {
    fn words(self) -> Option<String> {
        let text = match self {
            Self::Stays | Self::Given => return None,
            Self::Elsewhere => "is the bundle's, and nothing says that this cluster has seen it before",
            Self::Replaced => "is the bundle's, in the place of the one that was there",
            Self::New => "is not in the bundle, so one that the install makes is new",
        };
        Some(format!("The certificate authority (Secret {AUTHORITY}) {text}: let nodes and clients trust it."))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts() -> AftermathFacts {
        AftermathFacts {
            made: "2026-08-20T10:15:00Z".parse().unwrap(),
            token_key_changed: Some(false),
            authority: Authority::Stays,
            vault_token_logged: false,
        }
    }

    fn scope_of(what: &[&str]) -> Vec<OutOfScope> {
        let item = |what: &&str| OutOfScope { what: (*what).into(), why: String::new(), whereabouts: String::new() };
        what.iter().map(item).collect()
    }

    #[test]
    fn users_are_told_what_is_gone_interrupted_and_refused_and_nothing_that_is_not_so() {
        let gone = "What was done in OpsChain since bundle b was made (2026-08-20 10:15Z) is gone.";
        assert_eq!(AfterRestore::of(Some(&facts()), "b", &[]).tell_users, [gone]);
        let left = scope_of(&[scope::WORK, scope::MOMENT, scope::AGENTS, scope::RUNNER_TOKENS]);
        let told = AfterRestore::of(Some(&AftermathFacts { token_key_changed: Some(true), ..facts() }), "b", &left);
        let begin =
            ["What was done", "Changes and steps", "What was at work", "Agents", "Everybody logs in", "Where a"];
        assert_eq!(told.tell_users.len(), begin.len(), "{told:?}");
        assert!(told.tell_users.iter().zip(begin).all(|(line, begin)| line.starts_with(begin)), "{told:?}");
        assert!(told.rotate.is_empty() && told.trust.is_empty());
        let unknown = AfterRestore::of(Some(&AftermathFacts { token_key_changed: None, ..facts() }), "b", &[]);
        assert!(unknown.tell_users[1].contains("none here to compare with"), "{unknown:?}");
        assert_eq!(AfterRestore::of(None, "b", &[]), AfterRestore::default(), "of a plan without facts");
    }

    #[test]
    fn every_word_that_a_scope_is_known_by_is_one_that_scopes_have() {
        let all = ScopeFacts {
            agents: true,
            work: true,
            not_quiesced: true,
            unseen_work: Some("nobody could ask"),
            ..ScopeFacts::default()
        };
        let said = scope::left_out(all);
        for what in [scope::WORK, scope::MOMENT, scope::UNSEEN_WORK, scope::AGENTS, scope::RUNNER_TOKENS] {
            assert!(said.iter().any(|item| item.what == what), "{what}");
        }
    }

    #[test]
    fn what_a_log_has_seen_is_rotated_and_a_new_authority_trusted() {
        let left = AftermathFacts { authority: Authority::New, vault_token_logged: true, ..facts() };
        let todo = AfterRestore::of(Some(&left), "b", &[]);
        assert!(todo.rotate[0].starts_with("The secret vault's root token"), "{todo:?}");
        assert!(todo.trust[0].contains("opschain-ca-key-pair) is not in the bundle"), "{todo:?}");
    }

    #[test]
    fn the_authority_is_the_one_that_was_there_or_another() {
        let of = |carried, there, same| authority(&json!({}), carried, there, same);
        let (a, b): (Option<&[u8]>, Option<&[u8]>) = (Some(b"a"), Some(b"b"));
        assert_eq!(of(a, a, true), Authority::Stays);
        assert_eq!(of(a, b, true), Authority::Replaced);
        assert_eq!(of(a, None, true), Authority::Stays);
        assert_eq!(of(a, None, false), Authority::Elsewhere);
        assert_eq!(of(None, b, true), Authority::Stays);
        assert_eq!(of(None, None, true), Authority::New);
        assert_eq!(authority(&json!({"useCertManager": false}), None, None, true), Authority::Given);
    }

    #[test]
    fn a_token_key_is_compared_where_both_are_known() {
        let values = |key: &str| json!({"env": {"OPSCHAIN_TOKEN_SECRET_KEY": key}});
        assert_eq!(token_key_changed(&values("a"), &values("b")), Some(true));
        assert_eq!(token_key_changed(&values("a"), &values("a")), Some(false));
        assert_eq!(token_key_changed(&json!({}), &values("a")), None);
    }
}
