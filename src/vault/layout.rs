//! Where things lie in a vault, and the files that every vault begins with.

pub(super) const README: &str = include_str!("../../templates/vault-readme.md");
pub(super) const ATTRIBUTES: &str = include_str!("../../templates/vault-gitattributes");
pub(super) const VALUES_FILE: &str = "values.yaml.age";
pub(super) const CHART_FILE: &str = "chart.tgz.age";
pub(super) const FINGERPRINT_FILE: &str = "fingerprint.key.age";
pub(super) const REKEYED: &str = "rekeyed";
/// The name of the list in a folder of `rekeyed/`.
pub(super) const REKEY_FILE: &str = "rekey.json";
/// The accepted findings of `config check`, in the root of a repository.
pub(super) const EXCEPTIONS: &str = ".drcheck";
