//! Values that were given in several layers: each is kept, and what Helm makes of them is proved by its digest.
//!
//! A layer may be short: its digest, which stands in the clear, would let a secret in it be guessed. So what is sealed of
//! all but the first file begins with a line of digits that hangs on all layers together, the keys of the data among
//! them, and that a reader takes off again. Equal layers have equal lines, so that they are stored once.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::error::VaultError;
use super::files::digest;
use super::handle::Vault;
use super::layout::VALUES_FILE;
use super::record::{Deployment, RecordedLayer};
use crate::crypt::Identities;
use crate::values::overlay::{self, Layer, LayerKind};

/// The name of a layer's file, by its place among the layers.
pub(super) fn file_of(layer: &Layer, place: usize) -> String {
    match (place, layer.kind) {
        (0, LayerKind::Values) => VALUES_FILE.to_owned(),
        (_, LayerKind::Values) => format!("values-{place}.yaml.age"),
        _ => format!("values-{place}.txt.age"),
    }
}

/// What is sealed of a layer, by its place among the layers.
pub(super) fn plaintext_of(layer: &Layer, place: usize, salt: &str) -> Zeroizing<Vec<u8>> {
    let sign: &[u8] = match (place, layer.kind) {
        (0, LayerKind::Values) => return layer.bytes.clone(),
        (_, LayerKind::Values) => COMMENT,
        _ => b"",
    };
    Zeroizing::new([sign, salt.as_bytes(), b"\n", &layer.bytes].concat())
}

/// Before the line of a file: what age gives is a values file with or without it.
const COMMENT: &[u8] = b"# ";

/// The line before all but the first file.
pub(super) fn salt(layers: &[Layer]) -> String {
    let mut hash = Sha256::new_with_prefix(b"dr layers\0");
    for layer in layers {
        hash.update(layer.kind.word());
        hash.update((layer.bytes.len() as u64).to_le_bytes());
        hash.update(&layer.bytes);
    }
    hex::encode(hash.finalize())
}

/// How long that line is, without what makes it a comment.
const LINE: u64 = 65;

impl RecordedLayer {
    /// Whether what is sealed is what was given, byte for byte, and its digest that of the file. Others have a line of
    /// digits before it.
    pub fn is_exact(&self, place: usize) -> bool {
        place == 0 && known_kind(self) == Some(LayerKind::Values)
    }

    pub fn given_bytes(&self, place: usize) -> u64 {
        let line = match known_kind(self) {
            _ if self.is_exact(place) => 0,
            Some(LayerKind::Values) => LINE + COMMENT.len() as u64,
            _ => LINE,
        };
        self.sealed.bytes.saturating_sub(line)
    }
}

/// What Helm makes of the layers, as it is digested where there are several.
///
/// # Errors
/// Helm would not read them.
pub(super) fn merged_sha256(layers: &[Layer]) -> Result<Option<String>, VaultError> {
    if let [Layer { kind: LayerKind::Values, .. }] = layers {
        return Ok(None);
    }
    let merged = overlay::merge(layers).map_err(|error| VaultError::Layers { reason: error.to_string() })?;
    Ok(Some(digest(&merged)))
}

/// The digest of what Helm stores of a single file; none of one that Helm would not read, which only an import has.
pub(super) fn document_sha256(layers: &[Layer]) -> Option<String> {
    match layers {
        [Layer { kind: LayerKind::Values, bytes, .. }] => {
            overlay::document_of_file(bytes).ok().map(|document| digest(&document))
        }
        _ => None,
    }
}

/// What was given of a layer at `place`, from what was sealed of it: without the line that stands before all but the
/// first file. `None` when there is no such line.
pub fn given_content(place: usize, kind: LayerKind, sealed: Zeroizing<Vec<u8>>) -> Option<Zeroizing<Vec<u8>>> {
    if place == 0 && kind == LayerKind::Values {
        return Some(sealed);
    }
    let line = sealed.iter().position(|byte| *byte == b'\n')?;
    Some(Zeroizing::new(sealed[line + 1..].to_vec()))
}

fn known_kind(layer: &RecordedLayer) -> Option<LayerKind> {
    serde_json::from_value(layer.kind.as_str().into()).ok()
}

/// How a layer of a deployment was given.
pub(super) fn kind_of(of: &Deployment, layer: &RecordedLayer) -> Result<LayerKind, VaultError> {
    known_kind(layer).ok_or_else(|| damaged(of, format!("a layer is of unknown kind `{}`", layer.kind)))
}

fn damaged(of: &Deployment, reason: String) -> VaultError {
    VaultError::Damaged { what: format!("record of {}", of.id()), reason }
}

impl Vault {
    /// What Helm read: the exact bytes of the values where they are one file, and the merged document where they were
    /// given in several layers. Checked against the record's digest.
    ///
    /// # Errors
    /// `Seal` when no identity opens them, `Damaged` when they are not what was recorded.
    pub fn values(&self, deployment: &Deployment, identities: &Identities) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let layers = self.layers(deployment, identities)?;
        let merged = overlay::merge(&layers).map_err(|error| damaged(deployment, error.to_string()))?;
        let is_one_file = matches!(layers.as_slice(), [Layer { kind: LayerKind::Values, .. }]);
        if !is_one_file && deployment.record.merged_sha256.as_deref() != Some(digest(&merged).as_str()) {
            return Err(damaged(deployment, "its layers do not make the values that were deployed".into()));
        }
        Ok(merged)
    }

    /// All layers in order, each with its exact bytes as they were given.
    ///
    /// # Errors
    /// As [`Vault::values`].
    pub fn layers(&self, deployment: &Deployment, identities: &Identities) -> Result<Vec<Layer>, VaultError> {
        let mut found = Vec::new();
        for (place, layer) in deployment.record.layers.iter().enumerate() {
            let kind = kind_of(deployment, layer)?;
            let bytes = self.plaintext(deployment, &layer.sealed, identities)?;
            let bytes = given_content(place, kind, bytes)
                .ok_or_else(|| damaged(deployment, format!("{} has no line of salt", layer.sealed.file)))?;
            found.push(Layer { kind, name: layer.name.clone(), bytes });
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Records of years ago must still prove their values: this digest never changes.
    #[test]
    fn what_layers_come_to_is_the_same_bytes_for_ever() {
        let layer = |kind, text: &'static str| Layer::new(kind, text);
        let layers = [
            layer(LayerKind::Values, "z: 1\na: {q: [1, 0.5, 1e+21], on: off}\n"),
            layer(LayerKind::Values, "a: {b: null, \"ü\": \"x\\n<&>\"}\n"),
            layer(LayerKind::Set, "n=7,t=true,l={a,b}"),
        ];
        let merged = overlay::merge(&layers).unwrap();
        let expected = concat!(
            r#"{"a":{"b":null,"q":[1,0.5,1e+21],"true":false,"ü":"x\n<&>"},"#,
            r#""l":["a","b"],"n":7,"t":true,"z":1}"#,
            "\n"
        );
        assert_eq!(std::str::from_utf8(&merged).unwrap(), expected);
        assert_eq!(merged_sha256(&layers).unwrap(), Some(digest(expected.as_bytes())));
        assert_eq!(merged_sha256(&layers[..1]).unwrap(), None, "one file is proved by its own digest");
    }
}
