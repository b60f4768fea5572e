//! Users and groups of the bundled LDAP server come back before the API asks it for them: repeated empty answers have it drop
//! groups, and with them what policies grant.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::facts::OpenBundle;
use super::plan::RestorePlan;
use super::strategy::RestoreStrategy;
use super::work::RestoreWork;
use super::{chart, config};
use crate::bundle::OutOfScope;
use crate::cluster::database::POSTGRES_CONTAINER;
use crate::cluster::{
    Cluster, ClusterError, DirectoryComplaint, DirectoryDatabase, DirectoryLogin, DirectoryServer, Wait, WorkloadKind,
};
use crate::error::{CommandError, Exit, Result};
use crate::journal::{Done, StepName, fault};
use crate::ldif::{Ldif, LdifComparison, is_same_name};
use crate::ops::Ctx;
use crate::opschain::Names;
use crate::opschain::directory::{DirectoryValues, entries};
use crate::opschain::scope::own_directory;
use crate::values::Tree;

/// The member with the entries.
const DATA: &str = "config/ldap-data.ldif.age";
/// How long the server may take to start, its image and its volume included.
const SERVER_LIMIT: Duration = Duration::from_secs(600);
/// How long it may take until all entries were found in it.
const ENTRIES_LIMIT: Duration = Duration::from_secs(300);
/// How long a server elsewhere may take to accept a connection.
const OUTSIDE_LIMIT: Duration = Duration::from_secs(15);
/// How many names an error has room for.
const NAMED: usize = 3;

pub(super) const RESTORE_DIRECTORY: StepName<DirectoryOutcome> = StepName::new("restore-directory");

/// What became of the bundle's LDAP entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum DirectoryOutcome {
    /// All of them were read back from the server.
    Restored {
        entries: u64,
        /// Those that the server has and does not let be as they were.
        differing: Vec<String>,
    },
    /// The bundle has none; its scope says why.
    NotInBundle,
    /// The install has no server to put so many into.
    NoServer { entries: u64 },
    /// The server is outside of the install, and accepted a connection, or why it did not.
    Outside { server: String, fails: Option<String> },
}

impl DirectoryOutcome {
    /// What did not come back though the bundle has it.
    pub(super) fn left_out(&self) -> Option<OutOfScope> {
        let Self::NoServer { entries: count } = self else { return None };
        let left = own_directory(&format!("there was no LDAP server to put the bundle's {} into", entries(*count)));
        Some(OutOfScope { what: left.what, why: left.why, whereabouts: left.after })
    }
}

/// The bundle's entries, which are masked wherever a password of one would be shown.
fn entries_of(ctx: &Ctx, bundle: &OpenBundle) -> Result<Option<Ldif>> {
    if !bundle.reader.sealed_members().any(|name| name == DATA) {
        return Ok(None);
    }
    let read = Ldif::parse(&bundle.member(DATA)?).map_err(|error| {
        CommandError::new(Exit::Damaged, format!("{DATA} of bundle {} is no LDIF", bundle.reader.header().id))
            .because(error)
    })?;
    for password in read.passwords() {
        ctx.secrets().register(&password);
    }
    Ok(Some(read))
}

/// The plan with what becomes of the bundle's entries.
///
/// # Errors
/// [`Exit::Guard`]: the values that are deployed have another base than the entries.
pub(super) fn planned(ctx: &Ctx, bundle: &OpenBundle, values: &Tree, mut plan: RestorePlan) -> Result<RestorePlan> {
    let Some(wanted) = entries_of(ctx, bundle)? else { return Ok(plan) };
    let values = DirectoryValues::of(&values.to_json());
    if plan.existing.is_some() {
        let why = "the LDAP server of the install stays as it is, and the bundle's entries stay in the bundle";
        let left = own_directory(why);
        let way = format!("`dr bundle extract {} ldap-data.ldif --out ldap-data.ldif` has them.", plan.arguments());
        plan.scope.insert(0, OutOfScope { what: left.what, why: left.why, whereabouts: way });
    } else if !values.is_bundled {
        plan.warnings.push(format!(
            "the values run no LDAP server of their own: the bundle's {} stay in the bundle",
            entries(wanted.count() as u64)
        ));
    } else {
        if let (Some(theirs), Some(own)) = (&values.base, wanted.base()) {
            require_base(theirs, own)?;
        }
        plan.directory_entries = Some(wanted.count() as u64);
    }
    Ok(plan)
}

fn require_base(found: &str, wanted: &str) -> Result<()> {
    if is_same_name(found, wanted) {
        return Ok(());
    }
    let what = format!("the LDAP server's base is {found}, and the bundle's entries are below {wanted}");
    Err(CommandError::new(Exit::Guard, what).hint(
        "Restore with values whose env.OPSCHAIN_LDAP_BASE_DN is that of the bundle: users and groups are known by it.",
    ))
}

/// Has the server start while the database does. What fails is met again by the step.
pub(super) async fn begin(work: &RestoreWork) {
    if work.plan.strategy != RestoreStrategy::IntoExisting
        && work.plan.directory_entries.is_some()
        && let Ok(cluster) = work.ctx.cluster().await
    {
        let _ = scale_up(cluster).await;
    }
}

