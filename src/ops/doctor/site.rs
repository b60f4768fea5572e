//! What is looked at in the cluster: permissions, operator, install, database, image.

use super::findings::{FindingsBuilder, Level};
use super::pods::HelperPods;
use crate::cluster::{
    Cluster, ClusterError, Database, OverfullQuota, Permission, PodPlacement, PodsReturn, RUN_LABEL, WATCHDOG_NEEDS,
    lease_name, register_credentials,
};
use crate::error::{CommandError, Result};
use crate::ops::Ctx;
use crate::ops::essentials::Essentials;
use crate::ops::quiesce::{RunPutBackFirst, WriterFacts};
use crate::ops::{create, lease, maintenance, quiesce, rbac, runs, server};
use crate::opschain::maintenance::{TOKEN_RIGHTS, WorkSight};
use crate::opschain::{Names, Version};
use crate::text::bytes;

/// What is looked at for a bundle, in the words of RBAC.
const LOOKED_AT: &[Permission] = &[
    Permission::here("list", "", "pods"),
    Permission::here("get", "", "pods").of_part("log"),
    Permission::here("list", "autoscaling", "horizontalpodautoscalers"),
    Permission::here("list", "postgresql.cnpg.io", "clusters"),
    Permission::here("list", "", "secrets"),
    Permission::here("list", "", "configmaps"),
    Permission::here("list", "", "persistentvolumeclaims"),
];

/// What deployments and restores need beside, the last one where the namespace is new.
const WISHED: &[Permission] = &[
    Permission::here("create", "", "secrets"),
    Permission::here("patch", "", "secrets"),
    Permission::here("create", "", "configmaps"),
    Permission::here("patch", "", "configmaps"),
    Permission::here("create", "", "persistentvolumeclaims"),
    Permission::here("create", "postgresql.cnpg.io", "clusters"),
    Permission::here("patch", "postgresql.cnpg.io", "clusters"),
    Permission::wide("create", "", "namespaces"),
];

/// Clocks that are further apart than these seconds are warned of.
const CLOCK_LIMIT: i64 = 30;

/// The operator that OpsChain ships; its published values ask for this or later.
const OPERATOR: semver::Version = semver::Version::new(1, 27, 0);

/// Looks at the cluster itself, and returns it where it answers. `is_known` says that the namespace of its install is.
pub(super) async fn cluster(ctx: &Ctx, is_known: bool, findings: &mut FindingsBuilder) -> Option<Cluster> {
    let install = ctx.install();
    register_credentials(ctx.secrets());
    let cluster = match Cluster::connect(install.context.as_deref(), &install.namespace).await {
        Ok(cluster) => cluster.with_redaction(ctx.secrets()),
        Err(error) => {
            findings.failed("cluster", error);
            return None;
        }
    };
    findings.known.reachable = true;
    let context = cluster.context();
    findings
        .ok("cluster", format!("context `{context}`: {} is Kubernetes {}", cluster.server(), cluster.server_version()));
    clock(&cluster, findings).await;
    if !is_known {
        let text = "which namespace is meant is not known, so no install was looked at";
        findings.warn("install", text, "fix the settings, or name it with --namespace");
    } else if let Err(error) = permissions(&cluster, findings).await {
        findings.failed("cluster", error);
    }
    if let Err(error) = operator(&cluster, findings).await {
        findings.failed("operator", error);
    }
    Some(cluster)
}

/// Looks at the install; where `probe` is asked for, its pods are tried.
pub(super) async fn install(ctx: &Ctx, cluster: &Cluster, probe: bool, findings: &mut FindingsBuilder) {
    if let Err(error) = opschain(ctx, cluster, probe, findings).await {
        findings.failed("install", error);
    }
}

/// Certificates, the age of bundles and what a person reads in a record go by this host's clock.
async fn clock(cluster: &Cluster, findings: &mut FindingsBuilder) {
    let Some(apart) = cluster.clock_ahead().await else {
        let text = "the API server's answers do not tell the time: this host's clock was not held against it";
        return findings.warn("cluster", text, "look at this host's clock yourself (chronyc tracking, timedatectl)");
    };
    let seconds = apart.as_secs();
    if seconds.abs() < CLOCK_LIMIT {
        return findings.ok("cluster", "this host's clock and the API server's agree");
    }
    let way = if seconds > 0 { "ahead of" } else { "behind" };
    let text = format!("this host's clock is {} s {way} the API server's", seconds.abs());
    findings.warn("cluster", text, "set both by the same time servers (chronyc tracking, timedatectl)");
}

