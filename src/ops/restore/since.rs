//! What was deployed after a bundle was made: the restore brings the older values back.

use std::sync::Arc;

use jiff::Timestamp;

use super::RestoreRequest;
use crate::bundle::Header;
use crate::ops::Ctx;
use crate::settings::Install;
use crate::vault::{Deployment, How};

/// The newest of the deployments that the vault has of the bundle's install and the bundle has not, in words; nothing where
/// there is no vault to read, or the values come from elsewhere.
pub(super) fn deployed_since(
    ctx: &Ctx,
    request: &RestoreRequest,
    header: &Header,
    helm_values: Option<&str>,
) -> Option<String> {
    if request.config.is_some() || request.keeps_config() {
        return None;
    }
    let (namespace, release) = (header.install.namespace.clone(), header.install.release.clone());
    let ctx = ctx.for_install(Install { namespace, release, ..ctx.install().clone() });
    let known = ctx.vault_to_read().ok()?.known(&ctx.vault_install()).ok()?;
    words(&known, header.created, helm_values)
}

/// `helm_values` is the SHA-256 of the bundle's values, as Helm stores them. What a restore brought back is no change.
fn words(known: &[Arc<Deployment>], made: Timestamp, helm_values: Option<&str>) -> Option<String> {
    let is_newer = |one: &&Arc<Deployment>| one.is_deployed() && one.record.at > made && one.record.how != How::Restore;
    let newer: Vec<_> = known.iter().filter(is_newer).collect();
    let newest = newer.iter().max_by_key(|one| one.record.at)?;
    if helm_values.is_some() && newest.document_sha256() == helm_values {
        return None;
    }
    let (id, at, count) = (newest.id().short(), newest.record.at.strftime("%Y-%m-%d %H:%MZ"), newer.len());
    let of = if count > 1 { format!(", the newest of {count} deployments") } else { String::new() };
    Some(format!(
        "deployment {id} of {at}{of} is newer than this bundle, whose values come back. `dr config show {id}` has it, and \
         `dr deploy rollback {id}` deploys it again afterwards"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::history::tests::deployment;

    #[test]
    fn what_was_deployed_since_and_is_not_what_comes_back_is_said() {
        let made = "2026-08-20T12:00:00Z".parse().unwrap();
        let said = |known: Vec<Deployment>, helm_values: Option<&str>| {
            words(&known.into_iter().map(Arc::new).collect::<Vec<_>>(), made, helm_values)
        };
        let before = || deployment("20260820T100000Z-000001", "x", Some("deployed"), None);
        let failed = || deployment("20260820T130000Z-000002", "x", Some("failed"), None);
        let after = || deployment("20260820T140000Z-000003", "x", Some("deployed"), None);
        assert_eq!(said(vec![failed(), before()], None), None);
        let warning = said(vec![after(), failed(), before()], None).unwrap();
        assert!(warning.starts_with("deployment 000003 of 2026-08-20 14:00Z is newer than this bundle"), "{warning}");
        let mut same = after();
        same.record.document_sha256 = Some("aa".into());
        assert_eq!(said(vec![same.clone()], Some("aa")), None, "the same values");
        assert!(said(vec![same], Some("bb")).is_some());
        let mut restored = after();
        restored.record.how = How::Restore;
        assert_eq!(said(vec![restored], None), None);
    }
}
