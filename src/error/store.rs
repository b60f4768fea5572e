//! What the errors of a store mean to the operator.

use crate::store::StoreError;

use super::{CommandError, Exit};

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        let (exit, hints) = advice(&error);
        let message = error.to_string();
        let mut command = Self::new(exit, message);
        if let StoreError::Unusable { source, .. } | StoreError::Failed { source, .. } = error {
            command = command.because(source);
        }
        hints.into_iter().fold(command, Self::hint)
    }
}

/// The exit code and the ways out; `bundle` uses it for faults whose cause is the store.
pub(super) fn advice(error: &StoreError) -> (Exit, Vec<String>) {
    match error {
        StoreError::NotFound { .. } => (Exit::NotFound, vec!["`dr bundle list` shows what the store holds.".into()]),
        StoreError::BadName(_) => (Exit::Usage, vec!["`dr bundle list` shows the names of the bundles.".into()]),
        StoreError::Full { place, .. } => (
            Exit::Space,
            vec![
                format!("Free room under {place} (`df -h {place}`) and run it again; nothing half was left there."),
                "`dr bundle list` shows what is there; a bundle is one folder with all that belongs to it.".into(),
            ],
        ),
        StoreError::Busy { .. } => (Exit::Locked, vec!["`dr run list` shows the runs that are under way.".into()]),
        StoreError::Exists { .. } => {
            (Exit::Store, vec!["Bundles are never overwritten: remove the old one first if it must go.".into()])
        }
        error if error.is_transient() => {
            (Exit::Store, vec!["The store may be back in a moment: try again; `dr doctor` checks it.".into()])
        }
        StoreError::Unusable { place, .. } => (
            Exit::Store,
            vec![format!("Look at `ls -ld {place}`, or set another store in dr.toml; `dr doctor` checks it.")],
        ),
        StoreError::Short { .. } | StoreError::Failed { .. } | StoreError::Poisoned(_) => (
            Exit::Store,
            vec![
                "Look at the disk of the store (`dmesg`, `df -h`); `dr bundle list` shows what is whole there.".into(),
            ],
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Cause;

    #[test]
    fn each_kind_has_its_exit_code_and_a_way_out() {
        let name = || "b".to_owned();
        let io = || Cause::from("broken");
        for (error, exit) in [
            (StoreError::NotFound { object: name(), place: name() }, Exit::NotFound),
            (StoreError::BadName(name()), Exit::Usage),
            (StoreError::Full { object: name(), place: name(), written: 1 }, Exit::Space),
            (StoreError::Busy { object: name(), place: name() }, Exit::Locked),
            (StoreError::Exists { object: name(), place: name() }, Exit::Store),
            (StoreError::Unusable { place: name(), transient: false, source: io() }, Exit::Store),
            (StoreError::Unusable { place: name(), transient: true, source: io() }, Exit::Store),
            (StoreError::Failed { act: "read", object: name(), transient: false, source: io() }, Exit::Store),
            (StoreError::Short { object: name(), wanted: 1 }, Exit::Store),
            (StoreError::Poisoned(name()), Exit::Store),
        ] {
            let text = error.to_string();
            let command = CommandError::from(error);
            assert_eq!((command.exit(), command.message()), (exit, text.as_str()));
            assert!(!command.hints().is_empty(), "{text}");
        }
    }

    #[test]
    fn the_cause_is_said_once() {
        let source = Cause::from("it is not a folder");
        let error = StoreError::Unusable { place: "/x".into(), transient: false, source };
        assert_eq!(CommandError::from(error).to_string(), "store /x: it is not a folder");
    }
}