async fn permissions(cluster: &Cluster, findings: &mut FindingsBuilder) -> Result<()> {
    let list = |denied: &[Permission]| denied.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let namespace = cluster.namespace();
    let grant = format!(
        "have an administrator grant it in namespace {namespace}: `dr rbac --subject user:NAME` prints the roles"
    );
    let mut needed = [LOOKED_AT.to_vec(), rbac::to_create(), rbac::to_switch()].concat();
    needed.extend(
        ["kube-system", namespace].map(|name| Permission::wide("get", "", "namespaces").named(name.to_owned())),
    );
    let denied = cluster.denied(&needed).await?;
    if denied.is_empty() {
        let text = format!("all {} permissions that a bundle needs in namespace {namespace}", needed.len());
        findings.ok("cluster", text);
    } else {
        findings.bad("cluster", format!("the access rules do not allow: {}", list(&denied)), grant.clone());
    }
    let unwatched = cluster.denied(WATCHDOG_NEEDS).await?;
    if !unwatched.is_empty() {
        let text = format!("a bundle run cannot make its watchdog, which would need: {}", list(&unwatched));
        findings.warn("cluster", text, grant.clone());
    }
    let vault = Permission::here("patch", "apps", "statefulsets").of_part("scale").named(Names::default().vault());
    let wished = cluster.denied(&[WISHED, &[vault]].concat()).await?;
    if !wished.is_empty() {
        findings.warn("cluster", format!("a deployment or restore would also need: {}", list(&wished)), grant);
    }
    Ok(())
}

async fn operator(cluster: &Cluster, findings: &mut FindingsBuilder) -> Result<()> {
    const MANIFEST: &str =
        "apply the operator's manifest that comes with OpsChain: kubectl apply --server-side -f cnpg-operator.yaml";
    if !cluster.knows_databases().await? {
        findings.bad("operator", "this cluster has no CloudNativePG operator", MANIFEST);
        return Ok(());
    }
    match cluster.operator().await {
        Ok(Some(operator)) if operator.is_ready() => {
            let version = operator.version.as_deref().unwrap_or("of unknown version");
            let text = format!("database operator {version} in namespace {}", operator.namespace);
            match operator.version.as_deref().map(semver::Version::parse) {
                Some(Ok(found)) if found < OPERATOR => {
                    findings.warn("operator", format!("{text}: OpsChain asks for {OPERATOR} or later"), MANIFEST);
                }
                _ => findings.ok("operator", text),
            }
        }
        Ok(Some(operator)) => findings.bad(
            "operator",
            format!("database operator {}: {} of {} pods ready", operator.name, operator.ready, operator.replicas),
            format!("kubectl -n {} describe deployment {}", operator.namespace, operator.name),
        ),
        Ok(None) => findings.bad("operator", "the operator's kinds are known, but no operator runs", MANIFEST),
        Err(error) => findings.doubtful("operator", error),
    }
    match cluster.check_operator_webhook().await {
        Ok(()) => findings.ok("operator", "its webhook answers"),
        Err(error) if error.is_forbidden() => findings.doubtful("operator", error),
        Err(error) => findings.failed("operator", error),
    }
    Ok(())
}

