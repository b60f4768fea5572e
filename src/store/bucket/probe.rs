//! Whether a server keeps what a store relies on, asked of one small file under a key that no object has.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use object_store::aws::AmazonS3;
use object_store::path::Path as Key;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use serde::Deserialize;

use super::client::BucketClient;
use super::refusal::{Refusal, RefusalKind};
use super::uploads::Uploads;
use crate::store::conditions::{BucketProtection, StoreConditions};
use crate::store::error::StoreError;

/// How many write at the same moment.
const WRITERS: usize = 4;
/// An entity tag that nothing has.
const STALE: &str = "\"00000000000000000000000000000000\"";

/// Races writers for one key, tries a stale replacement, and removes what came of it. The key is a new one each time: in a
/// bucket that keeps versions, a server may refuse whoever creates what was removed before. One that is killed leaves a few
/// bytes, which nothing lists.
///
/// # Errors
/// `Unusable`, `Failed`: nothing can be written there.
pub(super) fn conditions(client: &BucketClient) -> Result<StoreConditions, StoreError> {
    let key = client.address.probe(&hex::encode(rand::random::<[u8; 8]>()));
    let (winners, refuses_stale) = client.with_s3("write", "a probe", |s3| raced(s3, key.clone()))?;
    let left = match client.remove(&key, "the probe") {
        Ok(true) => None,
        Ok(false) => Some(format!("{key} (this key may not remove it)")),
        Err(error) => Some(format!("{key} ({error})")),
    };
    let protection = client.with_uploads("read", "its settings", protection).map_err(|error| match &error {
        StoreError::Failed { source, .. } | StoreError::Unusable { source, .. } => source.to_string(),
        error => error.to_string(),
    });
    Ok(StoreConditions { writers: WRITERS, winners, refuses_stale, left, protection })
}

async fn raced(s3: Arc<AmazonS3>, key: Key) -> Result<(usize, Option<bool>), Error> {
    let write = |text: String, mode| {
        let (s3, key) = (Arc::clone(&s3), key.clone());
        let options = PutOptions { mode, ..PutOptions::default() };
        async move { s3.put_opts(&key, Bytes::from(text).into(), options).await }
    };
    let answers =
        join_all((0..WRITERS).map(|writer| write(format!("dr doctor, writer {writer}"), PutMode::Create))).await;
    let mut winners = 0;
    for answer in answers {
        match answer {
            Ok(_) => winners += 1,
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => {}
            // Of several at once a server may let none but one be served.
            Err(error) if Refusal::of(&error).kind == RefusalKind::Passing => {}
            Err(error) => return Err(error),
        }
    }
    s3.head(&key).await?;
    let stale = PutMode::Update(UpdateVersion { e_tag: Some(STALE.to_owned()), version: None });
    let refuses_stale = match write("dr doctor, stale".to_owned(), stale).await {
        Ok(_) => Some(false),
        Err(Error::Precondition { .. } | Error::AlreadyExists { .. }) => Some(true),
        Err(Error::NotImplemented { .. }) => None,
        Err(error) if Refusal::of(&error).kind == RefusalKind::Unsupported => None,
        Err(error) => return Err(error),
    };
    Ok((winners, refuses_stale))
}

pub(super) async fn protection(uploads: Arc<Uploads>) -> Result<BucketProtection, Error> {
    let versioning: Versioning = uploads.setting("versioning").await?;
    let lock = match uploads.setting::<ObjectLock>("object-lock").await {
        Ok(lock) => Some(lock),
        Err(Error::NotFound { .. }) => None,
        Err(error) if Refusal::of(&error).kind == RefusalKind::Unsupported => None,
        Err(error) => return Err(error),
    };
    let retention_days = lock.as_ref().and_then(ObjectLock::days);
    let versions = versioning.status.as_deref() == Some("Enabled");
    Ok(BucketProtection { versions, lock: lock.and_then(ObjectLock::in_words), retention_days })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Versioning {
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ObjectLock {
    object_lock_enabled: Option<String>,
    rule: Option<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Rule {
    default_retention: Option<Retention>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Retention {
    mode: String,
    days: Option<u32>,
    years: Option<u32>,
}

impl ObjectLock {
    /// The days of the default retention; a year has one more than most, lest a lock be taken for over.
    fn days(&self) -> Option<u32> {
        let retention = self.rule.as_ref()?.default_retention.as_ref()?;
        retention.days.or(retention.years.map(|years| years.saturating_mul(366)))
    }

    fn in_words(self) -> Option<Option<String>> {
        self.object_lock_enabled.filter(|enabled| enabled == "Enabled")?;
        let retention = self.rule.and_then(|rule| rule.default_retention);
        Some(retention.map(|Retention { mode, days, years }| match (days, years) {
            (Some(days), _) => format!("{mode}, {days} days"),
            (None, Some(years)) => format!("{mode}, {years} years"),
            (None, None) => mode,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_of_versions_and_locks_is_read() {
        let lock = |text: &str| quick_xml::de::from_str::<ObjectLock>(text).unwrap().in_words();
        let with = |rule: &str| {
            format!(
                "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}</ObjectLockConfiguration>"
            )
        };
        assert_eq!(lock("<ObjectLockConfiguration></ObjectLockConfiguration>"), None);
        assert_eq!(lock(&with("")), Some(None));
        let rule = "<Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Days>30</Days></DefaultRetention></Rule>";
        assert_eq!(lock(&with(rule)), Some(Some("GOVERNANCE, 30 days".to_owned())));
        assert_eq!(quick_xml::de::from_str::<ObjectLock>(&with(rule)).unwrap().days(), Some(30));
        let versioning = |text: &str| quick_xml::de::from_str::<Versioning>(text).unwrap().status;
        assert_eq!(versioning(r#"<VersioningConfiguration xmlns="x"/>"#), None);
        assert_eq!(
            versioning("<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>").unwrap(),
            "Enabled"
        );
    }
}
