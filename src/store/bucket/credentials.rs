//! Whose key a bucket is asked with.
//!
//! In this order: the credentials file that the settings name; the variables of the environment, a role of the workload
//! among them; the user's own credentials file; and, of Amazon's own servers only, the machine's role.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use object_store::aws::{AwsCredential, AwsCredentialProvider};
use object_store::client::CredentialProvider;
use zeroize::Zeroizing;

use super::refusal::{Refusal, RefusalKind};
use crate::ownership::{FileUse, others_can};
use crate::read;
use crate::redact::Secrets;

/// How long the surroundings may take to give a key.
const KEY_WITHIN: Duration = Duration::from_secs(10);
/// Where a key is looked for last.
const MACHINE: &str = "the machine's role (169.254.169.254), after store.credentials_file, AWS_ACCESS_KEY_ID, a role of the workload and ~/.aws/credentials";

/// Where the key comes from.
#[derive(Debug)]
pub(super) enum KeySource {
    /// A profile of a credentials file.
    File(FileKey),
    /// The environment, or the machine's own role: the library knows them. In words, what is asked.
    Surroundings(&'static str),
}

impl KeySource {
    /// Finds it. `chosen` and `profile` are of the settings; `elsewhere` says that the server is not one of Amazon's.
    ///
    /// # Errors
    /// There is none.
    pub fn find(
        chosen: Option<&Path>,
        profile: Option<&str>,
        elsewhere: bool,
        secrets: &Secrets,
    ) -> Result<Self, Refusal> {
        let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let profile = profile.map(str::to_owned).or_else(|| set("AWS_PROFILE")).unwrap_or_else(|| "default".into());
        let file = |path: PathBuf| FileKey { path, profile: profile.clone(), secrets: secrets.clone() };
        if let Some(path) = chosen {
            return Ok(Self::File(file(path.to_owned())));
        }
        for secret in ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
            secrets.register(set(secret).unwrap_or_default().as_bytes());
        }
        if set("AWS_ACCESS_KEY_ID").is_some() {
            return Ok(Self::Surroundings("AWS_ACCESS_KEY_ID"));
        }
        let of_workload = [
            "AWS_WEB_IDENTITY_TOKEN_FILE",
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        ];
        if of_workload.iter().any(|name| set(name).is_some()) {
            return Ok(Self::Surroundings(
                "the role of this workload (AWS_WEB_IDENTITY_TOKEN_FILE or AWS_CONTAINER_CREDENTIALS_*)",
            ));
        }
        let of_home = || set("HOME").map(|home| Path::new(&home).join(".aws/credentials"));
        match set("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or_else(of_home).filter(|path| path.exists()) {
            Some(path) => Ok(Self::File(file(path))),
            None if elsewhere => Err(Refusal::new(
                RefusalKind::NoCredentials,
                "there is no access key to ask it with: none in store.credentials_file, AWS_ACCESS_KEY_ID or ~/.aws/credentials, and no role of a workload",
            )),
            None => Ok(Self::Surroundings(MACHINE)),
        }
    }
}

/// A key of the surroundings, which is not waited for as long as the library would: where there is none, nobody answers.
#[derive(Debug)]
pub(super) struct PromptKey {
    pub whose: &'static str,
    pub key: AwsCredentialProvider,
}

#[async_trait]
impl CredentialProvider for PromptKey {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let why = match tokio::time::timeout(KEY_WITHIN, self.key.get_credential()).await {
            Ok(Ok(key)) => return Ok(key),
            Ok(Err(error)) => Refusal::of(&error).to_string(),
            Err(_) => format!("no answer within {} s", KEY_WITHIN.as_secs()),
        };
        let refusal = Refusal::new(RefusalKind::NoCredentials, format!("no access key from {}: {why}", self.whose));
        Err(object_store::Error::Generic { store: "S3", source: refusal.into() })
    }
}

/// A profile of a credentials file. It is read for each request: who renews a key that expires writes it there.
#[derive(Debug)]
pub(super) struct FileKey {
    path: PathBuf,
    profile: String,
    secrets: Secrets,
}

impl FileKey {
    /// Reads the key.
    ///
    /// # Errors
    /// The file cannot be read, is open to others, or has no such profile.
    pub fn read(&self) -> Result<AwsCredential, Refusal> {
        let refuse = |text: String| Refusal::new(RefusalKind::NoCredentials, text);
        let shown = self.path.display();
        let unreadable = |error| refuse(format!("credentials file {shown} cannot be read: {error}"));
        if let Some(others) = others_can(&self.path, FileUse::Secret).map_err(unreadable)? {
            return Err(Refusal::exposed("credentials file", &self.path, others));
        }
        let text = Zeroizing::new(read::text_file(&self.path, read::SMALL).map_err(unreadable)?);
        let key = profile(&text, &self.profile)
            .ok_or_else(|| refuse(format!("credentials file {shown} has no key under [{}]", self.profile)))?;
        for secret in [Some(&key.secret_key), key.token.as_ref()].into_iter().flatten() {
            self.secrets.register(secret.as_bytes());
        }
        Ok(key)
    }
}

#[async_trait]
impl CredentialProvider for FileKey {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.read()
            .map(Arc::new)
            .map_err(|refusal| object_store::Error::Generic { store: "S3", source: refusal.into() })
    }
}

/// The key of a profile, in the form that Amazon's own tools write: `[name]`, then `aws_access_key_id = ...`.
fn profile(text: &str, wanted: &str) -> Option<AwsCredential> {
    let (mut inside, mut id, mut secret, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = name.trim() == wanted;
        } else if let Some((key, value)) = line.split_once('=').filter(|_| inside) {
            let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
            match key.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(AwsCredential { key_id: id?, secret_key: secret?, token })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const FILE: &str = "# of the team\n[default]\naws_access_key_id = one\naws_secret_access_key=hushhush1\n\n\
        [ site ]\nregion = x\naws_access_key_id=two\naws_secret_access_key = hush=hush2\naws_session_token = tok\n";

    #[test]
    fn a_profile_is_found_with_all_that_it_has() {
        let key = |name: &str| profile(FILE, name).map(|key| (key.key_id, key.secret_key, key.token));
        assert_eq!(key("default"), Some(("one".into(), "hushhush1".into(), None)));
        assert_eq!(key("site"), Some(("two".into(), "hush=hush2".into(), Some("tok".into()))));
        assert_eq!(key("other"), None);
        assert!(profile("[default]\naws_access_key_id=x\n", "default").is_none(), "half a key");
    }

    #[test]
    fn a_file_is_read_anew_each_time_masked_and_refused_when_others_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        fs::write(&path, FILE).unwrap();
        let permit = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let secrets = Secrets::default();
        let key = FileKey { path: path.clone(), profile: "default".into(), secrets: secrets.clone() };
        permit(0o644);
        let refused = key.read().unwrap_err();
        assert!(refused.exposed.is_some() && refused.to_string().contains("credentials file "), "{refused}");
        permit(0o600);
        assert_eq!(key.read().unwrap().key_id, "one");
        assert!(!secrets.scrub("it was hushhush1").contains("hushhush1"));
        fs::write(&path, FILE.replace("= one", "= renewed")).unwrap();
        assert_eq!(key.read().unwrap().key_id, "renewed");
        let missing = FileKey { path: folder.path().join("no"), profile: "default".into(), secrets };
        assert_eq!(missing.read().unwrap_err().kind, RefusalKind::NoCredentials);
    }
}
