//! The values as they are given: one file, or several layers that Helm lays over each other. Each file is parsed once.

use serde::Serialize;
use zeroize::Zeroizing;

use crate::error::{CommandError, Exit, Result};
use crate::ops::{Ctx, guard};
use crate::redact::secrets;
use crate::values::lint::{Context, LintFinding, lint, lint_with};
use crate::values::overlay::{self, Layer, LayerKind, OverlayError};
use crate::values::{Tree, YamlError};

/// Something found in one of the files.
#[derive(Debug, Clone, Serialize)]
pub struct LayerFinding {
    pub file: String,
    /// What was found.
    #[serde(flatten)]
    pub finding: LintFinding,
}

/// Values that were read and found fit.
pub(super) struct ReadValues {
    /// What all layers are called together.
    pub name: String,
    pub layers: Vec<Layer>,
    /// What helm reads: the layers, merged; the very bytes of a single file.
    pub bytes: Zeroizing<Vec<u8>>,
    pub tree: Tree,
    /// The files, each with its place among the layers; none where one file is all there is, whose tree is `tree`.
    files: Vec<(usize, Tree)>,
}

/// Reads the values as Helm does, lints every file, and refuses what may not be deployed: a grave finding, or a secret on
/// the command line.
///
/// # Errors
/// Helm would not read a layer; [`Exit::Failure`] for a finding, [`Exit::Usage`] for a secret after a `--set` flag.
pub(super) fn read(ctx: &Ctx, layers: Vec<Layer>, allow: &[String]) -> Result<ReadValues> {
    let mut files = Vec::new();
    for (place, layer) in layers.iter().enumerate() {
        if layer.kind != LayerKind::Values {
            refuse_secret(layer).inspect_err(|_| ctx.secrets().register_document(&layer.bytes))?;
            continue;
        }
        // Several layers are merged here, and that needs their keys; a single one reaches helm as it is.
        let tree = match Tree::parse_or_explain(&layer.bytes) {
            Err(cause) if layers.len() > 1 => {
                // What is wrong with it is said in the operator's own words.
                ctx.secrets().register_document(&layer.bytes);
                return Err(unreadable(layer, cause));
            }
            _ => Tree::parse_or_keep(&layer.bytes),
        };
        ctx.secrets().register_tree(&tree);
        guard::refuse_findings(&layer.title(), &lint(&tree, &layer.bytes), allow)?;
        files.push((place, tree));
    }
    let name = layers.iter().map(Layer::title).collect::<Vec<_>>().join(" + ");
    let bytes = merge(&layers)?;
    let tree = match layers.as_slice() {
        [Layer { kind: LayerKind::Values, .. }] => files.pop().map(|(_, tree)| tree),
        _ => None,
    };
    let tree = match tree {
        Some(tree) => tree,
        None => Tree::parse_or_explain(&bytes).map_err(|error| CommandError::from(error).context(&name))?,
    };
    ctx.secrets().register_tree(&tree);
    Ok(ReadValues { name, layers, bytes, tree, files })
}

impl ReadValues {
    /// Lints every file again, now that the chart and the release are known. The grave findings are the same.
    pub(super) fn lint_with_chart(&self, context: &Context<'_>) -> Vec<LayerFinding> {
        let only = self.files.is_empty().then_some((0, &self.tree));
        let files = only.into_iter().chain(self.files.iter().map(|(place, tree)| (*place, tree)));
        let findings = files.flat_map(|(place, tree)| {
            let layer = &self.layers[place];
            let found = lint_with(tree, &layer.bytes, context).into_iter();
            found.map(|finding| LayerFinding { file: layer.title(), finding })
        });
        findings.collect()
    }
}

/// What Helm makes of the layers.
///
/// # Errors
/// Helm would not read one of them; it is named.
fn merge(layers: &[Layer]) -> Result<Zeroizing<Vec<u8>>> {
    overlay::merge(layers).map_err(|error| match error {
        OverlayError::File { layer, cause } => unreadable(&layers[layer - 1], cause),
        OverlayError::Set { layer, character, cause, .. } => {
            let title = layers[layer - 1].title();
            CommandError::new(Exit::Usage, format!("{title}, character {character}: {cause}"))
                .hint("The text after the flag is read as helm reads it: `a.b=c,d=e`; a backslash takes a comma's or a dot's meaning.")
        }
    })
}

fn unreadable(layer: &Layer, cause: YamlError) -> CommandError {
    CommandError::from(cause).context(layer.title())
}

