//! Writing the vault: what is about to be deployed, and what came of it.
//!
//! Records are a chain: each names the one that was written before it, and that one's digest. The order is that of
//! writing, not of `at`: an old file that is imported today comes after what was recorded yesterday. Two hosts that
//! record at once make a fork; the next record after the merge names all its ends.

use std::collections::HashSet;
use std::sync::Arc;

use super::error::VaultError;
use super::files::{digest, json, new_id, same_install};
use super::git::{Content, Git};
use super::handle::Vault;
use super::layers;
use super::layout::CHART_FILE;
use super::record::{
    Deployment, DeploymentId, DeploymentOutcome, DeploymentRecord, Ended, FORMAT, Intent, Previous, RecordedInstall,
    RecordedLayer, Sealed,
};
use crate::crypt::Recipients;
use crate::values::overlay::{Layer, LayerKind};

impl Vault {
    /// Writes down what is about to be deployed, before helm runs: the values in their layers, all of which are kept, in
    /// their order, the chart's archive, and the record, in one signed commit that is on the disk when this returns.
    /// Needs no identity.
    ///
    /// # Errors
    /// `Locked` when another process writes for half a minute, `Layers` when Helm would not read them; whatever sealing,
    /// signing or writing fails with. Nothing is recorded then.
    pub fn record_layers(
        &self,
        intent: Intent,
        given: &[Layer],
        chart: Option<&[u8]>,
    ) -> Result<DeploymentId, VaultError> {
        self.write_record(intent, given, chart, None)
    }

    /// Writes down a deployment of the past, of which is known what came of it: record and outcome in one signed commit.
    /// A crash leaves both or neither.
    ///
    /// # Errors
    /// As [`Vault::record_layers`].
    pub fn record_past(
        &self,
        intent: Intent,
        values: &[u8],
        chart: Option<&[u8]>,
        ended: Ended,
    ) -> Result<DeploymentId, VaultError> {
        let given = [Layer::new(LayerKind::Values, values)];
        self.write_record(intent, &given, chart, Some(ended))
    }

    fn write_record(
        &self,
        intent: Intent,
        given: &[Layer],
        chart: Option<&[u8]>,
        ended: Option<Ended>,
    ) -> Result<DeploymentId, VaultError> {
        let (merged_sha256, document_sha256) = (layers::merged_sha256(given)?, layers::document_sha256(given));
        let (git, lock) = self.locked()?;
        let recipients = self.recipients()?;
        let known = self.records(&git)?;
        let id = new_id(intent.at)?;
        let folder = format!("deployments/{}/{id}", intent.install.folder());
        let mut files = Vec::new();
        let mut seal = |name: &str, plaintext: &[u8]| -> Result<Sealed, VaultError> {
            let (sealed, content) = self.seal_or_reuse(&git, &known, &recipients, name, plaintext)?;
            files.push((format!("{folder}/{name}"), content));
            Ok(sealed)
        };
        let salt = layers::salt(given);
        let mut layers = Vec::new();
        for (place, layer) in given.iter().enumerate() {
            layers.push(RecordedLayer {
                kind: layer.kind.word().to_owned(),
                name: layer.name.clone(),
                sealed: seal(&layers::file_of(layer, place), &layers::plaintext_of(layer, place, &salt))?,
            });
        }
        let chart_archive = chart.map(|chart| seal(CHART_FILE, chart)).transpose()?;
        let (previous, joins) = ends(&known, &intent.install);
        let record = DeploymentRecord {
            format: FORMAT,
            id: id.clone(),
            install: intent.install,
            at: intent.at,
            by: intent.by,
            why: intent.why,
            how: intent.how,
            opschain_version: intent.opschain_version,
            chart: intent.chart,
            chart_archive,
            layers,
            merged_sha256,
            document_sha256,
            recipients: recipients.to_strings(),
            previous,
            joins,
            dr: env!("CARGO_PKG_VERSION").into(),
            helm: intent.helm,
            operator: intent.operator,
            bundle_before: intent.bundle_before,
        };
        files.push((format!("{folder}/record.json"), Content::Bytes(json(&record)?)));
        if let Some(ended) = ended {
            let outcome = ended.outcome(&record);
            files.push((format!("{folder}/outcome.json"), Content::Bytes(json(&outcome)?)));
        }
        let RecordedInstall { namespace, release, .. } = &record.install;
        let message = format!(
            "Record {} {id}\n\n{} {} for release {release} in namespace {namespace}\n",
            record.how.word(),
            record.chart.name,
            record.chart.version
        );
        self.commit(&git, &lock, files, &message, &record.by)?;
        Ok(id)
    }