/// Whether there is a server; it is told to run where it is not.
async fn scale_up(cluster: &Cluster) -> Result<bool> {
    let name = Names::default().ldap();
    let Some(found) = cluster.deployment(&name).await? else { return Ok(false) };
    if found.replicas == 0 {
        cluster.adjust(WorkloadKind::Deployment, &name, Some(1), &[]).await?;
    }
    Ok(true)
}

/// The step.
///
/// # Errors
/// The server does not run, does not take the entries, or does not have all of them afterwards.
pub(super) async fn restore_directory(work: &RestoreWork) -> Result<Done<DirectoryOutcome>> {
    work.hold_lease().await?;
    let (ctx, bundle) = (&work.ctx, work.bundle()?);
    let values = config::read_values("the values of the restore", &chart::values(bundle, &work.plan)?)?;
    let values = DirectoryValues::of(&values.to_json());
    ctx.secrets().register(values.password.as_bytes());
    if let Some((host, port)) = &values.outside {
        return outside(work, host, *port).await;
    }
    let Some(wanted) = entries_of(ctx, bundle)? else {
        return Ok(Done::with(DirectoryOutcome::NotInBundle, "the bundle holds none"));
    };
    let (count, cluster, name) = (wanted.count() as u64, ctx.cluster().await?, Names::default().ldap());
    if !scale_up(cluster).await? {
        if values.is_bundled {
            let text = format!("there is no Deployment {name}: the bundle's {} stay in the bundle", entries(count));
            ctx.events.warn(text, Some(way_to_the_entries(&work.plan)));
        }
        return Ok(Done::with(DirectoryOutcome::NoServer { entries: count }, "there is no LDAP server"));
    }
    let ready = cluster.wait_settled(&[(WorkloadKind::Deployment, &name)], SERVER_LIMIT, &ctx.events).await;
    ready.map_err(|error| with_ways(work, error.into()))?;
    let put_back = PutBack { work, cluster, wanted: &wanted, values: &values, server: name };
    let differing = put_back.run().await.map_err(|error| with_ways(work, error))?;
    if !differing.is_empty() {
        let text = format!("the LDAP server keeps entries otherwise than the bundle has them: {}", some(&differing));
        ctx.events.warn(text, Some(way_to_the_entries(&work.plan)));
    }
    let summary = format!("{} read back", entries(count));
    Ok(Done::with(DirectoryOutcome::Restored { entries: count, differing }, summary))
}

/// What is needed to put entries into a server that runs.
struct PutBack<'a> {
    work: &'a RestoreWork,
    cluster: &'a Cluster,
    wanted: &'a Ldif,
    values: &'a DirectoryValues,
    /// The Deployment.
    server: String,
}

impl PutBack<'_> {
    /// Reads, changes what is not as it should be, and reads again, until all is there; what is there already is left alone,
    /// so that it may be done again. Returns the entries that are there and cannot be made as they were.
    async fn run(&self) -> Result<Vec<String>> {
        let mut wait = Wait::new("the LDAP server to hold the bundle's entries", ENTRIES_LIMIT, &self.work.ctx.events);
        let (mut relaxed, mut before, mut said) = (true, None, None);
        loop {
            let found = match self.read(&mut wait).await? {
                Ok(found) => found,
                Err(seen) => {
                    wait.not_yet(seen).await?;
                    continue;
                }
            };
            let (server, found) = found;
            let (own, theirs) = (self.wanted.base().unwrap_or_default(), found.base().unwrap_or_default());
            if found.count() > 0 {
                require_base(theirs, own)?;
            }
            let seen = self.wanted.compare(&found);
            if seen.missing.is_empty() && seen.differing.is_empty() {
                self.tell_more(&seen);
                return Ok(Vec::new());
            }
            if before.as_ref() == Some(&seen) {
                match (relaxed, seen.missing.is_empty()) {
                    // Whoever may not set identities has the server make new ones.
                    (true, _) => relaxed = false,
                    (false, true) => {
                        self.tell_more(&seen);
                        return Ok(seen.differing);
                    }
                    (false, false) => return Err(not_taken(&server, &seen, said.as_ref())),
                }
            }
            let login = DirectoryLogin { admin: self.values.admin(own), password: self.values.password.clone() };
            let changes = self.wanted.changes(&found, relaxed);
            said = self.cluster.change_directory(&server, &login, &changes, relaxed).await?;
            fault::point("directory-changed")?;
            match &said {
                Some(complaint) if complaint.is_transient() => wait.not_yet(Some(complaint.to_string())).await?,
                Some(complaint) if complaint.is_refusal() => return Err(not_taken(&server, &seen, Some(complaint))),
                _ => before = Some(seen),
            }
        }
    }

    /// What the server has; or what is seen of one that does not answer yet.
    async fn read(&self, wait: &mut Wait<'_>) -> Result<std::result::Result<(DirectoryServer, Ldif), Option<String>>> {
        let Some(server) = wait.patient(self.cluster.directory_server(&self.server).await)? else {
            return Ok(Err(None));
        };
        let Some(server) = server else { return Ok(Err(Some("none of its pods is ready".into()))) };
        match self.cluster.read_directory(&server, DirectoryDatabase::Data).await {
            Ok(bytes) => match Ldif::parse(&bytes) {
                Ok(found) => Ok(Ok((server, found))),
                Err(error) => {
                    Err(CommandError::new(Exit::Failure, "what the LDAP server has is no LDIF").because(error))
                }
            },
            // The server makes its files when it starts for the first time.
            Err(error @ (ClusterError::Command { .. } | ClusterError::Session { .. })) => {
                Ok(Err(Some(error.to_string())))
            }
            Err(error) => wait.patient::<()>(Err(error)).map(|_| Err(None)).map_err(Into::into),
        }
    }

    /// Entries that a server makes at its first start, and the source has not.
    fn tell_more(&self, seen: &LdifComparison) {
        if !seen.more.is_empty() {
            let text = format!("the LDAP server has made entries that the bundle has not: {}", some(&seen.more));
            self.work
                .ctx
                .events
                .warn(text, Some("Remove them if the source's administrators had removed them.".into()));
        }
    }
}