async fn opschain(ctx: &Ctx, cluster: &Cluster, probe: bool, findings: &mut FindingsBuilder) -> Result<()> {
    let name =
        ctx.settings().map_or_else(|_| Names::default().database(), |settings| settings.database.cluster.to_string());
    let namespace = cluster.namespace();
    if cluster.namespace_uid().await?.is_none() {
        findings.warn(
            "install",
            format!("there is no namespace {namespace} yet"),
            "dr bundle restore --version V, where it is to come back; dr deploy -f values.yaml --version V, where it is new",
        );
        return Ok(());
    }
    let database = cluster.database(&name).await?;
    if cluster.deployment(&Names::default().api()).await?.is_none() && database.is_none() {
        findings.warn(
            "install",
            format!("namespace {namespace} has no OpsChain yet"),
            "dr bundle restore --version V, where it is to come back; dr deploy -f values.yaml --version V, where it is new",
        );
        return Ok(());
    }
    findings.known.installed = true;
    let version = version(cluster).await?;
    let known = version.as_ref().and_then(Version::release).is_some();
    let text = format!(
        "OpsChain {} in namespace {namespace}",
        version.as_ref().map_or_else(|| "of unknown version".into(), Version::tag)
    );
    if known {
        findings.ok("install", text);
    } else {
        findings.warn(
            "install",
            format!("{text}, which is no release that this dr knows"),
            "read its release notes before upgrading or restoring",
        );
    }
    application(ctx, cluster, findings).await?;
    essentials(ctx, findings).await?;
    returning(cluster, findings).await;
    work(ctx, cluster, findings).await;
    match database {
        Some(database) => db(ctx, cluster, &database, probe, findings).await?,
        None => findings.bad(
            "database",
            format!("there is no database {name} in namespace {namespace}"),
            "set `cluster` under [database] to its name (kubectl get clusters.postgresql.cnpg.io -A)",
        ),
    }
    let held = cluster.lease_holder(&lease_name(&ctx.install().release)).await?;
    // That of the run which has the install half done was said with it.
    if let Some(held) = held.as_ref().filter(|_| findings.known.half_done.is_none()) {
        let text = format!("{held}; if it is dead, the next run takes it over once nothing renews it for a minute");
        let here = matches!(held, ClusterError::Held { host, .. } if **host == ctx.who);
        let on = if here { "this host" } else { "that host" };
        findings.warn("install", text, format!("wait for it, or look with dr run list on {on}"));
    }
    let holder = held.as_ref().and_then(|held| match held {
        ClusterError::Held { holder, .. } => Some(holder.as_str()),
        _ => None,
    });
    for (run, left) in cluster.left_by_runs().await? {
        if holder == Some(&run) || runs::is_open(ctx, &run) {
            continue;
        }
        let text = format!("run {run} is no open run of this host, and has left {}", left.join(", "));
        let remove = "delete pod,rolebinding,role,serviceaccount";
        let way = format!("if it is at work nowhere: kubectl -n {namespace} {remove} -l {RUN_LABEL}={run}");
        findings.warn("install", text, way);
    }
    Ok(())
}

/// The release that the application was told to be: the chart puts all of `env` into this config map.
async fn version(cluster: &Cluster) -> Result<Option<Version>> {
    let config = cluster.config_map("opschain-config").await?;
    let text = config.and_then(|config| config.value("OPSCHAIN_VERSION"));
    Ok(text.and_then(|bytes| String::from_utf8(bytes).ok()?.parse().ok()))
}

async fn application(ctx: &Ctx, cluster: &Cluster, findings: &mut FindingsBuilder) -> Result<()> {
    let counts = quiesce::present(cluster).await?;
    if counts.is_empty() {
        quiesce::require_all(&counts, cluster.namespace())?;
    }
    for name in quiesce::WRITERS.iter().filter(|name| counts.iter().all(|count| count.name != **name)) {
        let way = findings.known.way_out(quiesce::MAKE_AGAIN);
        findings.bad("install", format!("there is no Deployment {name}"), way);
    }
    let put_back_first = runs::to_put_back(ctx).await.unwrap_or_default();
    if let Some((level, text)) = stopped(&counts, &put_back_first) {
        let way = server::way_back(ctx).await.ok().flatten().unwrap_or_else(|| "dr server status".to_owned());
        let way = findings.known.way_out(way);
        findings.known.way_back = Some(way.clone());
        findings.add("install", level, text, way);
    }
    for count in counts.iter().filter(|count| count.now > 0) {
        if let Some(workload) = cluster.deployment(&count.name).await?
            && !workload.is_settled()
        {
            let why = workload.failure.as_ref().map_or_else(String::new, |why| format!(": {why}"));
            let text = format!("{} is not ready: {} of {} pods{why}", count.name, workload.ready, workload.replicas);
            let what = match why.contains("quota") {
                true => "quota".to_owned(),
                false => format!("deployment {}", count.name),
            };
            let level = if workload.ready == 0 { Level::Bad } else { Level::Warn };
            let way = findings.known.way_out(format!("kubectl -n {} describe {what}", cluster.namespace()));
            findings.add("install", level, text, way);
        }
    }
    let names: Vec<&str> = counts.iter().map(|count| count.name.as_str()).collect();
    for (scaler, target) in cluster.autoscalers(&names).await? {
        findings.warn(
            "install",
            format!("autoscaler {scaler} may scale {target} up while a bundle is made"),
            "suspend it for that time",
        );
    }
    Ok(())
}

