//! Who pushes: what `helm registry login`, `docker login` or `podman login` has written down.

use std::env;
use std::path::PathBuf;

use docker_credential::{CredentialRetrievalError, DockerCredential, get_credential_from_reader};

use super::error::ImageError;
use super::reference::ImageReference;
use crate::read;
use crate::redact::Secrets;

/// Who a registry is told that asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Login {
    Password {
        user: String,
        password: String,
    },
    /// What is changed for a token.
    Identity(String),
}

impl Login {
    /// In the words of an error.
    pub fn who(login: Option<&Self>) -> String {
        match login {
            None => "somebody without a login".into(),
            Some(Self::Password { user, .. }) => user.escape_debug().to_string(),
            Some(Self::Identity(_)) => "this login".into(),
        }
    }

    /// The first that is kept for the registry: helm's, docker's, podman's.
    ///
    /// # Errors
    /// A file with logins cannot be read or understood, or the program that keeps them fails.
    pub fn find(image: &ImageReference, secrets: &Secrets) -> Result<Option<Self>, ImageError> {
        for path in files() {
            let refuse = |reason: String| ImageError::Login {
                registry: image.registry().to_owned(),
                path: path.display().to_string(),
                reason,
            };
            let bytes = match read::file(&path, read::SMALL) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(refuse(error.to_string())),
            };
            match get_credential_from_reader(bytes.as_slice(), image.login_key()) {
                Ok(DockerCredential::UsernamePassword(user, password)) => {
                    secrets.register(password.as_bytes());
                    return Ok(Some(Self::Password { user, password }));
                }
                Ok(DockerCredential::IdentityToken(token)) => {
                    secrets.register(token.as_bytes());
                    return Ok(Some(Self::Identity(token)));
                }
                Err(CredentialRetrievalError::NoCredentialConfigured) => {}
                // docker-credential-helpers' own words, on stdout.
                Err(CredentialRetrievalError::HelperFailure { stdout, .. })
                    if stdout.contains("credentials not found") => {}
                Err(CredentialRetrievalError::HelperFailure { helper, .. }) => {
                    return Err(refuse(format!("{} failed", helper.escape_debug())));
                }
                Err(error) => return Err(refuse(error.to_string())),
            }
        }
        Ok(None)
    }
}

/// Where logins are kept, first to last.
fn files() -> Vec<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let below_home = |path: &str| set("HOME").map(|home| home.join(path));
    let helm = set("HELM_REGISTRY_CONFIG")
        .or_else(|| set("XDG_CONFIG_HOME").map(|folder| folder.join("helm/registry/config.json")))
        .or_else(|| below_home(".config/helm/registry/config.json"));
    let docker =
        set("DOCKER_CONFIG").map(|folder| folder.join("config.json")).or_else(|| below_home(".docker/config.json"));
    let podman =
        set("REGISTRY_AUTH_FILE").or_else(|| set("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")));
    [helm, docker, podman].into_iter().flatten().collect()
}
