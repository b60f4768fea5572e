//! What the config vault has of a deployment, for a bundle. No key is needed: what is sealed is taken on as it is.

use serde_json::Value;
use zeroize::Zeroizing;

use super::recognise;
use crate::bundle::{BundleError, Writer};
use crate::crypt::{Hashed, Recipients};
use crate::error::{CommandError, Exit, Result};
use crate::ops::carried::ConfigSource;
use crate::ops::release::LayerMember;
use crate::values::overlay;
use crate::vault::{Deployment, SealedFile};

/// What the vault has of a deployment, sealed to the recipients of the bundle.
pub(in crate::ops) struct VaultConfig {
    values: Values,
    /// SHA-256 of what Helm has stored of the values.
    helm_sha256: String,
    /// The layers, where the values were given in several.
    layers: Vec<(LayerMember, Hashed)>,
    chart: Hashed,
}

enum Values {
    /// One file, as the vault has sealed it.
    File { sealed: Hashed, sha256: String },
    /// What Helm makes of several layers, which the vault has only in its parts.
    Merged(Zeroizing<Vec<u8>>),
}

impl VaultConfig {
    /// Takes on what the vault has of `deployment`; `stored` is what Helm has stored of its values.
    ///
    /// # Errors
    /// [`Exit::Drift`] when they are other values, [`Exit::Keys`] when they are sealed to others than `recipients`,
    /// [`Exit::Vault`] when the chart is missing or a file is damaged.
    pub(in crate::ops) fn gather(
        source: &ConfigSource<'_>,
        deployment: &Deployment,
        stored: &Value,
        recipients: &Recipients,
    ) -> Result<Self> {
        let helm_sha256 = recognise::digest(stored);
        recognise::refuse_other_values(deployment, &helm_sha256)?;
        Self::taken(source, deployment, helm_sha256, || overlay::document(stored), recipients)
    }

    /// As [`Self::gather`] where there is no Helm that could be asked what it has stored; `merged` is what that was, where the
    /// values were given in several layers.
    ///
    /// # Errors
    /// As [`Self::gather`]; [`Exit::Vault`] where the record has no digest of it.
    pub(in crate::ops) fn recorded(
        source: &ConfigSource<'_>,
        deployment: &Deployment,
        merged: Option<Zeroizing<Vec<u8>>>,
        recipients: &Recipients,
    ) -> Result<Self> {
        let helm_sha256 = deployment.document_sha256().ok_or_else(|| {
            CommandError::new(
                Exit::Vault,
                format!("the record of deployment {} is of before dr kept digests", deployment.id()),
            )
            .hint("Record its values once more: `dr config record values.yaml --at TIME --chart REF`.")
        })?;
        Self::taken(source, deployment, helm_sha256.to_owned(), || merged.unwrap_or_default(), recipients)
    }

    fn taken(
        source: &ConfigSource<'_>,
        deployment: &Deployment,
        helm_sha256: String,
        merged: impl FnOnce() -> Zeroizing<Vec<u8>>,
        recipients: &Recipients,
    ) -> Result<Self> {
        let same = |file: SealedFile| same_recipients(deployment, file, recipients);
        let chart = source.chart(deployment)?.ok_or_else(|| {
            CommandError::new(Exit::Vault, format!("deployment {} was recorded without its chart", deployment.id()))
                .hint("Deploy once more through dr, which keeps the chart: `dr deploy -f values.yaml --version V`.")
        })?;
        let chart = same(chart)?;
        let names = deployment.record.layers.iter().map(|layer| &layer.name);
        let mut layers = Vec::new();
        for (place, ((kind, file), name)) in source.layers(deployment)?.into_iter().zip(names).enumerate() {
            layers.push((LayerMember::of(place, kind, name.clone()), same(file)?));
        }
        let values = match (&deployment.record.merged_sha256, deployment.values_sha256()) {
            // One file is all there is to say of it.
            (None, Some(sha256)) => layers.pop().map(|(_, sealed)| Values::File { sealed, sha256: sha256.to_owned() }),
            _ => None,
        };
        let values = values.unwrap_or_else(|| Values::Merged(merged()));
        Ok(Self { values, helm_sha256, layers, chart })
    }

    /// Refuses a deployment that the vault has sealed to others than `recipients`: what [`VaultConfig::gather`] would
    /// refuse later, when the run has begun.
    ///
    /// # Errors
    /// [`Exit::Keys`] naming who is missing; a file is damaged.
    pub(in crate::ops) fn refuse_other_recipients(
        source: &ConfigSource<'_>,
        deployment: &Deployment,
        recipients: &Recipients,
    ) -> Result<()> {
        let layers = source.layers(deployment)?.into_iter().map(|(_, file)| file);
        layers
            .chain(source.chart(deployment)?)
            .try_for_each(|file| same_recipients(deployment, file, recipients).map(drop))
    }

    /// How the layers were given and which members hold them, where the values were given in several.
    pub(in crate::ops) fn layers(&self) -> Vec<LayerMember> {
        self.layers.iter().map(|(member, _)| member.clone()).collect()
    }