/// Whether what is there could start again, and its data be opened.
async fn essentials(ctx: &Ctx, findings: &mut FindingsBuilder) -> Result<()> {
    const AREA: &str = "install";
    let Essentials { lost, lacking, overfull, .. } = Essentials::look(ctx, None).await?;
    let fine = lost.is_empty() && lacking.is_empty() && overfull.is_empty();
    let restored = "put it back: `dr bundle extract BUNDLE secrets` shows what a bundle holds of it";
    for lost in lost {
        findings.bad(AREA, format!("{lost}, is missing: the data cannot be opened without it"), restored);
    }
    for lack in lacking {
        let text = format!("{} needs {lack}, which is not there: its pods do not start again", lack.workload);
        findings.bad(AREA, text, "put it back; what else is not as it was deployed says dr config drift");
    }
    for OverfullQuota { name, resource, used, hard } in overfull {
        let text = format!(
            "quota {name} allows {hard} of {resource}, and {used} are used: what is stopped does not come back"
        );
        findings.warn(AREA, text, "raise it, or end what is not needed");
    }
    if fine {
        findings.ok(AREA, "what its pods need to start again is there");
    }
    Ok(())
}

/// Whether the writers' pods would be made again, and a node be found for them.
async fn returning(cluster: &Cluster, findings: &mut FindingsBuilder) {
    const AREA: &str = "install";
    let found = async {
        let writers = quiesce::present(cluster).await?;
        let running: Vec<&str> = writers.iter().filter(|one| one.now > 0).map(|one| one.name.as_str()).collect();
        Ok::<_, CommandError>((cluster.pods_return(&running).await?, quiesce::strangers(cluster).await?))
    };
    let (PodsReturn { unadmitted, unplaceable, nodes_unseen }, strangers) = match found.await {
        Ok(found) => found,
        Err(error) => return findings.doubtful(AREA, error),
    };
    for (writer, refusal) in unadmitted.into_iter().filter(|(_, refusal)| refusal.certain) {
        findings.bad(AREA, quiesce::not_admitted(&writer, &refusal), "have whoever set the rule make room");
    }
    for (writer, why) in unplaceable {
        findings.bad(AREA, quiesce::no_node(&writer, &why), "kubectl get nodes --show-labels; kubectl describe nodes");
    }
    if nodes_unseen {
        findings.warn(AREA, quiesce::NODES_UNSEEN, "dr rbac --subject user:NAME");
    }
    if !strangers.is_empty() {
        let text = format!("{}; no bundle is made while they may write", quiesce::strangers_line(&strangers));
        let way = quiesce::strangers_way(cluster.namespace(), &strangers);
        findings.warn(AREA, text, way);
    }
}

/// What is off, in a line, and how bad that is: what bears no note, and no open run has stopped, may have been deployed so.
fn stopped(writers: &[WriterFacts], put_back_first: &[RunPutBackFirst]) -> Option<(Level, String)> {
    let off = writers.iter().filter(|writer| writer.now == 0);
    let of_run = |writer: &WriterFacts| RunPutBackFirst::starting(put_back_first, &writer.name);
    let noted = |writer: &WriterFacts| writer.replicas > 0 || writer.stopped_by.is_some() || of_run(writer).is_some();
    let one = |writer: &WriterFacts| {
        let by = writer.stopped_by.as_deref().map_or_else(String::new, |id| format!(" by {}", lease::called(id)));
        match (writer.replicas, of_run(writer)) {
            (0, Some((run, had))) => {
                format!("{} is off and bears no note; run {run} stopped it, had {had}", writer.name)
            }
            (0, None) => format!("{} is off{by}, and bears no note of how many replicas it had", writer.name),
            (had, _) => format!("{} is stopped{by}, had {had}", writer.name),
        }
    };
    let level = if off.clone().any(noted) { Level::Bad } else { Level::Warn };
    let lines: Vec<String> = off.map(one).collect();
    (!lines.is_empty()).then(|| (level, lines.join("; ")))
}

