//! What a restore will do, or why there can be none. Nothing here asks anybody.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::afterwards::AftermathFacts;
use super::config::{GivenConfig, PairedConfig};
use super::existing::{self, ExistingInstall};
use super::facts::{SourceFacts, TargetFacts};
use super::gate::{self, TargetVersion, VersionFit};
use super::held::{self, HoldFacts, RestoreHold};
use super::images::ReleaseImages;
use super::overrides::{OverridePlace, Overrides, VERSION};
use super::restored_volume::RestoredVolume;
use super::source::RestoreRequest;
use super::strategy::{RestoreStrategy, StrategyChoice, VolumePlan};
use super::then_upgrade::ThenUpgrade;
use crate::bundle::{BundleReference, OutOfScope};
use crate::cluster::{Database, NamespaceState};
use crate::error::{CommandError, Exit, Result};
use crate::names::{NamespaceName, ObjectName, ReleaseName};
use crate::ops::bundles::{self, KeyFiles};
use crate::ops::essentials;
use crate::ops::forecast::Forecast;
use crate::ops::neighbours::StandingNeighbour;
use crate::opschain::Version;
use crate::postgres::Lsn;
use crate::settings::Install;

/// What will be done, and what was seen before. Holds no secret: it stands in the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RestorePlan {
    /// The bundle's name.
    pub bundle: String,
    /// What names it.
    pub source: BundleReference,
    /// SHA-256 of its manifest: a resume takes no other bundle.
    pub manifest_sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// Who signed it, if somebody trusted did.
    pub signer: Option<String>,
    /// The OpsChain version that made it.
    pub made_by: String,
    /// The OpsChain version that is to run.
    pub version: String,
    /// How the two stand to each other.
    pub gate: VersionFit,
    /// The chart: the bundle's own, or one to be pulled.
    pub chart: RestoreChart,
    /// The target namespace.
    pub namespace: NamespaceName,
    /// What was found there: absent, or empty but for these leftovers.
    pub found: NamespaceState,
    /// The target release.
    pub release: ReleaseName,
    /// The kubeconfig context, as its name.
    pub context: String,
    /// The database cluster's name.
    pub database: ObjectName,
    /// Bytes of the data directory.
    pub database_bytes: u64,
    /// The major version of PostgreSQL whose files the bundle holds. Since 1.4.
    #[serde(default)]
    pub postgres_major: Option<u32>,
    /// The database's identity.
    pub system_identifier: String,
    /// The position that the restored database must have passed.
    pub lsn: Lsn,
    /// Settings to open things with.
    pub keys: KeyFiles,
    /// The version of helm.
    pub helm: String,
    /// The version of the operator.
    pub operator: String,
    /// Where the bundle is from (namespace, release, beginning of the database cluster's uid), and how old it is. Since 1.1.
    #[serde(default)]
    pub origin: String,
    /// The public halves of the keys that were given to open it, which the next bundle is to open for, too. Since 1.1.
    #[serde(default)]
    pub opened_by: Vec<String>,
    /// How the data comes to its place. A plan without it is of a time that knew one way only. Since 1.2.
    #[serde(default)]
    pub strategy: RestoreStrategy,
    /// Why it is not the better one.
    #[serde(default)]
    pub strategy_because: Option<String>,
    /// The volume to be made, of `adopt`.
    #[serde(default)]
    pub(super) volume: Option<VolumePlan>,
    /// The labels of pod security that the namespace is made with, as the source's had them. Since 1.3.
    #[serde(default)]
    pub pod_security: BTreeMap<String, String>,
    /// What the database's volume will be made of, where that could be looked at. Since 1.3.
    #[serde(default)]
    pub storage: Option<String>,
    /// What a deleted install has left in the cluster, and this one takes over. Since 1.3.
    #[serde(default)]
    pub(super) taken_over: Vec<StandingNeighbour>,
    /// The values file that is deployed in the place of the bundle's. Since 1.4.
    #[serde(default)]
    pub config: Option<GivenConfig>,
    /// What goes over the values for good: keys with their values. Since 1.4.
    #[serde(default)]
    pub(super) overrides: Vec<(String, String)>,
    /// That the workers stay off until `dr server start`, and why. Since 1.4.
    #[serde(default)]
    pub hold: Option<RestoreHold>,
    /// The install that it is restored over, where one lives.
    #[serde(default)]
    pub existing: Option<ExistingInstall>,
    /// What the application's pods are made of, to be pulled while the data is staged.
    #[serde(default)]
    pub(super) images: ReleaseImages,
    /// How many entries of the bundled LDAP server are put back.
    #[serde(default)]
    pub directory_entries: Option<u64>,
    /// The other volumes that are put back.
    #[serde(default)]
    pub volumes: Vec<RestoredVolume>,
    /// The upgrade that follows.
    #[serde(default)]
    pub then_upgrade: Option<ThenUpgrade>,
    /// How long it will take, by earlier restores of this host.
    #[serde(default)]
    pub forecast: Option<Forecast>,
    /// What decides what people have to do afterwards.
    #[serde(default)]
    pub aftermath: Option<AftermathFacts>,
    /// What does not come back.
    pub scope: Vec<OutOfScope>,
    /// Things that may hurt later.
    pub warnings: Vec<String>,
}

