//! A schedule in the cluster, brought up to date with what it takes along of the vault: the live deployment and the
//! recipients. Every verb that changes one of them ends with this.

use std::collections::BTreeSet;

use super::cronjob_install::{carry, live};
use super::cronjob_parts;
use crate::cluster::leads_somewhere;
use crate::error::Result;
use crate::ops::Ctx;
use crate::ops::carried::CarriedDeployment;
use crate::settings::Install;
use crate::text::plural;
use crate::vault::RecordedInstall;

/// What makes it anew, with all that it was made with.
const ANEW: &str = "dr schedule install --cronjob";

/// Has the schedule of the install, where there is one in the cluster, make its bundles with the deployment that is live by
/// now, and seal them to the recipients of today. What was done is said. What speaks against it is a warning: the verb that
/// ends with this is done, and the schedule itself refuses what it does not know.
pub async fn renew(ctx: &Ctx) {
    if leads_somewhere() {
        say(ctx, renewed(ctx).await);
    }
}

/// The same for every install of the vault that is in this cluster: its recipients are those of all. Others are named.
pub async fn renew_all(ctx: &Ctx) {
    let recorded: Vec<RecordedInstall> = match ctx.vault().and_then(|vault| Ok(vault.survey()?)) {
        Ok(survey) => survey.deployments.iter().map(|deployment| deployment.record.install.clone()).collect(),
        Err(error) => return ctx.events.warn(format!("which schedules go by the vault is not known: {error}"), None),
    };
    if recorded.is_empty() {
        return;
    }
    let here = match leads_somewhere() {
        true => match ctx.cluster().await {
            Ok(cluster) => cluster.identity().await.ok(),
            Err(_) => None,
        },
        false => None,
    };
    renew(ctx).await;
    let InstallsOfVault { here, elsewhere } = sorted(&recorded, &ctx.install_in(here));
    for RecordedInstall { namespace, release, .. } in here {
        renew(&ctx.for_install(Install { namespace, release, ..ctx.install().clone() })).await;
    }
    if !elsewhere.is_empty() {
        let own = format!("{}.{}", ctx.install().namespace, ctx.install().release);
        let names = elsewhere.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let what = match elsewhere.contains(&own) {
            true => "No cluster was asked, so what makes bundles of these installs there has not heard of this",
            false => "The vault has installs that were not looked at here",
        };
        ctx.events.note(format!(
            "{what}: {names}. Where a CronJob makes their bundles, `{ANEW}` with the settings of each takes the recipients there."
        ));
    }
}

/// The installs of a vault beside the one at hand.
#[derive(Debug, PartialEq)]
struct InstallsOfVault {
    here: Vec<RecordedInstall>,
    /// Those of another cluster, or of one that is not known.
    elsewhere: BTreeSet<String>,
}

/// Sorts them by where they are; `own` is the one at hand, in the cluster that was reached, if any was.
fn sorted(recorded: &[RecordedInstall], own: &RecordedInstall) -> InstallsOfVault {
    let (mut here, mut elsewhere) = (Vec::<RecordedInstall>::new(), BTreeSet::new());
    let name = |install: &RecordedInstall| format!("{}.{}", install.namespace, install.release);
    for install in recorded {
        let is_here = own.cluster.is_some() && install.cluster == own.cluster;
        let is_own = name(install) == name(own) && (is_here || own.cluster.is_some() && install.cluster.is_none());
        if is_here && !is_own && !here.iter().any(|known| name(known) == name(install)) {
            here.push(install.clone());
        } else if !is_here && !is_own {
            elsewhere.insert(name(install));
        }
    }
    InstallsOfVault { here, elsewhere }
}

/// What was brought up to date.
struct ScheduleRenewal {
    /// Whether it had not all of it already.
    changed: bool,
    deployment: String,
    recipients: usize,
    warning: Option<String>,
}

/// `None` where there is no schedule.
async fn renewed(ctx: &Ctx) -> Result<Option<ScheduleRenewal>> {
    let (cluster, name) = (ctx.cluster().await?, cronjob_parts::name(ctx.install()));
    let Some(there) = cluster.installed_schedule(&name, cronjob_parts::SETTINGS).await? else { return Ok(None) };
    let carried = CarriedDeployment::take(ctx.vault()?, live(ctx).await?)?;
    let recipients = cronjob_parts::recipients(ctx.vault()?.recipients()?.to_strings(), carried.sealed_to());
    let settings = cronjob_parts::with_recipients(there.settings.as_deref().unwrap_or_default(), &recipients.keys)?;
    let (_, secret) = cronjob_parts::secrets_of(&name);
    let has = cluster.secret_key(&secret, CarriedDeployment::INDEX).await?;
    let is_new = has.as_deref() != carried.files()?.get(CarriedDeployment::INDEX);
    if is_new {
        carry(ctx, cluster, &name, &carried).await?;
    }
    if let Some(settings) = &settings {
        cluster.set_schedule_settings(&name, cronjob_parts::SETTINGS, settings).await?;
    }
    Ok(Some(ScheduleRenewal {
        changed: is_new || settings.is_some(),
        deployment: carried.deployment.id().to_string(),
        recipients: recipients.keys.len(),
        warning: recipients.warning,
    }))
}

fn say(ctx: &Ctx, renewed: Result<Option<ScheduleRenewal>>) {
    let install = format!("{}/{}", ctx.install().namespace, ctx.install().release);
    match renewed {
        Ok(None) => {}
        Ok(Some(ScheduleRenewal { changed, deployment, recipients, warning })) => {
            if changed {
                let recipients = plural(recipients as u64, "recipient");
                ctx.events.note(format!(
                    "The schedule of {install} in the cluster has deployment {deployment} and {recipients} now."
                ));
            }
            if let Some(warning) = warning {
                ctx.events.warn(format!("{install}: {warning}"), Some("dr config rekey".to_owned()));
            }
        }
        Err(error) => {
            let what =
                format!("a schedule of {install} in the cluster, if there is one, does not know of this: {error}");
            let hint = format!("`{ANEW}`, by somebody who may, brings one up to date with all that it was made with.");
            ctx.events.warn(what, Some(hint));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installs_of_this_cluster_are_renewed_and_those_of_others_are_named() {
        let install = |namespace: &str, cluster: Option<&str>| RecordedInstall {
            namespace: namespace.parse().unwrap(),
            release: "o".parse().unwrap(),
            context: None,
            cluster: cluster.map(str::to_owned),
        };
        let recorded =
            [("a", Some("c1")), ("b", Some("c1")), ("b", Some("c1")), ("a", None), ("d", None), ("a", Some("c2"))]
                .map(|(namespace, cluster)| install(namespace, cluster));
        let found = sorted(&recorded, &install("a", Some("c1")));
        assert_eq!(found.here, [install("b", Some("c1"))]);
        assert_eq!(found.elsewhere.into_iter().collect::<Vec<_>>(), ["a.o", "d.o"]);
        // Where no cluster was reached, the own one was not looked at either.
        let found = sorted(&recorded, &install("a", None));
        assert!(found.here.is_empty() && found.elsewhere.len() == 3, "{found:?}");
    }
}
