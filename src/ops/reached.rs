//! Helm and the cluster of a context, reached when they are first asked for.

use std::sync::Arc;

use super::Ctx;
use crate::cluster::{self, Cluster};
use crate::error::Result;
use crate::helm::Helm;
use crate::settings::Install;

impl Ctx {
    /// Helm, for this install; or what it has stored of it, where the settings say that there is none.
    ///
    /// # Errors
    /// It is not there, or not helm 3 or 4; or the cluster cannot be reached.
    pub async fn helm(&self) -> Result<&Helm> {
        let settings = self.settings_or_defaults()?;
        self.opened
            .helm
            .get_or_try_init(|| async {
                if settings.helm.stored {
                    let cluster = self.cluster().await?.clone();
                    return Ok(Helm::of_stored(Arc::new(cluster), self.secrets()));
                }
                self.register_newest_deployments();
                cluster::register_credentials(self.secrets());
                let Install { context, namespace, .. } = &settings.install;
                Ok(Helm::find(&settings.helm.binary)
                    .await?
                    .for_install(context.as_deref(), namespace)
                    .for_registry(settings.helm.plain_http, settings.helm.insecure_skip_tls_verify)
                    .with_redaction(self.secrets()))
            })
            .await
    }

    /// The cluster of the install, seen from its namespace. The Secrets that are read of it are registered.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn cluster(&self) -> Result<&Cluster> {
        let Install { context, namespace, .. } = &self.settings_or_defaults()?.install;
        self.opened
            .cluster
            .get_or_try_init(|| async {
                self.register_newest_deployments();
                cluster::register_credentials(self.secrets());
                Ok(Cluster::connect(context.as_deref(), namespace).await?.with_redaction(self.secrets()))
            })
            .await
    }
}
