//! How the data comes to its place, and what the volume must look like for it. Nothing here asks anybody.

use k8s_openapi::api::core::v1::Pod;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cluster::database::DatabaseSpec;
use crate::cluster::{PodPlacement, first_instance};
use crate::error::{CommandError, Exit, Result};
use crate::helm::Object;
use crate::ops::Ctx;
use crate::ops::helper::{self, RecoveryVolume};
use crate::quantity;

/// The versions of the operator on which the live tests have proved that it takes up a volume that it did not make.
const PROVED_OPERATORS: [&str; 1] = ["1.27.0"];

/// How the data comes to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum RestoreStrategy {
    /// The volume is made and filled first; the operator takes it up when it makes the database
    Adopt,
    /// The operator makes an empty database, which sleeps while the data is put in its place
    #[default]
    Hibernate,
    /// The data is put in the place of what the install that lives has, whose database sleeps meanwhile. Not one to ask
    /// for: it is what --into-existing means.
    #[value(skip)]
    IntoExisting,
}

impl RestoreStrategy {
    /// The word that plans and flags use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Adopt => "adopt",
            Self::Hibernate => "hibernate",
            Self::IntoExisting => "into-existing",
        }
    }
}

/// The volume of the database's first instance, as the operator would make it, and the pod that fills it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct VolumePlan {
    /// Its claim's name.
    pub claim: String,
    /// A quantity, such as `10Gi`.
    pub size: String,
    /// The storage class; the cluster's default one when absent.
    pub storage_class: Option<String>,
    /// The image that the database will run.
    pub image: String,
    /// Where the database's pods will go.
    #[serde(default)]
    pub placement: PodPlacement,
    /// What the database will claim of its node, where the values say it: a volume may bind it to the node of the pod that
    /// fills it.
    pub cpu: Option<String>,
    /// The same of memory, in bytes.
    pub memory_bytes: Option<u64>,
}

/// What was decided.
#[derive(Debug)]
pub(super) struct StrategyChoice {
    pub strategy: RestoreStrategy,
    /// Why it is not `adopt`.
    pub because: Option<String>,
    /// The volume to be made, of `adopt`.
    pub volume: Option<VolumePlan>,
}

/// The strategy: `asked`, else `adopt` where it is proved and possible. `volume` is what is known of the database's volume, or why it cannot be made
/// before the database.
///
/// # Errors
/// `adopt` was asked for and is not possible: [`Exit::Operator`] for an operator without proof, else [`Exit::Usage`].
pub(super) fn choose(
    asked: Option<RestoreStrategy>,
    operator: &str,
    volume: std::result::Result<VolumePlan, String>,
) -> Result<StrategyChoice> {
    let refused = |exit: Exit, why: String| {
        CommandError::new(exit, format!("the strategy adopt is not possible: {why}"))
            .hint("`--strategy hibernate` restores into anything.")
    };
    match asked {
        Some(RestoreStrategy::Adopt) => {
            proved(operator).map_err(|why| refused(Exit::Operator, why))?;
            let volume = volume.map_err(|why| refused(Exit::Usage, why))?;
            Ok(StrategyChoice { strategy: RestoreStrategy::Adopt, because: None, volume: Some(volume) })
        }
        Some(strategy @ (RestoreStrategy::Hibernate | RestoreStrategy::IntoExisting)) => {
            Ok(StrategyChoice { strategy, because: None, volume: None })
        }
        None => Ok(match proved(operator).and(volume) {
            Ok(volume) => StrategyChoice { strategy: RestoreStrategy::Adopt, because: None, volume: Some(volume) },
            Err(why) => hibernate(Some(why)),
        }),
    }
}

fn hibernate(because: Option<String>) -> StrategyChoice {
    StrategyChoice { strategy: RestoreStrategy::Hibernate, because, volume: None }
}

fn proved(operator: &str) -> std::result::Result<(), String> {
    if PROVED_OPERATORS.contains(&operator) {
        return Ok(());
    }
    Err(format!("adopt is proved for operator {}, and {operator} runs here", PROVED_OPERATORS.join(" and ")))
}

/// The spec of `database` among the chart's `rendered` objects.
///
/// # Errors
/// Why there is none, in words that follow a colon.
pub(super) fn database_of<'a>(rendered: &'a [Object], database: &str) -> std::result::Result<&'a Value, String> {
    let is_database = |object: &&Object| object.id.kind == "Cluster" && object.id.group() == "postgresql.cnpg.io";
    let databases: Vec<&Object> = rendered.iter().filter(is_database).collect();
    let [only] = databases[..] else {
        return Err(format!("the chart makes {} databases", databases.len()));
    };
    if only.id.name != database {
        return Err(format!("the chart names its database {}, and the bundle's is {database}", only.id.name));
    }
    Ok(&only.fields["spec"])
}

