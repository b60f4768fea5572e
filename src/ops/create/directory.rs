//! Users and groups of the bundled LDAP server, for the bundle. A server that cannot be read costs no bundle: the scope says
//! why its users are not in it.

use zeroize::Zeroizing;

use crate::bundle::{OutOfScope, Writer};
use crate::cluster::{Cluster, ClusterError, DirectoryDatabase, DirectoryServer, Workload};
use crate::error::Result;
use crate::ldif::Ldif;
use crate::ops::Ctx;
use crate::opschain::Names;
use crate::opschain::directory::entries;
use crate::opschain::scope::own_directory;

/// The count of entries in the manifest.
pub(super) const COUNT: &str = "directory_entries";

/// What the server holds, in memory only.
pub(super) struct BundledDirectory {
    data: Zeroizing<Vec<u8>>,
    config: Option<Zeroizing<Vec<u8>>>,
    pub entries: u64,
}

impl BundledDirectory {
    /// Reads it; or says why it is not in the bundle.
    ///
    /// # Errors
    /// None that would cost the bundle; an interruption ends the step around it.
    pub(super) async fn read(ctx: &Ctx) -> Result<std::result::Result<Self, OutOfScope>> {
        let cluster = ctx.cluster().await?;
        Ok(match read_data(ctx, cluster).await {
            Ok((server, data, entries)) => {
                let config = cluster.read_directory(&server, DirectoryDatabase::Config).await;
                if let Err(error) = &config {
                    let text =
                        format!("the LDAP server's configuration is not in the bundle: {error}; its entries are");
                    ctx.events.warn(text, None);
                }
                Ok(Self { data, config: config.ok(), entries })
            }
            Err(why) => {
                ctx.events.warn(format!("users of the bundled LDAP server are not in the bundle: {why}"), None);
                Err(left_out(&why))
            }
        })
    }

    /// Adds it to the bundle.
    ///
    /// # Errors
    /// The writer's.
    pub(super) fn add_to(&self, writer: &mut Writer) -> Result<()> {
        writer.seal_config("ldap-data.ldif", &self.data)?;
        if let Some(config) = &self.config {
            writer.seal_config("ldap-config.ldif", config)?;
        }
        Ok(())
    }

    /// What it is, in a few words.
    pub(super) fn line(&self) -> String {
        entries(self.entries)
    }
}

async fn read_data(
    ctx: &Ctx,
    cluster: &Cluster,
) -> std::result::Result<(DirectoryServer, Zeroizing<Vec<u8>>, u64), String> {
    let name = Names::default().ldap();
    let told = |error: ClusterError| error.to_string();
    let server = cluster.directory_server(&name).await.map_err(told)?.ok_or_else(|| no_pod(&name))?;
    let data = cluster.read_directory(&server, DirectoryDatabase::Data).await.map_err(told)?;
    let read =
        Ldif::parse(&data).map_err(|error| format!("what slapcat wrote in pod {} is no LDIF: {error}", server.pod))?;
    for password in read.passwords() {
        ctx.secrets().register(&password);
    }
    match read.count() {
        0 => Err(format!("slapcat in pod {} found no entry", server.pod)),
        count => Ok((server, data, count as u64)),
    }
}

/// Why the server cannot be read as things stand, if it cannot.
pub(super) fn unreadable(workloads: &[Workload]) -> Option<String> {
    let name = Names::default().ldap();
    match workloads.iter().find(|workload| workload.name == name) {
        None => Some(format!("there is no Deployment {name}")),
        Some(workload) if workload.ready == 0 => Some(no_pod(&name)),
        Some(_) => None,
    }
}

fn no_pod(name: &str) -> String {
    format!("no pod of Deployment {name} is ready")
}

/// That its users are not in the bundle.
pub(super) fn left_out(why: &str) -> OutOfScope {
    let left = own_directory(why);
    OutOfScope { what: left.what, why: left.why, whereabouts: left.after }
}
