//! The bundled LDAP server, by the tools in its own pod.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod};
use zeroize::Zeroizing;

use super::error::{ClusterError, Result};
use super::exec::last_words;
use super::kube::Cluster;
use super::podstate::PodState;

/// How long reading or changing it may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Ends every whole output, as a comment of LDIF. Exec can lose the end of one and still report success.
const END: &str = "# dr: end of the directory\n";
/// The database number is `$0`.
const READ: &str = "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; slapcat -n \"$0\" && echo '# dr: end of the directory'";
/// The first line of stdin is the password, which is no argument of any program; the rest are the changes.
const CHANGE: &str = "exec 3<&0; IFS= read -r secret <&3
printf %s \"$secret\" | ldapmodify -x -c \"$@\" -y /dev/fd/4 4<&0 0<&3";
/// The port of LDAP.
const LDAP_PORT: i32 = 389;

/// A database of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectoryDatabase {
    /// Its own configuration.
    Config,
    /// The entries.
    Data,
}

/// A pod in which the server runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryServer {
    pub pod: String,
    container: String,
    port: i32,
}

/// Who changes entries.
pub struct DirectoryLogin {
    /// The administrator's name.
    pub admin: String,
    pub password: Zeroizing<String>,
}

/// What the server, or the program that speaks to it, complained of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{words} (exit code {code})")]
pub struct DirectoryComplaint {
    code: i32,
    words: String,
}

impl DirectoryComplaint {
    /// Whether asking again may help: it is not there (-1), busy (51) or unavailable (52).
    pub fn is_transient(&self) -> bool {
        matches!(self.code, 255 | 51 | 52)
    }

    /// Whether it would take nothing at all: no such program, other credentials (49), a stronger way to sign in (8, 13).
    pub fn is_refusal(&self) -> bool {
        matches!(self.code, 126 | 127 | 49 | 48 | 8 | 13)
    }
}

impl Cluster {
    /// The server that the Deployment runs; `None` where there is no such Deployment, or none of its pods is ready.
    ///
    /// # Errors
    /// Deployment or pods may not be read.
    pub async fn directory_server(&self, deployment: &str) -> Result<Option<DirectoryServer>> {
        let Some(workload) = self.deployment(deployment).await? else { return Ok(None) };
        let pods = self.pods(Some(&workload.selector)).await?;
        Ok(pods.iter().find_map(|pod| server(pod, deployment)))
    }

    /// Reads a database as LDIF, while the server goes on.
    ///
    /// # Errors
    /// [`ClusterError::Command`] with the last words of `slapcat`; [`ClusterError::Session`] also when the end of what it
    /// wrote is missing.
    pub async fn read_directory(&self, server: &DirectoryServer, of: DirectoryDatabase) -> Result<Zeroizing<Vec<u8>>> {
        let number = match of {
            DirectoryDatabase::Config => "0",
            DirectoryDatabase::Data => "1",
        };
        let command = ["sh", "-c", READ, number];
        let output = self.exec(&server.pod, &server.container, &command, None, LIMIT).await?;
        let mut text = Zeroizing::new(output.stdout);
        if output.exit != 0 {
            return Err(ClusterError::Command {
                pod: server.pod.clone(),
                command: "slapcat".into(),
                exit: output.exit,
                stderr: last_words(&output.stderr),
            });
        }
        let Some(whole) = text.len().checked_sub(END.len()).filter(|at| &text[*at..] == END.as_bytes()) else {
            return Err(ClusterError::Session {
                pod: server.pod.clone(),
                command: "slapcat".into(),
                cause: "the end of its output is missing".into(),
            });
        };
        text.truncate(whole);
        Ok(text)
    }

    /// Has the server make these changes, each for itself, and returns what it complained of last, which is nothing where
    /// it made all of them. With `relaxed` the identity of an entry may be set, which is otherwise the server's.
    ///
    /// # Errors
    /// The session cannot be opened or broke off.
    pub async fn change_directory(
        &self,
        server: &DirectoryServer,
        login: &DirectoryLogin,
        changes: &str,
        relaxed: bool,
    ) -> Result<Option<DirectoryComplaint>> {
        let url = format!("ldap://127.0.0.1:{}", server.port);
        let mut command = vec!["sh", "-c", CHANGE, "sh", "-H", &url, "-D", &login.admin];
        if relaxed {
            command.extend(["-e", "relax"]);
        }
        let mut input = Zeroizing::new(Vec::with_capacity(login.password.len() + changes.len() + 1));
        input.extend_from_slice(login.password.as_bytes());
        input.push(b'\n');
        input.extend_from_slice(changes.as_bytes());
        let output = self.exec(&server.pod, &server.container, &command, Some(&input), LIMIT).await?;
        let said = || DirectoryComplaint { code: output.exit, words: last_words(&output.stderr) };
        Ok((output.exit != 0).then(said))
    }
}

/// The server in a pod that is ready: in the container that is called like the Deployment, or runs such an image, or is
/// the only one.
fn server(pod: &Pod, deployment: &str) -> Option<DirectoryServer> {
    let state = PodState::of(pod);
    if !state.ready || state.deleting {
        return None;
    }
    let containers = &pod.spec.as_ref()?.containers;
    let is_it = |container: &&Container| {
        let image = container.image.as_deref().unwrap_or_default();
        container.name == deployment || image.contains(&format!("/{deployment}:"))
    };
    let container = containers.iter().find(is_it).or_else(|| containers.first())?;
    let ports = container.ports.iter().flatten();
    let named = |port: &&k8s_openapi::api::core::v1::ContainerPort| port.name.as_deref() == Some("ldap");
    let port = ports.clone().find(named).map_or(LDAP_PORT, |port| port.container_port);
    Some(DirectoryServer { pod: state.name, container: container.name.clone(), port })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(containers: serde_json::Value, ready: bool) -> Pod {
        let status = if ready { "True" } else { "False" };
        serde_json::from_value(json!({
            "metadata": {"name": "opschain-ldap-1"},
            "spec": {"containers": containers},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]},
        }))
        .unwrap()
    }

    #[test]
    fn the_server_s_container_is_told_from_a_sidecar_and_a_pod_that_is_not_ready_is_none() {
        let ports = json!([{"name": "metrics", "containerPort": 9330}, {"name": "ldap", "containerPort": 1389}]);
        let own = json!({"name": "opschain-ldap", "image": "limepoint/opschain-ldap:2026-08-20", "ports": ports});
        let sidecar = json!({"name": "mesh", "image": "mesh:1"});
        let found = server(&pod(json!([sidecar, own]), true), "opschain-ldap").unwrap();
        assert_eq!((found.container.as_str(), found.port), ("opschain-ldap", 1389));
        let other = json!({"name": "slapd", "image": "registry.example.org/limepoint/opschain-ldap:1"});
        let found = server(&pod(json!([sidecar, other]), true), "opschain-ldap").unwrap();
        assert_eq!((found.container.as_str(), found.port), ("slapd", 389));
        assert_eq!(server(&pod(json!([own]), false), "opschain-ldap"), None);
    }
}