/// The volume that the operator would make for the first instance of a database with this spec, of the chart.
///
/// # Errors
/// Why it cannot be made before the database, in words that follow a colon.
pub(super) fn volume_of(spec: &Value, database: &str) -> std::result::Result<VolumePlan, String> {
    if let Some((_, what)) = ODD.iter().find(|(place, _)| spec.pointer(place).is_some_and(is_set)) {
        return Err(format!("database {database} {what}"));
    }
    let text = |place: &str, what: &str| {
        let found = spec.pointer(place).and_then(Value::as_str).filter(|text| !text.is_empty());
        found.map(str::to_owned).ok_or_else(|| format!("the chart does not say which {what} database {database} has"))
    };
    Ok(VolumePlan {
        claim: first_instance(database),
        size: text("/storage/size", "size")?,
        storage_class: text("/storage/storageClass", "class").ok(),
        image: text("/imageName", "image")?,
        placement: placement_of(spec)?,
        cpu: claimed(spec, "cpu").and_then(written),
        memory_bytes: claimed(spec, "memory").and_then(quantity::parse).map(|bytes| bytes as u64),
    })
}

/// Refuses, before anything is touched, a database whose WAL has a volume of its own: there is no bringing it back by
/// either strategy.
///
/// # Errors
/// [`Exit::Cluster`].
pub(super) fn refuse_own_wal_volume(spec: &Value, database: &str) -> Result<()> {
    if !is_set(&spec["walStorage"]) {
        return Ok(());
    }
    let what = format!("database {database} keeps its WAL on a volume of its own (walStorage)");
    Err(CommandError::new(Exit::Cluster, what)
        .hint(format!("Restore {database} by hand, as the bundle's README says, with values without walStorage.")))
}

/// Where the pods of a database with this spec will go.
pub(super) fn placement_of(spec: &Value) -> std::result::Result<PodPlacement, String> {
    let read =
        DatabaseSpec::deserialize(spec).map_err(|error| format!("the chart's database is not understood: {error}"))?;
    Ok(PodPlacement::of_database(&read))
}

impl VolumePlan {
    /// The pod that fills it.
    ///
    /// # Errors
    /// The cluster cannot be asked.
    pub(super) async fn pod(&self, ctx: &Ctx, run: &str) -> Result<Pod> {
        let Self { claim, image, placement, cpu, memory_bytes, .. } = self;
        let on = RecoveryVolume { claim, cpu: cpu.as_deref(), memory_bytes: memory_bytes.unwrap_or_default() };
        helper::recovery_pod(ctx, run, image, placement, on).await
    }
}

/// What makes a database more than one volume that any node may hold, by its place in the spec.
const ODD: [(&str, &str); 7] = [
    ("/walStorage", "keeps its WAL on a volume of its own (walStorage)"),
    ("/tablespaces", "has tablespaces on volumes of their own"),
    ("/storage/pvcTemplate", "has a template for its volumes (storage.pvcTemplate)"),
    ("/replica", "is one of several sites (replica)"),
    ("/bootstrap/recovery", "is made from a backup (bootstrap.recovery)"),
    ("/bootstrap/pg_basebackup", "is a copy of another one (bootstrap.pg_basebackup)"),
    ("/affinity/additionalPodAffinity", "goes where certain pods are (affinity.additionalPodAffinity)"),
];

fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    }
}

/// What a database claims of its node: without a request, Kubernetes takes the limit for one.
fn claimed<'a>(spec: &'a Value, resource: &str) -> Option<&'a Value> {
    ["requests", "limits"].iter().find_map(|kind| Some(&spec["resources"][kind][resource]).filter(|v| !v.is_null()))
}

