//! The kubeconfig: which cluster, who asks, and through which proxy.

use std::io;
use std::path::{Path, PathBuf};

use http::Uri;
use kube::config::{AuthInfo, Config, Context, ExecAuthCluster, Kubeconfig, KubeconfigError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::error::{ClusterError, Result, plain};
use crate::proxy::{ProxyVariables, proxy_to};
use crate::read;

/// The most bytes of one kubeconfig: those of many hundreds of clusters.
const LARGEST: u64 = 16 << 20;

/// Reads the kubeconfig as kubectl does, and returns the context's name with what leads to its cluster.
///
/// # Errors
/// There is none, it is not understood, or it has no such context.
pub(super) fn load(context: Option<&str>) -> Result<(String, Config)> {
    let broken = |error: &KubeconfigError| ClusterError::Kubeconfig { cause: kubeconfig_words(error) };
    let file = match read() {
        Ok(file) => file,
        Err(error) => {
            // In a pod there is no kubeconfig but a service account; that is tried only when nothing was asked for.
            return match Config::incluster() {
                Ok(config) if context.is_none() => Ok(("in-cluster".into(), config)),
                _ => Err(broken(&error)),
            };
        }
    };
    let known: Vec<String> = file.contexts.iter().map(|named| named.name.clone()).collect();
    let name = match context.map(str::to_owned).or_else(|| file.current_context.clone()) {
        Some(name) if known.contains(&name) => name,
        Some(name) => return Err(ClusterError::NoContext { context: name, known }),
        None if known.is_empty() => {
            return Err(ClusterError::Kubeconfig { cause: "it is empty: it names no cluster".into() });
        }
        None => return Err(ClusterError::Kubeconfig { cause: "it sets no current context".into() }),
    };
    let config = config_of(&file, &name).map_err(|error| broken(&error))?;
    Ok((name.clone(), through_proxy(config, &file, &name)?))
}

/// Reads the files that KUBECONFIG names, or the one in the home folder.
///
/// # Errors
/// There is none, one is no regular file or does not end, or they are not understood.
pub(super) fn read() -> std::result::Result<Kubeconfig, KubeconfigError> {
    let named = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let named: Vec<PathBuf> = std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect();
    if !named.is_empty() {
        return read_files(&named);
    }
    let home = std::env::home_dir().ok_or(KubeconfigError::FindPath)?;
    read_files(&[home.join(".kube/config")])
}

/// Merges the files. Those that are not there are passed over, as by kubectl and helm, unless none is.
fn read_files(paths: &[PathBuf]) -> std::result::Result<Kubeconfig, KubeconfigError> {
    let (mut merged, mut missing) = (None::<Kubeconfig>, None);
    for path in paths {
        match read_file(path) {
            Ok(file) => merged = Some(merged.unwrap_or_default().merge(file)?),
            Err(KubeconfigError::ReadConfig(cause, path)) if cause.kind() == io::ErrorKind::NotFound => {
                missing.get_or_insert(KubeconfigError::ReadConfig(cause, path));
            }
            Err(error) => return Err(error),
        }
    }
    merged.map_or_else(|| Err(missing.unwrap_or(KubeconfigError::FindPath)), Ok)
}

/// The library would wait for a pipe and read what has no end, so the file is looked at before; what its paths are
/// relative to is the library's to know.
fn read_file(path: &Path) -> std::result::Result<Kubeconfig, KubeconfigError> {
    read::file(path, LARGEST).map_err(|cause| KubeconfigError::ReadConfig(cause, path.to_owned()))?;
    Kubeconfig::read_from(path)
}

/// Whether anything leads to a cluster: a kubeconfig, though it may be broken, or a pod's own account.
pub fn leads_somewhere() -> bool {
    match read() {
        Err(KubeconfigError::FindPath) => Config::incluster().is_ok(),
        Err(KubeconfigError::ReadConfig(cause, _)) if cause.kind() == std::io::ErrorKind::NotFound => {
            Config::incluster().is_ok()
        }
        _ => true,
    }
}

/// The library quotes paths as Rust does; people read them plain.
fn kubeconfig_words(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(cause, path) => format!("{}: {}", path.display(), plain(cause)),
        KubeconfigError::FindPath => "there is none: KUBECONFIG is not set and there is no home folder".into(),
        KubeconfigError::Parse(cause) => {
            // What follows the first line quotes the file, and may quote a token.
            let text = cause.to_string();
            let first = text.lines().next().unwrap_or_default();
            format!("it is not valid YAML: {}", first.strip_prefix("error: ").unwrap_or(first))
        }
        other => other.to_string(),
    }
}

