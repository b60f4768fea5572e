//! The values as they are given: one file, or several layers that Helm lays over each other.

use serde::Serialize;
use zeroize::Zeroizing;

use crate::crypt::Identities;
use crate::error::{CommandError, Exit, Result};
use crate::ops::guard;
use crate::redact::secrets;
use crate::values::lint::{Context, Finding, lint, lint_with};
use crate::values::overlay::{self, LayerKind, OverlayError};
use crate::values::{Tree, YamlError};
use crate::vault::{self, Deployment, Vault};

/// One layer.
pub struct GivenLayer {
    /// How it is given.
    pub kind: LayerKind,
    /// What to call it: the file's name, the key of `--set-file`; none where the text itself is all there is.
    pub name: Option<String>,
    /// Its bytes; see [`LayerKind`].
    pub bytes: Zeroizing<Vec<u8>>,
}

impl GivenLayer {
    /// A values file.
    pub fn file(name: impl Into<String>, bytes: Zeroizing<Vec<u8>>) -> Self {
        Self { kind: LayerKind::Values, name: Some(name.into()), bytes }
    }

    /// All layers of a deployment, in their order.
    ///
    /// # Errors
    /// No identity opens them, or they are not what was recorded.
    pub fn recorded(vault: &Vault, deployment: &Deployment, identities: &Identities) -> Result<Vec<Self>> {
        let names = deployment.record.layers.iter().map(|layer| layer.name.clone());
        let layers = vault.layers(deployment, identities)?.into_iter().zip(names);
        Ok(layers.map(|((kind, bytes), name)| Self { kind, name, bytes }).collect())
    }

    fn title(&self) -> String {
        match (&self.name, self.kind) {
            (Some(name), LayerKind::Values) => name.clone(),
            (Some(name), kind) => format!("{} {name}", kind.flag()),
            (None, kind) => kind.flag().to_owned(),
        }
    }

    pub(in crate::ops) fn as_overlay(&self) -> overlay::Layer<'_> {
        overlay::Layer { kind: self.kind, bytes: &self.bytes }
    }

    /// As the vault takes it.
    pub(in crate::ops) fn for_vault(&self) -> vault::GivenLayer<'_> {
        vault::GivenLayer { kind: self.kind, name: self.name.as_deref(), bytes: &self.bytes }
    }
}

/// Something found in one of the files.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// The file.
    pub file: String,
    /// What was found.
    #[serde(flatten)]
    pub finding: Finding,
}

/// What all layers are called together.
pub(super) fn title(layers: &[GivenLayer]) -> String {
    layers.iter().map(GivenLayer::title).collect::<Vec<_>>().join(" + ")
}

/// What Helm makes of the layers: the very bytes of a single file.
///
/// # Errors
/// Helm would not read one of them; it is named.
pub(super) fn merge(layers: &[GivenLayer]) -> Result<Zeroizing<Vec<u8>>> {
    let overlays: Vec<_> = layers.iter().map(GivenLayer::as_overlay).collect();
    overlay::merge(&overlays).map_err(|error| match error {
        OverlayError::File { layer, cause } => unreadable(&layers[layer - 1], cause),
        OverlayError::Set { layer, character, cause, .. } => {
            let title = layers[layer - 1].title();
            CommandError::new(Exit::Usage, format!("{title}, character {character}: {cause}"))
                .hint("The text after the flag is read as helm reads it: `a.b=c,d=e`; a backslash takes a comma's or a dot's meaning.")
        }
    })
}

fn unreadable(layer: &GivenLayer, cause: YamlError) -> CommandError {
    CommandError::from(cause).context(layer.title())
}

/// Lints every file, and refuses what may not be deployed: a grave finding, or a secret on the command line.
///
/// # Errors
/// [`Exit::Failure`] for a finding, [`Exit::Usage`] for a secret after a `--set` flag.
pub(super) fn refuse(layers: &[GivenLayer], allow: &[String]) -> Result<()> {
    for layer in layers {
        if layer.kind != LayerKind::Values {
            refuse_secret(layer)?;
            continue;
        }
        let tree = Tree::parse(&layer.bytes).map_err(|cause| unreadable(layer, cause))?;
        guard::refuse_findings(&layer.title(), &lint(&tree, &layer.bytes), allow)?;
    }
    Ok(())
}

