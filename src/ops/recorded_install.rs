//! The install as the vault knows it, with its cluster.

use super::Ctx;
use crate::cluster::Cluster;
use crate::settings::Install;
use crate::vault::RecordedInstall;

impl Ctx {
    /// The install as the vault knows it. Its cluster is the one that this host reached last by the same context, as far
    /// as the vault has it: no cluster is asked.
    pub fn vault_install(&self) -> RecordedInstall {
        let install = self.install_in(None);
        let known = || match self.vault() {
            Ok(vault) => vault.cluster_of_host(&install, &self.who),
            Err(_) => self.vault_to_read().ok()?.cluster_of_host(&install, &self.who),
        };
        let cluster = self.opened.cluster_uid.get_or_init(known).clone();
        RecordedInstall { cluster, ..install }
    }

    /// The same, for what is done to a cluster: by its own word. Without the right to read that, it is not known.
    pub async fn vault_install_in(&self, cluster: &Cluster) -> RecordedInstall {
        self.install_in(cluster.identity().await.ok())
    }

    /// The install, in this cluster.
    pub(super) fn install_in(&self, cluster: Option<String>) -> RecordedInstall {
        let Install { namespace, release, context, .. } = self.install();
        RecordedInstall { namespace: namespace.clone(), release: release.clone(), context: context.clone(), cluster }
    }
}