/// Other users of a host see what stands on a command line, and shells keep it. The content of a file does not stand
/// there.
fn refuse_secret(layer: &Layer) -> Result<()> {
    if layer.kind == LayerKind::SetFile {
        return Ok(());
    }
    let alone = merge(std::slice::from_ref(layer))?;
    let tree = Tree::parse_or_explain(&alone).map_err(|cause| unreadable(layer, cause))?;
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
    use crate::ops::testing;

    fn layer(kind: LayerKind, name: Option<&str>, text: &str) -> Layer {
        Layer { name: name.map(str::to_owned), ..Layer::new(kind, text) }
    }

    fn read(layers: Vec<Layer>) -> Result<ReadValues> {
        super::read(&testing::ctx(&Default::default()), layers, &[])
    }

    #[test]
    fn one_file_is_its_bytes_and_several_layers_are_what_helm_makes_of_them() {
        let one = read(vec![layer(LayerKind::Values, Some("a.yaml"), "# kept\na: 1\n")]).unwrap();
        assert_eq!((&**one.bytes, one.name.as_str()), (b"# kept\na: 1\n".as_slice(), "a.yaml"));
        let several = read(vec![
            layer(LayerKind::Values, Some("a.yaml"), "a: 1\nb: {c: 1}\n"),
            layer(LayerKind::Values, Some("b.yaml"), "b: {d: 2}\n"),
            layer(LayerKind::Set, None, "a=3"),
            layer(LayerKind::SetFile, Some("e"), "e=text"),
        ])
        .unwrap();
        let merged: serde_json::Value = serde_json::from_slice(&several.bytes).unwrap();
        assert_eq!(merged, serde_json::json!({"a": 3, "b": {"c": 1, "d": 2}, "e": "text"}));
        assert_eq!(several.name, "a.yaml + b.yaml + --set + --set-file e");
    }

    #[test]
    fn findings_are_told_by_the_file_that_they_stand_in() {
        let text = "trow: {password: 123456}\n";
        let context = Context { defaults: None, version: None, facts: &crate::opschain::keys::FACTS };
        let files = |layers: Vec<Layer>| -> Vec<String> {
            let allow = ["secret-not-text".to_owned()];
            let values = super::read(&testing::ctx(&Default::default()), layers, &allow).unwrap();
            values.lint_with_chart(&context).into_iter().map(|found| found.file).collect()
        };
        let (a, b) =
            (layer(LayerKind::Values, Some("a.yaml"), "a: 1\n"), layer(LayerKind::Values, Some("b.yaml"), text));
        let alone = files(vec![b.clone()]);
        assert!(!alone.is_empty() && alone.iter().all(|file| file == "b.yaml"), "{alone:?}");
        assert_eq!(files(vec![a, b]).iter().filter(|file| *file == "b.yaml").count(), alone.len());
    }

    #[test]
    fn a_file_that_is_not_read_goes_to_helm_as_it_is_once_that_is_allowed() {
        let deep = format!("a: {}{}\nenv:\n  PGPASSWORD: w0rdw0rd\n", "[".repeat(1_600), "]".repeat(1_600));
        let file = || vec![layer(LayerKind::Values, Some("deep.yaml"), &deep)];
        let error = read(file()).err().unwrap();
        assert!(error.message().starts_with("deep.yaml:1:") && format!("{error:?}").contains("--allow not-read"));
        let ctx = testing::ctx(&Default::default());
        let values = super::read(&ctx, file(), &["not-read".to_owned()]).unwrap();
        assert_eq!(&**values.bytes, deep.as_bytes());
        assert!(!ctx.secrets().scrub(&deep).contains("w0rd"));
    }

    #[test]
    fn a_layer_that_helm_would_not_read_is_named() {
        let good = || layer(LayerKind::Values, Some("a.yaml"), "a: 1\n");
        let error = read(vec![good(), layer(LayerKind::Values, Some("b.yaml"), "b: [\n")]).err().unwrap();
        assert!(error.message().starts_with("b.yaml: "), "{error}");
        let error = read(vec![good(), layer(LayerKind::Set, None, "a[x]=1")]).err().unwrap();
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
            let error = read(vec![layer(kind, None, text)]).err().unwrap();
            assert_eq!(error.exit(), Exit::Usage, "{text}");
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
            assert!(error.message().contains(kind.flag()), "{error}");
        }
        let fine = vec![
            layer(LayerKind::Set, None, "api.replicas=2"),
            layer(LayerKind::SetFile, Some("p"), "env.PGPASSWORD=x"),
        ];
        assert!(read(fine).is_ok());
    }
}
