//! What the errors of a store mean to the operator.

use std::io;

use crate::store::{Refusal, RefusalKind, StoreError, is_bucket};

use super::crypt::make_own;
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
        StoreError::Stopped { .. } => (Exit::Interrupted, Vec::new()),
        StoreError::Full { place, .. } => (
            Exit::Space,
            vec![
                match is_bucket(place) {
                    true => format!("Free room in {place}, or have its quota raised, and run it again."),
                    false => {
                        format!("Free room under {place} (`df -h {place}`) and run it again; nothing half was left there.")
                    }
                },
                "`dr bundle list` shows what is there; a bundle is one folder with all that belongs to it.".into(),
            ],
        ),
        StoreError::Busy { .. } => (
            Exit::Locked,
            vec!["Let it end: a create is in `dr run list`, a copy (which is no run) goes on with its own command.".into()],
        ),
        StoreError::Exists { .. } => {
            (Exit::Store, vec!["Bundles are never overwritten: `dr bundle prune` removes old ones.".into()])
        }
        StoreError::Unusable { place, source, .. } | StoreError::Failed { source, object: place, .. }
            if source.is::<Refusal>() =>
        {
            let refusal = source.downcast_ref::<Refusal>();
            let kind = refusal.map_or(RefusalKind::Other, |refusal| refusal.kind);
            let exposed = refusal.and_then(|refusal| refusal.exposed.as_ref());
            let hint = exposed.map_or_else(|| of_refusal(kind, place), |(path, others)| make_own(path, others));
            (Exit::Store, vec![hint])
        }
        error if error.is_transient() => {
            (Exit::Store, vec!["The store may be back in a moment: try again; `dr doctor` checks it.".into()])
        }
        StoreError::Unusable { place, source, .. } if is_missing(&**source) => (
            Exit::Store,
            vec![
                format!("A disk that should be there may not be mounted; else make the folder: `mkdir -p {place}`."),
                "Or name another store: under [store] in dr.toml, or with the flag.".into(),
            ],
        ),
        StoreError::Unusable { place, .. } => (
            Exit::Store,
            vec![format!("Look at `ls -ld {place}`, or set another store in dr.toml; `dr doctor` checks it.")],
        ),
        StoreError::Short { .. } | StoreError::Failed { .. } | StoreError::Poisoned(_) => (
            Exit::Store,
            vec![
                "Look at the store, of a folder at its disk (`dmesg`, `df -h`); `dr bundle list` shows what is whole there."
                    .into(),
            ],
        ),
    }
}

fn is_missing(source: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    source.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The way out where a bucket's server refused, or could not be reached.
fn of_refusal(kind: RefusalKind, what: &str) -> String {
    match kind {
        RefusalKind::Address => "A store is a folder, or a bucket: s3://BUCKET/PREFIX (in dr.toml, `store.url`).".into(),
        RefusalKind::NoBucket => "Make the bucket first, or correct its name (in dr.toml, `store.url`); dr makes none.".into(),
        RefusalKind::Credentials => {
            "Look at the access key (`store.credentials_file`, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY): it is another one, or has expired.".into()
        }
        RefusalKind::NoCredentials => {
            "Name a file with the access key in `store.credentials_file`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.".into()
        }
        RefusalKind::Denied => format!(
            "Let the access key read, write and list there: s3:GetObject, s3:PutObject, s3:ListBucket, s3:AbortMultipartUpload, s3:ListBucketMultipartUploads, s3:ListMultipartUploadParts ({what})."
        ),
        RefusalKind::Clock => "Set this host's clock (`timedatectl`): a signature is good for a few minutes only.".into(),
        RefusalKind::Tls => "Name the authority's certificate in `store.ca_file`, and the server as its certificate does.".into(),
        RefusalKind::Name => "Correct `store.endpoint` in dr.toml, or the name servers of this host; behind a proxy, HTTPS_PROXY.".into(),
        RefusalKind::Region => "Set `store.region` to the bucket's own, and `store.endpoint` to its server.".into(),
        RefusalKind::Unsupported => "The server does not know what dr asks of it: `dr doctor` says what it needs.".into(),
        RefusalKind::Passing => "The store may be back in a moment: try again; `dr doctor` checks it.".into(),
        RefusalKind::Full => "Free room there, or have the quota raised.".into(),
        RefusalKind::Other => "`-vv` shows each request; `dr doctor` checks the store.".into(),
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
    fn a_folder_that_is_not_there_can_be_made() {
        let access = crate::store::StoreAccess::default();
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("store2").display().to_string();
        let opened = crate::store::open_at(&missing, &access).err().unwrap();
        let hints = CommandError::from(opened).hints().join(" ");
        assert!(hints.contains(&format!("`mkdir -p {missing}`")), "{hints}");
    }

    #[test]
    fn nobody_is_sent_to_a_disk_for_a_bucket() {
        let place = || "s3://b/x".to_owned();
        let opened = crate::store::open_at("gs://b/x", &crate::store::StoreAccess::default()).err().unwrap();
        for error in [opened, StoreError::Full { object: "b".into(), place: place(), written: 1 }] {
            let hints = CommandError::from(error).hints().join(" ");
            assert!(!hints.contains("ls -ld") && !hints.contains("df -h") && !hints.is_empty(), "{hints}");
        }
        let stopped = CommandError::from(StoreError::Stopped { place: place() });
        assert_eq!((stopped.exit(), stopped.hints().len()), (Exit::Interrupted, 0));
    }

    #[test]
    fn a_place_that_is_none_is_not_taken_for_that_of_the_settings() {
        let access = crate::store::StoreAccess::default();
        let hint =
            |place: &str| CommandError::from(crate::store::open_at(place, &access).err().unwrap()).hints().join(" ");
        assert!(hint("ftp://b/x").starts_with("A store is a folder, or a bucket: s3://BUCKET/PREFIX"));
    }

    #[test]
    fn a_key_that_others_can_read_is_closed_by_chmod() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        std::fs::write(&path, "[default]\naws_access_key_id=a\naws_secret_access_key=b\n").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        let options = crate::store::BucketOptions { credentials_file: Some(path.clone()), ..Default::default() };
        let access = crate::store::StoreAccess { buckets: vec![("s3://b".into(), options)], ..Default::default() };
        let error = CommandError::from(crate::store::open_at("s3://b", &access).err().unwrap());
        assert_eq!(error.hints(), [format!("`chmod 600 {}`, if nobody else has read it.", path.display())]);
    }

    #[test]
    fn the_cause_is_said_once() {
        let source = Cause::from("it is not a folder");
        let error = StoreError::Unusable { place: "/x".into(), transient: false, source };
        assert_eq!(CommandError::from(error).to_string(), "store /x: it is not a folder");
    }
}