/// Whether OpsChain can be asked what is at work where no pod shows it.
async fn work(ctx: &Ctx, cluster: &Cluster, findings: &mut FindingsBuilder) {
    const AREA: &str = "install";
    match maintenance::left_on(cluster).await {
        Ok(Some(left)) => {
            let text = format!("maintenance mode was turned on by run {}, and not off again: no work begins", left.run);
            findings.warn(AREA, text, "dr server start");
        }
        Ok(None) => {}
        Err(error) => findings.failed(AREA, error),
    }
    match maintenance::look(ctx).await {
        Ok(WorkSight::Mode(mode)) => {
            findings
                .ok(AREA, format!("maintenance mode can be turned on, and work be waited for; it is {}", mode.word()));
        }
        Ok(WorkSight::NoMode) => {
            findings.ok(AREA, "this release has no maintenance mode: work without a pod is not seen")
        }
        Ok(WorkSight::Stopped) => {}
        // Without a token only this is told to anybody; who may not forward a port does not learn it.
        Ok(WorkSight::NoToken) => match maintenance::is_on(cluster).await {
            Ok(Some(on)) => {
                let text = format!(
                    "no token for maintenance mode, which is {}: work without a pod is not seen",
                    if on { "on" } else { "off" }
                );
                let way =
                    format!("set `token_file` under [maintenance] to a file with an API key that has {TOKEN_RIGHTS}");
                findings.warn(AREA, text, way);
            }
            Ok(None) => {}
            Err(error) => findings.doubtful(AREA, error),
        },
        Err(error) => findings.failed(AREA, error),
    }
}

async fn db(
    ctx: &Ctx,
    cluster: &Cluster,
    database: &Database,
    probe: bool,
    findings: &mut FindingsBuilder,
) -> Result<()> {
    let name = &database.name;
    if database.is_replica_cluster() {
        findings.bad(
            "database",
            format!("database {name} follows another one: bundles are made where the primary is"),
            "choose the primary's cluster with --context",
        );
    }
    if database.is_hibernated() {
        findings.known.asleep = true;
        let way = findings.known.way_out(server::WAKE);
        findings.warn("database", format!("database {name} hibernates"), way);
        return Ok(());
    }
    let pod = match cluster.primary_pod(name).await {
        Ok(pod) => pod,
        Err(error) => {
            findings.failed("database", CommandError::from(error));
            return Ok(());
        }
    };
    let (placement, primary) = (PodPlacement::of_pod(&pod), pod.metadata.name.unwrap_or_default());
    let pods = HelperPods { ctx, database, placement: &placement };
    if pods.are_admitted(cluster, findings).await? && probe {
        pods.try_out(findings).await?;
    }
    let facts = cluster.database_facts(&primary).await?;
    let size = cluster.databases_size(&primary).await?;
    let tablespaces = cluster.tablespaces(&primary).await?;
    for refused in [create::refuse_odd_volumes(database), create::refuse_tablespaces(name, &tablespaces)] {
        refused.unwrap_or_else(|refusal| findings.failed("database", refusal));
    }
    findings.known.database_size = Some(size);
    findings.ok(
        "database",
        format!(
            "database {name}: PostgreSQL {} on {primary}, {}, {} page checksums, {}",
            facts.major(),
            bytes(size),
            if facts.page_checksums { "with" } else { "without" },
            database.line()
        ),
    );
    let images = cluster.running_images().await?;
    let image = images.iter().find(|image| image.workload == format!("Cluster {name}"));
    match image {
        Some(image) => {
            // As much of the digest as a person compares.
            let digest = image.digest.as_deref().and_then(|digest| digest.get(..19)).unwrap_or("of unknown digest");
            findings
                .ok("database", format!("its image {} ({digest}) is on the node, for the helper pods", image.image));
        }
        None => findings.warn(
            "database",
            "the image that it runs cannot be told from its pods".to_owned(),
            format!("kubectl -n {} get pods -l cnpg.io/cluster={name}", cluster.namespace()),
        ),
    }
    Ok(())
}