/// What leads to the cluster of a context, the proxy left out: the library's own way takes one by rules that nobody else
/// has (see [`super::proxy`]), and fails where it does not understand them.
fn config_of(file: &Kubeconfig, name: &str) -> std::result::Result<Config, KubeconfigError> {
    let context = context_of(file, name)?;
    let cluster = cluster_of(file, &context)?;
    let server = cluster.server.clone().ok_or(KubeconfigError::MissingClusterUrl)?;
    let mut config = Config::new(server.parse().map_err(KubeconfigError::ParseClusterUrl)?);
    let known = ExecAuthCluster::try_from(cluster)?;
    config.root_cert = known.certificate_authority_data.as_deref().map(certificates);
    config.auth_info = user_of(file, &context);
    if let Some(exec) = config.auth_info.exec.as_mut().filter(|exec| exec.provide_cluster_info) {
        exec.cluster = Some(known);
    }
    config.default_namespace = context.namespace.unwrap_or_else(|| "default".to_owned());
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or(false);
    config.disable_compression = cluster.disable_compression.unwrap_or(false);
    config.tls_server_name.clone_from(&cluster.tls_server_name);
    Ok(config)
}

fn context_of(file: &Kubeconfig, name: &str) -> std::result::Result<Context, KubeconfigError> {
    let named = file.contexts.iter().find(|named| named.name == name);
    named.and_then(|named| named.context.clone()).ok_or_else(|| KubeconfigError::LoadContext(name.to_owned()))
}

fn cluster_of<'a>(
    file: &'a Kubeconfig,
    context: &Context,
) -> std::result::Result<&'a kube::config::Cluster, KubeconfigError> {
    let named = file.clusters.iter().find(|named| named.name == context.cluster);
    let cluster = named.and_then(|named| named.cluster.as_ref());
    cluster.ok_or_else(|| KubeconfigError::LoadClusterOfContext(context.cluster.clone()))
}

/// A context without a user asks as nobody, as with kubectl.
fn user_of(file: &Kubeconfig, context: &Context) -> AuthInfo {
    let named = file.auth_infos.iter().find(|named| Some(&named.name) == context.user.as_ref());
    named.and_then(|named| named.auth_info.clone()).unwrap_or_default()
}

/// The certificates of a PEM text. What is none in it is passed over, as by Go.
fn certificates(pem: &[u8]) -> Vec<Vec<u8>> {
    CertificateDer::pem_slice_iter(pem).flatten().map(|certificate| certificate.to_vec()).collect()
}

fn through_proxy(mut config: Config, file: &Kubeconfig, name: &str) -> Result<Config> {
    let context = context_of(file, name).ok();
    let cluster = context.and_then(|context| cluster_of(file, &context).ok());
    let named = cluster.and_then(|cluster| cluster.proxy_url.as_deref());
    config.proxy_url = proxy_to(&config.cluster_url, named, &ProxyVariables::of_this_process())
        .map_err(|cause| ClusterError::Kubeconfig { cause })?;
    Ok(config)
}

/// A proxy without the password that may stand in its address.
pub(super) fn proxy_words(proxy: &Uri) -> Option<String> {
    let port = proxy.port_u16().map_or_else(String::new, |port| format!(":{port}"));
    Some(format!("{}://{}{port}", proxy.scheme_str()?, proxy.host()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_there_are_passed_over_and_what_is_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (there, pipe, gone) = (folder.path().join("c"), folder.path().join("p"), folder.path().join("gone"));
        std::fs::write(&there, "current-context: c\n").unwrap();
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
        let merged = read_files(&[gone.clone(), there.clone()]).unwrap();
        assert_eq!(merged.current_context.as_deref(), Some("c"));
        let words = |paths: &[PathBuf]| kubeconfig_words(&read_files(paths).unwrap_err());
        assert!(words(std::slice::from_ref(&gone)).starts_with(&format!("{}: No such file", gone.display())));
        assert_eq!(words(&[there, pipe.clone()]), format!("{}: it is not a regular file", pipe.display()));
        assert_eq!(words(&["/dev/zero".into()]), "/dev/zero: it is not a regular file");
    }

    #[test]
    fn a_context_leads_to_its_cluster_with_its_authority_and_as_its_user() {
        let pem = std::fs::read_to_string(format!("{}/fixtures/certificates/new.pem", env!("CARGO_MANIFEST_DIR")));
        let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem.unwrap());
        let text = format!(
            "contexts: [{{name: c, context: {{cluster: k, user: u, namespace: n}}}}, {{name: nobody, context: {{cluster: k}}}}, {{name: lost, context: {{cluster: x}}}}]\n\
             clusters: [{{name: k, cluster: {{server: 'https://k:6443', tls-server-name: t, certificate-authority-data: {data}}}}}]\n\
             users: [{{name: u, user: {{username: me, exec: {{command: login, provideClusterInfo: true}}}}}}]\n"
        );
        let file: Kubeconfig = serde_yaml::from_str(&text).unwrap();
        let config = config_of(&file, "c").unwrap();
        assert_eq!(config.cluster_url.to_string().trim_end_matches('/'), "https://k:6443");
        assert_eq!((config.default_namespace.as_str(), config.tls_server_name.as_deref()), ("n", Some("t")));
        assert_eq!(config.root_cert.unwrap().len(), 1);
        assert_eq!(config.auth_info.username.as_deref(), Some("me"));
        assert_eq!(config.auth_info.exec.unwrap().cluster.unwrap().server.as_deref(), Some("https://k:6443"));
        assert_eq!(config_of(&file, "nobody").unwrap().auth_info.username, None);
        assert!(matches!(config_of(&file, "lost"), Err(KubeconfigError::LoadClusterOfContext(name)) if name == "x"));
    }
}
