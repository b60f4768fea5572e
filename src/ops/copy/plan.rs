//! What is carried over, decided from plain data.

use serde::Serialize;

use super::facts::{AskedBundle, BundleThere, CopyFacts};
use crate::bundle::BundleReference;
use crate::error::{CommandError, Exit, Result};
use crate::text::bytes;

/// What a copy does.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CopyPlan {
    pub from: String,
    pub to: String,
    /// Those that are carried over.
    pub copies: Vec<CopyLine>,
    /// Those that are there, the same to the byte.
    pub there: Vec<String>,
    /// Those that are there as well, and marked as gone: a later prune of that store removes them.
    pub marked: Vec<String>,
    /// Those that cannot be read, with the reason.
    pub unreadable: Vec<(String, String)>,
    /// Those whose name has something else in the other store.
    pub refused: Vec<(String, String)>,
    /// Bytes of those that are carried over.
    pub bytes: u64,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CopyLine {
    pub bundle: String,
    pub bytes: u64,
    #[serde(skip)]
    pub(super) reference: Option<BundleReference>,
    /// Which bundle it is, to the byte.
    pub manifest_sha256: String,
}

/// Decides.
///
/// # Errors
/// [`Exit::Usage`] for one store twice, [`Exit::Store`] where the other store has another bundle of the only name,
/// [`Exit::Space`] without room.
pub(super) fn plan(facts: CopyFacts) -> Result<CopyPlan> {
    if facts.is_itself {
        return Err(CommandError::new(Exit::Usage, format!("bundles are to be copied from {} to itself", facts.to))
            .hint("--to names another folder (/mnt/backup/bundles) or bucket (s3://BUCKET/PREFIX)."));
    }
    let CopyFacts { from, to, asked, there, free_bytes, .. } = facts;
    let mut plan = CopyPlan {
        from,
        to,
        copies: vec![],
        there: vec![],
        marked: vec![],
        unreadable: vec![],
        refused: vec![],
        bytes: 0,
    };
    let (is_one, mut wanted) = (asked.len() == 1, 0);
    for AskedBundle { name, reference, bytes, carried, manifest_sha256 } in asked {
        let manifest_sha256 = match manifest_sha256 {
            Ok(manifest_sha256) => manifest_sha256,
            Err(why) => {
                plan.unreadable.push((name, why));
                continue;
            }
        };
        match there.get(&name) {
            None => {
                plan.bytes += bytes;
                wanted += bytes.saturating_sub(carried);
                plan.copies.push(CopyLine { bundle: name, bytes, reference: Some(reference), manifest_sha256 });
            }
            Some(BundleThere::Whole(other)) if *other == manifest_sha256 => plan.there.push(name),
            Some(BundleThere::Marked(other)) if *other == manifest_sha256 => plan.marked.push(name),
            Some(known) if is_one => return Err(another(&plan.to, &name, known)),
            // The others go on: one that is damaged there keeps none of them away.
            Some(known) => {
                let why = another(&plan.to, &name, known).message().to_owned();
                plan.refused.push((name, why));
            }
        }
    }
    if let Some(free) = free_bytes.filter(|free| *free < wanted) {
        let what = format!("store {} has {} free, and the copies need {}", plan.to, bytes(free), bytes(wanted));
        return Err(CommandError::new(Exit::Space, what).hint("Free room there, or copy fewer: by name or --version."));
    }
    Ok(plan)
}

fn another(to: &str, name: &str, known: &BundleThere) -> CommandError {
    let what = match known {
        BundleThere::Whole(_) | BundleThere::Marked(_) => {
            format!("store {to} has another bundle under the name {name}: its manifest differs")
        }
        BundleThere::Hollow => format!("store {to} has a record of bundle {name} whose bytes are gone"),
        BundleThere::Unreadable(why) => format!("what store {to} has under the name {name} cannot be read: {why}"),
    };
    CommandError::new(Exit::Store, what)
        .hint("Nothing is ever overwritten: look at it there, and move it away, or copy into another store or prefix.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(there: &[(&str, BundleThere)]) -> CopyFacts {
        let asked = |name: &str| AskedBundle {
            name: name.into(),
            reference: BundleReference::Stored { store: "/a".into(), id: name.into() },
            bytes: 10,
            carried: 0,
            manifest_sha256: if name == "x" { Err("damaged".into()) } else { Ok(format!("of {name}")) },
        };
        CopyFacts {
            from: "/a".into(),
            to: "s3://b".into(),
            asked: ["b1", "x", "b2"].map(asked).to_vec(),
            there: there.iter().map(|(name, there)| ((*name).to_owned(), there.clone())).collect(),
            free_bytes: None,
            is_itself: false,
        }
    }

    #[test]
    fn what_is_there_stays_and_what_cannot_be_read_is_named() {
        let plan = plan(facts(&[("b2", BundleThere::Whole("of b2".into()))])).unwrap();
        let copies: Vec<&str> = plan.copies.iter().map(|line| line.bundle.as_str()).collect();
        assert_eq!((copies, plan.there, plan.bytes), (vec!["b1"], vec!["b2".to_owned()], 10));
        assert_eq!(plan.unreadable, [("x".to_owned(), "damaged".to_owned())]);
    }

    #[test]
    fn what_is_marked_as_gone_there_is_no_copy_to_rely_on() {
        let plan = plan(facts(&[("b2", BundleThere::Marked("of b2".into()))])).unwrap();
        assert_eq!((plan.there.len(), plan.marked, plan.copies.len()), (0, vec!["b2".to_owned()], 1));
    }

    #[test]
    fn another_bundle_of_the_name_is_refused_and_nothing_goes_to_itself_or_where_no_room_is() {
        for there in
            [BundleThere::Whole("of another".into()), BundleThere::Hollow, BundleThere::Unreadable("half".into())]
        {
            let mut alone = facts(&[("b1", there.clone())]);
            alone.asked.truncate(1);
            let error = plan(alone).unwrap_err();
            assert!(error.exit() == Exit::Store && error.message().contains("b1"), "{error}");
            let plan = plan(facts(&[("b1", there)])).unwrap();
            assert_eq!((plan.refused[0].0.as_str(), plan.copies.len()), ("b1", 1), "the other one goes on");
        }
        let itself = CopyFacts { is_itself: true, ..facts(&[]) };
        assert_eq!(plan(itself).unwrap_err().exit(), Exit::Usage);
        assert_eq!(plan(CopyFacts { free_bytes: Some(19), ..facts(&[]) }).unwrap_err().exit(), Exit::Space);
        assert!(plan(CopyFacts { free_bytes: Some(20), ..facts(&[]) }).is_ok());
        let mut begun = facts(&[]);
        begun.asked.iter_mut().for_each(|asked| asked.carried = 6);
        assert!(plan(CopyFacts { free_bytes: Some(8), ..begun }).is_ok(), "what is there needs no room");
    }
}