/// Where the chart is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "from")]
pub enum RestoreChart {
    /// The bundle's own: the same version.
    Bundle,
    /// The install's stays as it is.
    Kept,
    /// Another version, pulled.
    Pulled {
        /// An `oci://` reference, a folder or a `.tgz`.
        reference: String,
        version: String,
    },
}

impl RestorePlan {
    /// The install that is restored, with the rest as in `install`.
    pub(super) fn target(&self, install: &Install) -> Install {
        Install { namespace: self.namespace.clone(), release: self.release.clone(), ..install.clone() }
    }

    /// The plan by the strategy that was chosen.
    pub(super) fn by(self, choice: StrategyChoice) -> Self {
        let StrategyChoice { strategy, because, volume } = choice;
        Self { strategy, strategy_because: because, volume, ..self }
    }

    /// The plan over the install that lives, if it is one.
    ///
    /// # Errors
    /// [`Exit::Usage`]: its database is called otherwise than the bundle's.
    pub(super) fn over(self, existing: Option<(ExistingInstall, Database)>) -> Result<Self> {
        let Some((existing, database)) = existing else { return Ok(self) };
        if *database.name != *self.database {
            let what =
                format!("the install's database is called {}, and the bundle's {}", database.name, self.database);
            return Err(CommandError::new(Exit::Usage, what)
                .hint("Restore it into a namespace of its own, with -n: there it gets its own name."));
        }
        Ok(Self { existing: Some(existing), ..self })
    }

    /// What a command takes to name the bundle again. Of a store, the settings say whom to believe.
    pub fn arguments(&self) -> String {
        let is_file = matches!(self.source, BundleReference::File { .. });
        let signers = self.keys.trusted_signers.as_deref();
        bundles::arguments(
            &self.source,
            &self.bundle,
            signers.filter(|_| is_file),
            self.keys.trust_key.as_deref(),
            signers.is_none(),
        )
    }

    /// The plan with the values that will be deployed, what goes over them, and whether the install is held.
    pub(super) fn with_values(
        mut self,
        paired: &PairedConfig,
        version: &Version,
        from: &HoldFacts<'_>,
        held: Option<bool>,
    ) -> Self {
        let (hold, workers) = (held::decide(from, held), from.workers);
        let place = OverridePlace {
            source_namespace: &from.source.namespace,
            namespace: &self.namespace,
            source_database: &from.source.database_cluster,
            database: &self.database,
            version,
            hold: hold.as_ref(),
            workers,
        };
        let Overrides { sets, warnings } = match self.chart {
            RestoreChart::Kept => Overrides::default(),
            _ => Overrides::of(&paired.values, &place),
        };
        self.warnings.extend(warnings);
        Self { config: paired.given.clone(), overrides: sets, hold, ..self }
    }