    /// Adds the values.
    ///
    /// # Errors
    /// The writer's.
    pub(in crate::ops) fn add_values(&self, writer: &mut Writer) -> Result<(), BundleError> {
        match &self.values {
            Values::File { sealed, sha256 } => writer.add_sealed_values(sealed, sha256, &self.helm_sha256),
            Values::Merged(document) => writer.seal_config("values.yaml", document),
        }
    }

    /// Adds the layers.
    ///
    /// # Errors
    /// The writer's.
    pub(in crate::ops) fn add_layers(&self, writer: &mut Writer) -> Result<(), BundleError> {
        for (layer, sealed) in &self.layers {
            writer.add_sealed(&format!("config/{}.age", layer.file), sealed)?;
        }
        Ok(())
    }

    /// Adds the chart as `<chart>.tgz`.
    ///
    /// # Errors
    /// The writer's.
    pub(in crate::ops) fn add_chart(&self, writer: &mut Writer, chart: &str) -> Result<(), BundleError> {
        writer.add_sealed(&format!("chart/{chart}.tgz.age"), &self.chart)
    }
}

/// A bundle names whom it opens for, so all its members must open for exactly these.
fn same_recipients(deployment: &Deployment, file: SealedFile, wanted: &Recipients) -> Result<Hashed> {
    let sorted = |mut keys: Vec<String>| {
        keys.sort();
        keys
    };
    let (has, wanted) = (sorted(file.recipients), sorted(wanted.to_strings()));
    if has == wanted {
        return Ok(file.bytes);
    }
    let only_in = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|key| !those.contains(key)).cloned().collect()
    };
    let (lacks, besides) = (only_in(&wanted, &has), only_in(&has, &wanted));
    let differences: Vec<String> = [("lacks", &lacks), ("has besides", &besides)]
        .into_iter()
        .filter(|(_, keys)| !keys.is_empty())
        .map(|(how, keys)| format!("{how} {}", keys.join(", ")))
        .collect();
    let what = format!(
        "the config vault has sealed deployment {} to other recipients than the bundle's: it {}",
        deployment.id(),
        differences.join(", and ")
    );
    let mut error = CommandError::new(Exit::Keys, what);
    for key in lacks {
        error = error.hint(format!("`dr config recipients add {key}` seals to it from now on."));
    }
    for key in besides {
        error = error.hint(format!(
            "{key}: add it to `recipients` under [keys] in dr.toml, or `dr config recipients rm {key}`."
        ));
    }
    Err(error.hint("Then seal what was recorded before anew, where there is a key that opens it: `dr config rekey`."))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::bundle::{BackupFacts, RawTotal, Reader, Stream, Trust, testing};
    use crate::crypt::{Identities, Signer};
    use crate::event::Events;
    use crate::store::{DirectoryStore, Store};
    use crate::values::overlay::{Layer, LayerKind};
    use crate::vault::{How, Intent, RecordedChart, RecordedInstall, Vault, given_content};

    const VALUES: &[u8] = b"# ours\r\nenv: {KEY: kWaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, COUNT: 1.0}";
    const CHART: &[u8] = b"the packaged chart";

    /// A host that holds public keys and a signing key, and nothing that opens anything.
    struct PublicHost {
        folder: tempfile::TempDir,
        recipients: Recipients,
        signer: Signer,
        vault: Vault,
    }

    impl PublicHost {
        fn new(identities: &Identities) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let recipients = Recipients::parse(identities.recipients()).unwrap();
            let (signer, commits) = (Signer::generate("x").unwrap(), Signer::generate("x").unwrap());
            let sign = Arc::new(move |bytes: &[u8]| commits.sign("git", bytes).map_err(|error| error.to_string()));
            let vault = Vault::init(&folder.path().join("vault"), &recipients, "ops@host", sign).unwrap();
            Self { folder, recipients, signer, vault }
        }

        fn record(&self, layers: &[(LayerKind, &[u8])], chart: Option<&[u8]>) -> Deployment {
            let install =
                RecordedInstall { namespace: "ops".into(), release: "opschain".into(), context: None, cluster: None };
            let intent = Intent {
                install: install.clone(),
                at: "2026-08-20T10:00:00Z".parse().unwrap(),
                by: "ops@host".into(),
                why: None,
                how: How::Deploy,
                opschain_version: None,
                chart: RecordedChart {
                    name: "opschain".into(),
                    version: "1.0.0".into(),
                    app_version: None,
                    reference: "oci://r/opschain".into(),
                    digest: None,
                },
                helm: None,
                operator: None,
                bundle_before: None,
            };
            let given: Vec<_> = layers.iter().map(|(kind, bytes)| Layer::new(*kind, *bytes)).collect();
            let id = self.vault.record_layers(intent, &given, chart).unwrap();
            self.vault.resolve(&install, id.as_str()).unwrap()
        }

        fn gather(&self, deployment: &Deployment, stored: &Value) -> Result<VaultConfig> {
            VaultConfig::gather(&ConfigSource::Vault(&self.vault), deployment, stored, &self.recipients)
        }

        fn refused(&self, deployment: &Deployment, stored: &Value) -> (Exit, String) {
            let error = self.gather(deployment, stored).err().unwrap();
            assert!(!error.hints().is_empty(), "{error}");
            (error.exit(), error.to_string())
        }

        /// A whole bundle of it, read back.
        fn bundle(&self, config: &VaultConfig) -> Reader {
            let store = DirectoryStore::create(&self.folder.path().join("store")).unwrap();
            let mut writer = Writer::create(&store, testing::header(), self.recipients.clone()).unwrap();
            config.add_values(&mut writer).unwrap();
            for name in ["release.json", "secrets.yaml"] {
                writer.seal_config(name, b"{}").unwrap();
            }
            config.add_layers(&mut writer).unwrap();
            config.add_chart(&mut writer, "opschain-1.0.0").unwrap();
            let sealed = Hashed::of(self.recipients.seal(b"x").unwrap());
            for stream in [Stream::Base, Stream::Wal] {
                writer.add_chunk(stream, 0, &sealed, 1, &[0; 32]).unwrap();
            }
            writer.add_sealed("db/backup_manifest.age", &sealed).unwrap();
            let one = RawTotal { bytes: 1 };
            let (_, manifest) = testing::manifest();
            let facts = BackupFacts {
                database: manifest.database,
                base: one,
                wal: one,
                counts: Default::default(),
                scope: Vec::new(),
            };
            let unpublished = writer.finish(facts, &self.signer).unwrap();
            unpublished.verify(&Events::none(), &Default::default()).unwrap().publish(&store).unwrap();
            Reader::open_in(&store, &store.list().unwrap()[0].name, &Trust::Anyone(Default::default())).unwrap()
        }
    }

    fn stored(count: u32) -> Value {
        serde_json::json!({"env": {"KEY": "kWaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "COUNT": count}})
    }

    #[test]
    fn a_host_without_a_private_key_makes_a_bundle_that_opens_to_the_exact_bytes() {
        let identities = Identities::generate();
        let host = PublicHost::new(&identities);
        let deployment = host.record(&[(LayerKind::Values, VALUES)], Some(CHART));
        let reader = host.bundle(&host.gather(&deployment, &stored(1)).unwrap());
        let open = |member: &str| reader.open_member(member, &identities).unwrap();
        assert_eq!(open("config/values.yaml.age").as_slice(), VALUES);
        assert_eq!(open(reader.chart().unwrap()).as_slice(), CHART);
    }

    #[test]
    fn layers_travel_as_the_vault_has_them_and_the_values_are_what_helm_made_of_them() {
        let identities = Identities::generate();
        let host = PublicHost::new(&identities);
        let layers = [(LayerKind::Values, VALUES), (LayerKind::Set, b"env.COUNT=2".as_slice())];
        let deployment = host.record(&layers, Some(CHART));
        let config = host.gather(&deployment, &stored(2)).unwrap();
        let reader = host.bundle(&config);
        let values = reader.open_member("config/values.yaml.age", &identities).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&values).unwrap(), stored(2));
        assert_eq!(Some(reader.manifest().values_sha256.as_str()), deployment.values_sha256());
        for (place, (member, (kind, bytes))) in config.layers().iter().zip(layers).enumerate() {
            let sealed = reader.open_member(&format!("config/{}.age", member.file), &identities).unwrap();
            assert_eq!((member.kind, given_content(place, kind, sealed).unwrap().as_slice()), (kind, bytes));
        }
    }

    #[test]
    fn other_values_other_recipients_and_a_missing_chart_are_refused() {
        let mut host = PublicHost::new(&Identities::generate());
        let deployment = host.record(&[(LayerKind::Values, VALUES)], Some(CHART));
        assert_eq!(host.refused(&deployment, &stored(2)).0, Exit::Drift);
        let bare = host.record(&[(LayerKind::Values, VALUES)], None);
        assert_eq!(host.refused(&bare, &stored(1)).0, Exit::Vault);
        let (own, other) = (host.recipients.to_strings(), Identities::generate().recipients());
        let before = |recipients: &Recipients| {
            VaultConfig::refuse_other_recipients(&ConfigSource::Vault(&host.vault), &deployment, recipients)
        };
        before(&host.recipients).unwrap();
        let refused = before(&Recipients::parse(&other).unwrap()).unwrap_err();
        assert!(refused.hints()[0].starts_with(&format!("`dr config recipients add {}`", other[0])), "{refused:?}");
        host.recipients = Recipients::parse(&other).unwrap();
        let (exit, text) = host.refused(&deployment, &stored(1));
        assert_eq!(exit, Exit::Keys);
        assert!(text.ends_with(&format!("it lacks {}, and has besides {}", other[0], own[0])), "{text}");
        host.recipients = Recipients::parse([&own[0], &other[0]]).unwrap();
        assert!(host.refused(&deployment, &stored(1)).1.ends_with(&format!("it lacks {}", other[0])));
    }
}
