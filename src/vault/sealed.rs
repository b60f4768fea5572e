//! Sealed files as they are stored, for who takes them on without opening them: no key is needed.

use super::error::VaultError;
use super::handle::Vault;
use super::layers::kind_of;
use super::layout::REKEYED;
use super::read::path_of;
use super::record::{Deployment, Sealed};
use super::rekey::lists;
use super::verify::sealed::stanzas;
use crate::crypt::Hashed;
use crate::values::overlay::LayerKind;

/// A sealed file, proved to be the bytes that were recorded.
#[derive(Debug, Clone)]
pub struct SealedFile {
    /// The age file.
    pub bytes: Hashed,
    /// The public keys that it is sealed to.
    pub recipients: Vec<String>,
}

impl Vault {
    /// The layers of the values as they are stored, in their order, and how each was given. All but the first file hold a
    /// line before what was given; see [`given_content`](super::given_content).
    ///
    /// # Errors
    /// `Damaged` when one is not what was recorded, or of a kind that is not known.
    pub fn sealed_layers(&self, of: &Deployment) -> Result<Vec<(LayerKind, SealedFile)>, VaultError> {
        let layers = of.record.layers.iter();
        layers.map(|layer| Ok((kind_of(of, layer)?, self.sealed_file(of, &layer.sealed)?))).collect()
    }

    /// The chart's archive as it is stored; `None` when the deployment was recorded without it.
    ///
    /// # Errors
    /// `Damaged` when it is not what was recorded.
    pub fn sealed_chart(&self, of: &Deployment) -> Result<Option<SealedFile>, VaultError> {
        of.record.chart_archive.as_ref().map(|sealed| self.sealed_file(of, sealed)).transpose()
    }

    /// The file as it was sealed last: at first, or by a later rekey.
    fn sealed_file(&self, of: &Deployment, sealed: &Sealed) -> Result<SealedFile, VaultError> {
        let git = self.git()?;
        let first = path_of(of, sealed);
        let later = lists(&git)?.into_iter().rev().find_map(|(folder, list)| {
            let file = list.files.into_iter().find(|file| file.path == first)?;
            Some((format!("{REKEYED}/{folder}/{first}"), file.sealed_sha256, list.recipients))
        });
        let (path, sha256, recipients) =
            later.unwrap_or_else(|| (first, sealed.sealed_sha256.clone(), of.record.recipients.clone()));
        let damaged = |reason: &str| VaultError::Damaged { what: path.clone(), reason: reason.into() };
        let bytes = Hashed::of(git.read(&path)?.ok_or_else(|| damaged("the file is missing"))?);
        if hex::encode(bytes.sha256()) != sha256 {
            return Err(damaged("it is not the sealed file that was recorded"));
        }
        if stanzas(bytes.bytes()) != Some(recipients.len()) {
            return Err(damaged("it is sealed to another number of keys than was recorded"));
        }
        Ok(SealedFile { bytes, recipients })
    }
}

#[cfg(test)]
mod tests {
    use super::super::given_content;
    use super::super::tests::{fixture, install, intent};
    use crate::crypt::Identities;
    use crate::values::overlay::{self, Layer, LayerKind};

    const VALUES: &[u8] = b"# ours\nenv: {KEY: kWaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, COUNT: 1.0}\n";

    #[test]
    fn a_sealed_file_is_had_without_a_key_and_opens_to_what_was_given() {
        let fixture = fixture();
        let layers = [(LayerKind::Values, VALUES), (LayerKind::Set, b"env.COUNT=2".as_slice())];
        let given = layers.map(|(kind, bytes)| Layer::new(kind, bytes));
        let id =
            fixture.vault.record_layers(intent("2026-08-20T10:00:00Z", "2026-08-20"), &given, Some(b"chart")).unwrap();
        let deployment = fixture.vault.resolve(&install(), id.as_str()).unwrap();
        let sealed = fixture.vault.sealed_layers(&deployment).unwrap();
        for (place, ((kind, bytes), (found, file))) in layers.iter().zip(&sealed).enumerate() {
            assert_eq!(found, kind);
            assert_eq!(file.recipients, fixture.identities.recipients());
            let plaintext = fixture.identities.open(file.bytes.bytes()).unwrap();
            assert_eq!(given_content(place, *kind, plaintext).unwrap().as_slice(), *bytes);
        }
        let chart = fixture.vault.sealed_chart(&deployment).unwrap().unwrap();
        assert_eq!(fixture.identities.open(chart.bytes.bytes()).unwrap().as_slice(), b"chart");
    }

    #[test]
    fn after_a_rekey_it_is_the_new_file_with_the_new_recipients() {
        let fixture = fixture();
        let id = fixture.vault.record_intent(intent("2026-08-20T10:00:00Z", "2026-08-20"), VALUES, None).unwrap();
        let deployment = fixture.vault.resolve(&install(), id.as_str()).unwrap();
        let escrow = Identities::generate();
        fixture.vault.add_recipient(&escrow.recipients()[0], "ops@host", None).unwrap();
        let sealed = || fixture.vault.sealed_layers(&deployment).unwrap().remove(0).1;
        assert!(escrow.open(sealed().bytes.bytes()).is_err());
        let mut plan = fixture.vault.rekey_plan().unwrap();
        while fixture.vault.rekey_batch(&mut plan, &fixture.identities, "ops@host").unwrap().files > 0 {}
        let after = sealed();
        assert_eq!(escrow.open(after.bytes.bytes()).unwrap().as_slice(), VALUES);
        assert_eq!(after.recipients, fixture.vault.recipients().unwrap().to_strings());
    }

    #[test]
    fn what_helm_stores_of_a_deployment_is_told_by_its_digest() {
        let fixture = fixture();
        let sha256 =
            |value: &str| super::super::files::digest(&overlay::document(&serde_json::from_str(value).unwrap()));
        let recorded = |given: &[Layer]| {
            let id = fixture.vault.record_layers(intent("2026-08-20T10:00:00Z", "2026-08-20"), given, None).unwrap();
            let deployment = fixture.vault.resolve(&install(), id.as_str()).unwrap();
            deployment.document_sha256().map(str::to_owned)
        };
        let file = Layer::new(LayerKind::Values, VALUES);
        let set = Layer::new(LayerKind::Set, *b"env.COUNT=2");
        let stored = |n: &str| format!(r#"{{"env": {{"COUNT": {n}, "KEY": "kWaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}}}"#);
        assert_eq!(recorded(std::slice::from_ref(&file)), Some(sha256(&stored("1"))));
        assert_ne!(recorded(std::slice::from_ref(&file)), Some(sha256(&stored("2"))));
        assert_eq!(recorded(&[file, set]), Some(sha256(&stored("2"))));
        assert_eq!(recorded(&[Layer::new(LayerKind::Values, *b"# nothing\n")]), Some(sha256("null")));
        assert_eq!(recorded(&[Layer::new(LayerKind::Values, *b"a: [")]), None, "helm would not have read it");
    }
}
