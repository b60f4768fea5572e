//! In which cluster deployments of the past were made, as far as that is known.

use std::time::Duration;

use jiff::Timestamp;

use super::request::{Origin, RecordRequest};
use crate::ops::Ctx;
use crate::vault::RecordedInstall;

/// How long the cluster is waited for: a file is recorded without it, too.
const LIMIT: Duration = Duration::from_secs(5);

/// The install, with its cluster where that is known, and since when there is that cluster.
pub(super) struct RecordPlace {
    pub install: RecordedInstall,
    began: Option<Timestamp>,
    /// Why the cluster is not known.
    unknown: Option<&'static str>,
}

impl RecordPlace {
    /// Asks the cluster at hand; where it does not answer, the one that this host reached last counts.
    pub(super) async fn find(ctx: &Ctx, request: &RecordRequest) -> Self {
        if request.no_cluster {
            return Self { install: ctx.install_in(None), began: None, unknown: Some("as asked for by --no-cluster") };
        }
        let asked = async { ctx.cluster().await.ok()?.identity_since().await.ok() };
        let limit = if matches!(request.origin, Origin::Release { .. }) { Duration::MAX } else { LIMIT };
        match tokio::time::timeout(limit, asked).await.ok().flatten() {
            Some((uid, began)) => Self { install: ctx.install_in(Some(uid)), began, unknown: None },
            None => {
                let install = ctx.vault_install();
                let unknown = install.cluster.is_none().then_some("it cannot be asked which one it is");
                Self { install, began: None, unknown }
            }
        }
    }

    /// The install at a time: what is older than the cluster was deployed in another one.
    pub(super) fn at(&self, at: Timestamp) -> (RecordedInstall, Option<&'static str>) {
        if self.began.is_some_and(|began| at < began) {
            let install = RecordedInstall { cluster: None, ..self.install.clone() };
            return (install, Some("the one at hand is younger than this deployment"));
        }
        (self.install.clone(), self.unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_cluster_names_none() {
        let began = "2026-01-01T00:00:00Z".parse().unwrap();
        let name = || "opschain".to_owned();
        let install = RecordedInstall {
            namespace: name().try_into().unwrap(),
            release: name().try_into().unwrap(),
            context: None,
            cluster: Some("north".into()),
        };
        let place = RecordPlace { install, began: Some(began), unknown: None };
        let at = |text: &str| {
            let (install, why) = place.at(text.parse().unwrap());
            (install.cluster, why.is_some())
        };
        assert_eq!(at("2025-12-31T23:59:59Z"), (None, true));
        assert_eq!(at("2026-01-01T00:00:00Z"), (Some("north".into()), false));
    }
}