    /// What goes over the values in every phase, as `--set` takes it. A plan of before 1.4 knows the version only.
    pub(super) fn lasting(&self) -> Vec<(&str, &str)> {
        let version = (self.version != self.made_by).then_some((VERSION, self.version.as_str()));
        let named = self.overrides.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        version.into_iter().filter(|_| self.overrides.iter().all(|(key, _)| key != VERSION)).chain(named).collect()
    }
}

/// Decides.
///
/// # Errors
/// The first thing that would make the restore fail half way or overwrite something, with its own exit code.
pub(super) fn decide(
    request: &RestoreRequest,
    keys: KeyFiles,
    to_run: TargetVersion,
    source: SourceFacts,
    target: TargetFacts,
) -> Result<RestorePlan> {
    let TargetVersion { version, fit, mut warnings } = to_run;
    let chart = match request.keeps_config() {
        true => RestoreChart::Kept,
        false => chart(request, &source, &target, &version, fit)?,
    };
    if let Some(safe) = &target.helm_should_be {
        warnings.push(format!("helm {} has known security holes: {safe} has them closed", target.helm));
    }
    let operator = gate::operator(&target)?;
    if let Some(theirs) = source.operator.as_ref().filter(|theirs| **theirs != operator) {
        gate::refuse_older_operator(theirs, &operator)?;
        warnings.push(format!("the source ran operator {theirs}, and the target runs {operator}"));
    }
    if request.existing.is_none() {
        existing::refuse_occupied(&target)?;
    }
    if target.no_vault {
        warnings.push(format!(
            "this host has no config vault to record the restore in, which the next bundle needs: `{}` makes one first",
            init(&source.opened_by, &target.namespace_name, &target.release)
        ));
    }
    warnings.extend(source.instead_of);
    if !source.lost.is_empty() {
        let (text, way) = essentials::lost_words(&source.lost);
        warnings.push(format!("{text}. {way}"));
    }
    if source.signer.is_none() {
        warnings.push("nobody trusted has signed this bundle: restoring it runs whatever its maker put into it".into());
    }
    Ok(RestorePlan {
        opened_by: source.opened_by,
        bundle: source.bundle,
        source: source.reference,
        manifest_sha256: source.manifest_sha256,
        bytes: source.bytes,
        signer: source.signer,
        made_by: source.version,
        version: version.tag(),
        gate: fit,
        chart,
        namespace: target.namespace_name,
        found: target.namespace,
        release: target.release,
        context: target.context,
        database: source.install.database_cluster,
        database_bytes: source.database_bytes,
        postgres_major: Some(source.postgres_major),
        system_identifier: source.system_identifier,
        lsn: source.lsn,
        keys,
        helm: target.helm,
        operator,
        origin: String::new(),
        strategy: RestoreStrategy::default(),
        strategy_because: None,
        volume: None,
        pod_security: source.pod_security,
        storage: None,
        taken_over: Vec::new(),
        config: None,
        overrides: Vec::new(),
        hold: None,
        existing: None,
        images: ReleaseImages::default(),
        directory_entries: None,
        volumes: Vec::new(),
        then_upgrade: None,
        forecast: None,
        aftermath: None,
        scope: source.scope,
        warnings,
    })
}

fn chart(
    request: &RestoreRequest,
    source: &SourceFacts,
    target: &TargetFacts,
    version: &Version,
    fit: VersionFit,
) -> Result<RestoreChart> {
    if fit == VersionFit::Exact && request.chart.is_none() {
        return Ok(RestoreChart::Bundle);
    }
    let number = version.chart().or_else(|| request.chart.as_ref().map(|_| source.chart_version.clone()));
    let number = number.ok_or_else(|| {
        CommandError::new(Exit::Version, format!("OpsChain {version} has no chart version of its own"))
            .hint("Name the chart's file with --chart.")
    })?;
    let reference = request.chart.clone().unwrap_or_else(|| target.chart.clone());
    Ok(RestoreChart::Pulled { reference, version: number })
}