fn written(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::helm::manifest;

    const PLAIN: &str = "\
apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: opschain-db}
spec:
  instances: 1
  imageName: limepoint/opschain-db:17.10
  imagePullSecrets: [{name: opschain-image-secret}]
  bootstrap: {initdb: {database: opschain}}
  storage: {size: 10Gi, storageClass: fast}
  resources: {requests: {cpu: 1}, limits: {memory: 1Gi}}
";

    fn volume(manifest: &str) -> std::result::Result<VolumePlan, String> {
        database_of(&manifest::parse(manifest).unwrap(), "opschain-db").and_then(|spec| volume_of(spec, "opschain-db"))
    }

    #[test]
    fn the_volume_is_what_the_operator_would_make_of_the_rendered_database() {
        let plan = volume(PLAIN).unwrap();
        assert_eq!((plan.claim.as_str(), plan.size.as_str()), ("opschain-db-1", "10Gi"));
        assert_eq!((plan.storage_class.as_deref(), plan.image.as_str()), (Some("fast"), "limepoint/opschain-db:17.10"));
        assert_eq!(plan.placement.pull_secrets, ["opschain-image-secret"]);
        let tainted = "  affinity: {nodeSelector: {a: b}, tolerations: [{key: db}]}";
        let placement = volume(&PLAIN.replace("  instances: 1", tainted)).unwrap().placement;
        assert_eq!((placement.node_selector["a"].as_str(), placement.tolerations.len()), ("b", 1));
        assert_eq!((plan.cpu.as_deref(), plan.memory_bytes), (Some("1"), Some(1 << 30)));
        assert_eq!(volume(&PLAIN.replace(", storageClass: fast", "")).unwrap().storage_class, None);
    }

    #[test]
    fn a_database_of_more_than_one_plain_volume_is_told_by_what_it_has() {
        for (from, to, why) in [
            ("  instances: 1", "  instances: 1\n  walStorage: {size: 1Gi}", "keeps its WAL on a volume of its own"),
            ("  instances: 1", "  instances: 1\n  tablespaces: [{name: t}]", "has tablespaces"),
            ("  instances: 1", "  replica: {primary: other}", "is one of several sites"),
            ("  instances: 1", "  affinity: {additionalPodAffinity: {a: b}}", "goes where certain pods are"),
            ("  instances: 1", "  affinity: {tolerations: 5}", "is not understood"),
            ("{initdb: {database: opschain}}", "{recovery: {source: s}}", "is made from a backup"),
            ("size: 10Gi, ", "", "does not say which size"),
            ("  imageName: limepoint/opschain-db:17.10\n", "", "does not say which image"),
            ("name: opschain-db}", "name: other-db}", "names its database other-db"),
            ("kind: Cluster", "kind: Pooler", "makes 0 databases"),
        ] {
            let said = volume(&PLAIN.replace(from, to)).unwrap_err();
            assert!(said.contains(why), "{to}: {said}");
        }
        assert!(
            volume(&format!("{PLAIN}---\n{}", PLAIN.replace("opschain-db}", "b}"))).unwrap_err().contains("makes 2")
        );
        assert!(volume(&PLAIN.replace("  instances: 1", "  walStorage:\n  tablespaces: []")).is_ok(), "unset");
    }

    #[test]
    fn a_wal_volume_is_refused_whatever_the_strategy() {
        let refused = |spec: Value| {
            let refused = refuse_own_wal_volume(&spec, "opschain-db");
            refused.map_err(|error| (error.exit(), error.message().to_owned()))
        };
        let what = "database opschain-db keeps its WAL on a volume of its own (walStorage)".to_owned();
        assert_eq!(refused(serde_json::json!({"walStorage": {"size": "1Gi"}})), Err((Exit::Cluster, what)));
        assert_eq!(refused(serde_json::json!({"walStorage": null})), Ok(()));
        assert_eq!(refused(serde_json::json!({})), Ok(()));
    }

    #[test]
    fn adopt_is_refused_by_name_where_it_is_not_proved_or_not_possible() {
        let asked = Some(RestoreStrategy::Adopt);
        for operator in PROVED_OPERATORS {
            let choice = choose(asked, operator, volume(PLAIN)).unwrap();
            assert_eq!((choice.strategy, choice.volume), (RestoreStrategy::Adopt, volume(PLAIN).ok()));
        }
        let error = choose(asked, "1.26.0", volume(PLAIN)).unwrap_err();
        assert_eq!(error.exit(), Exit::Operator);
        assert!(error.message().ends_with("and 1.26.0 runs here"), "{error}");
        let error = choose(asked, PROVED_OPERATORS[0], Err("the chart makes 2 databases".into())).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert_eq!(error.message(), "the strategy adopt is not possible: the chart makes 2 databases");
        assert!(error.hints()[0].contains("--strategy hibernate"), "{:?}", error.hints());
    }

    #[test]
    fn adopt_is_taken_where_it_is_proved_and_possible_and_else_hibernate_says_why() {
        let choice = choose(None, PROVED_OPERATORS[0], volume(PLAIN)).unwrap();
        assert_eq!((choice.strategy, choice.because, choice.volume.is_some()), (RestoreStrategy::Adopt, None, true));
        let other = choose(None, "1.20.0", volume(PLAIN)).unwrap();
        assert_eq!((other.strategy, other.volume), (RestoreStrategy::Hibernate, None));
        assert_eq!(other.because.unwrap(), "adopt is proved for operator 1.27.0, and 1.20.0 runs here");
        let odd = choose(None, PROVED_OPERATORS[0], Err("the chart makes 2 databases".into())).unwrap();
        assert_eq!(odd.because.as_deref(), Some("the chart makes 2 databases"));
        let asked = choose(Some(RestoreStrategy::Hibernate), "1.20.0", Err("unknown".into())).unwrap();
        assert_eq!(
            (asked.strategy, asked.because),
            (RestoreStrategy::Hibernate, None),
            "and needs to know of no volume"
        );
    }
}
