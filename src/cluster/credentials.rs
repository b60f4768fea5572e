//! What the kubeconfig logs in with, which the API server, a proxy or helm may quote.

use std::path::Path;

use age::secrecy::ExposeSecret;
use kube::config::AuthInfo;

use super::kubeconfig;
use crate::read;
use crate::redact::is_secret_name;
use crate::values::Secrets;

/// The token of a pod's service account.
const IN_CLUSTER: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Registers every credential of the kubeconfig, of whatever context: helm may be told another one. What cannot be read is
/// the failure of whoever needs it.
pub fn register_credentials(secrets: &Secrets) {
    match kubeconfig::read() {
        Ok(file) => file.auth_infos.iter().filter_map(|named| named.auth_info.as_ref()).for_each(|user| {
            register_user(user, secrets);
        }),
        Err(_) => register_file(Path::new(IN_CLUSTER), secrets),
    }
}

fn register_user(user: &AuthInfo, secrets: &Secrets) {
    let AuthInfo { password, token, client_key_data, token_file, client_key, exec, auth_provider, .. } = user;
    for secret in [password, token, client_key_data].into_iter().flatten() {
        secrets.register(secret.expose_secret().as_bytes());
    }
    for path in [token_file, client_key].into_iter().flatten() {
        register_file(Path::new(path), secrets);
    }
    let variables = exec.iter().flat_map(|exec| exec.env.iter().flatten());
    let variables = variables.filter_map(|variable| Some((variable.get("name")?, variable.get("value")?)));
    let settings = auth_provider.iter().flat_map(|provider| provider.config.iter());
    for (_, secret) in variables.chain(settings).filter(|(name, _)| is_secret_name(name)) {
        secrets.register(secret.as_bytes());
    }
}

fn register_file(path: &Path, secrets: &Secrets) {
    if let Ok(bytes) = read::file(path, read::SMALL) {
        secrets.register(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_passwords_keys_and_what_plugins_are_given_are_masked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "token-of-a-file\n").unwrap();
        let user: AuthInfo = serde_json::from_value(serde_json::json!({
            "username": "me", "password": "basic-password", "token": "plain-token", "tokenFile": path,
            "client-key-data": "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JSUV2UUlCQURBTg==",
            "exec": {"command": "login", "env": [{"name": "API_TOKEN", "value": "plugin-token"}, {"name": "TZ", "value": "Europe"}]},
            "auth-provider": {"name": "oidc", "config": {"id-token": "provider-token", "idp-issuer-url": "https://issuer"}},
        }))
        .unwrap();
        let secrets = Secrets::default();
        register_user(&user, &secrets);
        let text = "me basic-password plain-token token-of-a-file MIIEvQIBADAN LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1JSUV2UUlCQURBTg== plugin-token Europe provider-token https://issuer";
        let shown = secrets.scrub(text).replace("••••••••", "M");
        assert_eq!(shown, "me M M M M M M Europe M https://issuer");
    }
}