fn not_taken(server: &DirectoryServer, seen: &LdifComparison, said: Option<&DirectoryComplaint>) -> CommandError {
    let why = said.map_or_else(|| "it said nothing".to_owned(), ToString::to_string);
    let what = format!("the LDAP server in pod {} does not take {}: {why}", server.pod, some(&seen.missing));
    CommandError::new(Exit::Failure, what)
}

/// The ways on from a server that does not come to have the entries.
fn with_ways(work: &RestoreWork, error: CommandError) -> CommandError {
    let (plan, run, name) = (&work.plan, &work.run, Names::default().ldap());
    error
        .hint(format!("{} Once they are in the server, by whatever way: `dr run resume {run}`.", way_to_the_entries(plan)))
        .hint(format!(
            "To go on without them: `kubectl -n {} delete deployment {name}`, then `dr run resume {run}`; Helm makes it anew, and empty.",
            plan.namespace
        ))
}

fn way_to_the_entries(plan: &RestorePlan) -> String {
    format!("`dr bundle extract {} ldap-data.ldif --out ldap-data.ldif` has the entries.", plan.arguments())
}

fn some(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMED);
    let named = names.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join("; ");
    if more == 0 { named } else { format!("{named} and {more} more") }
}

/// Looks at a server outside of the install: whether it accepts a connection from within the cluster. Nobody says that the
/// API comes as far as the database's pod does, so that a no is a warning.
async fn outside(work: &RestoreWork, host: &str, port: u16) -> Result<Done<DirectoryOutcome>> {
    let (cluster, pod, server) = (work.ctx.cluster().await?, work.primary().await?, format!("{host}:{port}"));
    let port = port.to_string();
    let command = ["timeout", "10", "bash", "-c", "exec 3<>\"/dev/tcp/$0/$1\"", host, &port];
    let fails = match cluster.exec(&pod, POSTGRES_CONTAINER, &command, None, OUTSIDE_LIMIT).await {
        Ok(output) if output.exit == 0 => None,
        Ok(output) if output.exit == 124 => Some("no answer in 10 s".to_owned()),
        Ok(output) => Some(output.stderr.lines().last().unwrap_or("no connection").trim().to_owned()),
        Err(error) => Some(error.to_string()),
    };
    let summary = match &fails {
        None => format!("{server} accepts connections from pod {pod}"),
        Some(why) => {
            let text = format!("LDAP server {server} cannot be reached from pod {pod}: {why}");
            let hint = "Have it reachable before users sign in: the API drops groups after repeated empty answers.";
            work.ctx.events.warn(text, Some(hint.into()));
            format!("{server} was not reached")
        }
    };
    Ok(Done::with(DirectoryOutcome::Outside { server, fails }, summary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_base_is_refused_and_another_spelling_of_the_same_is_not() {
        assert!(require_base("dc=opschain, DC=io", "dc=opschain,dc=io").is_ok());
        let error = require_base("dc=example,dc=org", "dc=opschain,dc=io").unwrap_err();
        assert_eq!(error.exit(), Exit::Guard);
        assert!(error.message().contains("dc=example,dc=org") && !error.hints().is_empty());
    }

    #[test]
    fn names_are_told_as_far_as_there_is_room() {
        let names: Vec<String> = (1..=5).map(|n| format!("uid={n},dc=a")).collect();
        assert_eq!(some(&names[..2]), "uid=1,dc=a; uid=2,dc=a");
        assert_eq!(some(&names), "uid=1,dc=a; uid=2,dc=a; uid=3,dc=a and 2 more");
    }

    #[test]
    fn entries_without_a_server_are_said_not_to_have_come_back() {
        let left = DirectoryOutcome::NoServer { entries: 12 }.left_out().unwrap();
        assert!(left.what.starts_with("users of the bundled LDAP server") && left.why.contains("12 LDAP entries"));
        assert_eq!(DirectoryOutcome::NotInBundle.left_out(), None);
    }
}