/// The command that makes a host ready whose bundles open for the keys that opened this one, too.
pub(super) fn init(opened_by: &[String], namespace: &NamespaceName, release: &ReleaseName) -> String {
    let of_install = format!("dr init -n {namespace} --release {release}");
    opened_by.iter().fold(of_install, |command, key| format!("{command} --recipient {key}"))
}

#[cfg(test)]
mod tests {
    use super::super::gate::version_gate;
    use super::*;
    use crate::cluster::ObjectRef;

    const SOURCE: &str = include_str!("../../../fixtures/facts/restore-source.json");
    const ABSENT: &str = include_str!("../../../fixtures/facts/restore-target-absent.json");
    const LEFTOVERS: &str = include_str!("../../../fixtures/facts/restore-target-leftovers.json");
    const OCCUPIED: &str = include_str!("../../../fixtures/facts/restore-target-occupied.json");
    const OPERATOR_STOPPED: &str = include_str!("../../../fixtures/facts/restore-target-operator-stopped.json");

    fn source() -> SourceFacts {
        serde_json::from_str(SOURCE).unwrap()
    }

    fn target(text: &str) -> TargetFacts {
        serde_json::from_str(text).unwrap()
    }

    fn version(text: &str) -> RestoreRequest {
        RestoreRequest { version: Some(text.into()), ..RestoreRequest::default() }
    }

    fn plan(request: &RestoreRequest, source: SourceFacts, target: TargetFacts) -> Result<RestorePlan> {
        let keys = KeyFiles { identity: Some("key.txt".into()), trusted_signers: None, trust_key: None };
        decide(request, keys, version_gate(request, &source)?, source, target)
    }