/// Lints every file again, now that the chart and the release are known. The grave findings are the same.
///
/// # Errors
/// Helm would not read one of them.
pub(super) fn look_closer(layers: &[GivenLayer], context: &Context<'_>) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for layer in layers.iter().filter(|layer| layer.kind == LayerKind::Values) {
        let tree = Tree::parse(&layer.bytes).map_err(|cause| unreadable(layer, cause))?;
        let file = layer.title();
        let findings = lint_with(&tree, &layer.bytes, context).into_iter();
        found.extend(findings.map(|finding| Found { file: file.clone(), finding }));
    }
    Ok(found)
}

/// Other users of a host see what stands on a command line, and shells keep it. The content of a file does not stand
/// there.
fn refuse_secret(layer: &GivenLayer) -> Result<()> {
    if layer.kind == LayerKind::SetFile {
        return Ok(());
    }
    let alone = merge(std::slice::from_ref(layer))?;
    let tree = Tree::parse(&alone).map_err(|cause| unreadable(layer, cause))?;
    let Some((path, ..)) = secrets(&tree).into_iter().next() else { return Ok(()) };
    let text =
        format!("{path} is a secret, and {} puts it on the command line, where others see it", layer.kind.flag());
    Err(CommandError::new(Exit::Usage, text)
        .hint(format!("Put it into a values file, or into a file of its own: --set-file {path}=FILE."))
        .hint("The shell may have kept it in its history, and the process table has shown it: change it."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(kind: LayerKind, name: Option<&str>, text: &str) -> GivenLayer {
        GivenLayer { kind, name: name.map(str::to_owned), bytes: Zeroizing::new(text.into()) }
    }

    #[test]
    fn one_file_is_its_bytes_and_several_layers_are_what_helm_makes_of_them() {
        let one = [layer(LayerKind::Values, Some("a.yaml"), "# kept\na: 1\n")];
        assert_eq!(&**merge(&one).unwrap(), b"# kept\na: 1\n");
        assert_eq!(title(&one), "a.yaml");
        let several = [
            layer(LayerKind::Values, Some("a.yaml"), "a: 1\nb: {c: 1}\n"),
            layer(LayerKind::Values, Some("b.yaml"), "b: {d: 2}\n"),
            layer(LayerKind::Set, None, "a=3"),
            layer(LayerKind::SetFile, Some("e"), "e=text"),
        ];
        let merged: serde_json::Value = serde_json::from_slice(&merge(&several).unwrap()).unwrap();
        assert_eq!(merged, serde_json::json!({"a": 3, "b": {"c": 1, "d": 2}, "e": "text"}));
        assert_eq!(title(&several), "a.yaml + b.yaml + --set + --set-file e");
    }

    #[test]
    fn a_layer_that_helm_would_not_read_is_named() {
        let bad =
            [layer(LayerKind::Values, Some("a.yaml"), "a: 1\n"), layer(LayerKind::Values, Some("b.yaml"), "b: [\n")];
        assert!(merge(&bad).unwrap_err().message().starts_with("b.yaml: "));
        let bad = [layer(LayerKind::Values, Some("a.yaml"), "a: 1\n"), layer(LayerKind::Set, None, "a[x]=1")];
        let error = merge(&bad).unwrap_err();
        assert!(error.message().starts_with("--set, character ") && error.exit() == Exit::Usage, "{error}");
    }

    #[test]
    fn a_secret_after_a_set_flag_is_refused_and_not_repeated() {
        for (kind, text) in [
            (LayerKind::Set, "a=1,env.PGPASSWORD=hunter2hunter2"),
            (LayerKind::SetString, "env.OPSCHAIN_PRIMARY_KEY=hunter2hunter2"),
            (LayerKind::SetJson, "env={\"OPSCHAIN_LDAP_PASSWORD\":\"hunter2hunter2\"}"),
            (LayerKind::SetLiteral, "secretVault.unsealKey=hunter2hunter2"),
        ] {
            let error = refuse(&[layer(kind, None, text)], &[]).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage, "{text}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
            assert!(error.message().contains(kind.flag()), "{error}");
        }
        let fine =
            [layer(LayerKind::Set, None, "api.replicas=2"), layer(LayerKind::SetFile, Some("p"), "env.PGPASSWORD=x")];
        assert!(refuse(&fine, &[]).is_ok());
    }
}