    /// Writes down what came of a deployment. The error in it must be scrubbed.
    ///
    /// # Errors
    /// `NotFound` when there is no such deployment, `Rewrite` when it has an outcome already.
    pub fn record_outcome(&self, outcome: DeploymentOutcome, by: &str) -> Result<(), VaultError> {
        let (git, lock) = self.locked()?;
        let folder = self.folder_of(&git, &outcome.id)?;
        let message = format!("Outcome of {}: {}\n", outcome.id, outcome.status.word());
        let files = vec![(format!("{folder}/outcome.json"), Content::Bytes(json(&outcome)?))];
        self.commit(&git, &lock, files, &message, by)
    }

    /// Seals a file, or takes the sealed bytes of an earlier deployment with the same plaintext and recipients.
    fn seal_or_reuse(
        &self,
        git: &Git,
        known: &[Arc<Deployment>],
        recipients: &Recipients,
        name: &str,
        plaintext: &[u8],
    ) -> Result<(Sealed, Content), VaultError> {
        let sha256 = digest(plaintext);
        let wanted = recipients.to_strings();
        for deployment in known.iter().filter(|deployment| deployment.record.recipients == wanted) {
            let layers = deployment.record.layers.iter().map(|layer| &layer.sealed);
            let Some(earlier) = layers.chain(&deployment.record.chart_archive).find(|sealed| sealed.sha256 == sha256)
            else {
                continue;
            };
            let path =
                format!("deployments/{}/{}/{}", deployment.record.install.folder(), deployment.id(), earlier.file);
            let Some(blob) = git.blob_id(&path)? else { continue };
            // Only bytes that are still what was recorded are worth pointing at.
            if digest(&git.blob(blob, &path)?) == earlier.sealed_sha256 {
                return Ok((Sealed { file: name.to_owned(), ..earlier.clone() }, Content::Blob(blob)));
            }
        }
        let bytes = recipients.seal(plaintext).map_err(VaultError::seal(format!("seal {name}")))?;
        let sealed =
            Sealed { file: name.to_owned(), sha256, bytes: plaintext.len() as u64, sealed_sha256: digest(&bytes) };
        Ok((sealed, Content::Bytes(bytes)))
    }
}

/// What the next record of `install` has to name: its `previous`, and its `joins`. `known` is newest first.
fn ends(known: &[Arc<Deployment>], install: &RecordedInstall) -> (Option<Previous>, Vec<Previous>) {
    let own: Vec<&Arc<Deployment>> =
        known.iter().filter(|other| same_install(&other.record.install, install)).collect();
    let named: HashSet<&DeploymentId> = own.iter().flat_map(|other| others(other)).map(|other| &other.id).collect();
    let mut ends = own
        .iter()
        .filter(|deployment| !named.contains(deployment.id()))
        .map(|end| Previous { id: end.id().clone(), record_sha256: end.record_sha256.clone() });
    let previous = ends.next();
    (previous, ends.collect())
}

/// Those that a record names.
fn others(deployment: &Deployment) -> impl Iterator<Item = &Previous> {
    deployment.record.previous.iter().chain(&deployment.record.joins)
}