    fn refusal(exit: Exit, result: Result<impl std::fmt::Debug>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.exit(), exit, "{error}");
        assert!(!error.hints().is_empty(), "{error}");
        error.message().to_owned()
    }

    #[test]
    fn an_absent_namespace_and_the_bundle_s_own_version_need_no_warning() {
        let plan = plan(&RestoreRequest::default(), source(), target(ABSENT)).unwrap();
        assert_eq!(
            (plan.gate, &plan.chart, &plan.found),
            (VersionFit::Exact, &RestoreChart::Bundle, &NamespaceState::Absent)
        );
        assert_eq!((plan.version.as_str(), plan.lasting()), ("2026-08-20", vec![]));
        assert_eq!((&*plan.namespace, plan.operator.as_str()), ("opschain", "1.27.0"));
        assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
    }

    #[test]
    fn what_an_uninstall_has_left_is_no_hindrance_and_stands_in_the_plan() {
        let plan = plan(&RestoreRequest::default(), source(), target(LEFTOVERS)).unwrap();
        let kept = vec![ObjectRef::new("Secret", "opschain-db-credentials")];
        assert_eq!(plan.found, NamespaceState::Empty { kept });
    }

    #[test]
    fn a_namespace_that_is_in_use_or_going_is_refused() {
        let refused = |target| refusal(Exit::NotEmpty, plan(&RestoreRequest::default(), source(), target));
        let text = refused(target(OCCUPIED));
        assert!(text.starts_with("namespace opschain is not empty: it has Cluster opschain-db, "), "{text}");
        assert!(text.ends_with(" more"), "{text}");
        let going = TargetFacts { namespace: NamespaceState::Terminating, ..target(ABSENT) };
        assert_eq!(refused(going), "namespace opschain is still being deleted");
    }

    #[test]
    fn an_operator_that_is_missing_or_not_ready_is_refused() {
        let refused = |target| refusal(Exit::Operator, plan(&RestoreRequest::default(), source(), target));
        let text = refused(target(OPERATOR_STOPPED));
        assert_eq!(text, "operator cnpg-controller-manager in namespace cnpg-system is not ready");
        let gone = TargetFacts { operator: None, ..target(ABSENT) };
        assert_eq!(refused(gone.clone()), "the CloudNativePG operator is not running");
        let never = TargetFacts { knows_databases: false, ..gone };
        assert_eq!(refused(never), "the cluster has no CloudNativePG operator");
    }

    #[test]
    fn only_a_version_that_can_run_on_the_data_is_let_through_unless_told() {
        let refused = |text: &str| refusal(Exit::Version, version_gate(&version(text), &source()));
        let text = refused("2026-07-28");
        assert!(
            text.ends_with("under 2026-07-28: its database schema is older, and OpsChain does not go back"),
            "{text}"
        );
        assert!(refused("edge").ends_with("are not of one order of releases"));
        refusal(Exit::Usage, version_gate(&version("?"), &source()));
        refusal(
            Exit::Usage,
            version_gate(&RestoreRequest::default(), &SourceFacts { version: "?".into(), ..source() }),
        );
        for text in ["2026-07-28", "edge"] {
            let told = RestoreRequest { allow_version: true, ..version(text) };
            let to_run = version_gate(&told, &source()).unwrap();
            assert_eq!(to_run.fit, VersionFit::Overridden);
            assert_eq!(to_run.warnings, [format!("--allow-version: data of 2026-08-20 will run under {text}")]);
        }
        // Files of another major version of PostgreSQL do not open, whatever flag is given.
        let old = SourceFacts { version: "2024-06-17".into(), ..source() };
        for allow_version in [false, true] {
            let asked = RestoreRequest { allow_version, ..version("2025-01-23") };
            let text = refusal(Exit::Version, version_gate(&asked, &old));
            assert!(text.ends_with("PostgreSQL 14 became 17 between them"), "{text}");
        }
    }

    #[test]
    fn a_newer_version_is_pulled_and_what_lies_between_is_said() {
        let plan = plan(&version("2026-09-14"), source(), target(ABSENT)).unwrap();
        let reference = target(ABSENT).chart;
        assert_eq!(plan.chart, RestoreChart::Pulled { reference, version: "2026.9.14".into() });
        assert_eq!((plan.gate, plan.lasting()), (VersionFit::Newer, vec![(VERSION, "2026-09-14")]));
        let between = "2026-09-14 is 2 releases after 2026-08-20: 2026-09-10, 2026-09-14";
        assert!(plan.warnings.iter().any(|warning| warning == between), "{:?}", plan.warnings);
    }

    #[test]
    fn a_version_without_a_chart_of_its_own_needs_one_to_be_named() {
        let asked = RestoreRequest { allow_version: true, ..version("edge") };
        let text = refusal(Exit::Version, plan(&asked, source(), target(ABSENT)));
        assert_eq!(text, "OpsChain edge has no chart version of its own");
        let named = RestoreRequest { chart: Some("chart.tgz".into()), ..asked };
        let chart = plan(&named, source(), target(ABSENT)).unwrap().chart;
        assert_eq!(chart, RestoreChart::Pulled { reference: "chart.tgz".into(), version: source().chart_version });
    }

    #[test]
    fn what_differs_from_the_source_is_warned_of() {
        let elsewhere =
            TargetFacts { namespace_name: "elsewhere".into(), helm_should_be: Some("4.1.4".into()), ..target(ABSENT) };
        let from = SourceFacts { operator: Some("1.26.0".into()), signer: None, ..source() };
        let warnings = plan(&RestoreRequest::default(), from, elsewhere).unwrap().warnings;
        for (warning, begin) in warnings.iter().zip([
            "helm ",
            "the source ran operator 1.26.0, and the target runs 1.27.0",
            "nobody trusted has signed this bundle",
        ]) {
            assert!(warning.starts_with(begin), "{warnings:?}");
        }
        assert_eq!(warnings.len(), 3, "{warnings:?}");
    }
}
