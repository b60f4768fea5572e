//! `dr bundle restore --config-only`: the config of a bundle over an install that lives. The database is not touched.
//!
//! It is a deployment like any other, and goes that way, with values and chart out of the bundle. What is added is that the
//! config must be this install's, and open the data that is there: no flag lets that through.

use super::source::{RestoreRequest, Which, parse_version};
use super::{config, facts, layers};
use crate::bundle::SourceInstall;
use crate::error::{CommandError, Exit, Result};
use crate::helm::ChartFile;
use crate::ops::deploy::{self, DeployOptions, GivenRelease, Prepared};
use crate::ops::guard::Guarded;
use crate::ops::{Ctx, bundles};
use crate::opschain::values::IMMUTABLE;
use crate::settings::Install;

/// Looks at everything and changes nothing. The plan is carried out by [`deploy::execute`].
///
/// # Errors
/// The bundle is not to be believed or does not open; its config is another install's, or another version's than the one
/// asked for; its keys do not open the data that is there; nothing is live; else as [`deploy::plan`].
pub async fn plan_config(
    ctx: &Ctx,
    request: &RestoreRequest,
    options: DeployOptions,
    which: Which<'_>,
) -> Result<Prepared> {
    let keys = bundles::key_files(ctx, &request.bundle, true)?;
    let (bundle, source) = facts::open(ctx, request, &keys, which)?;
    refuse_other_install(&source.bundle, &source.install, ctx.install())?;
    let version = parse_version(&source.version)?;
    if let Some(asked) = &request.version
        && parse_version(asked)? != version
    {
        let what = format!("the config of bundle {} is of OpsChain {version}, and {asked} is asked for", source.bundle);
        return Err(CommandError::new(Exit::Version, what)
            .hint("Take a bundle of that version: `dr bundle list`. Another version comes by `dr deploy`."));
    }
    let paired = config::pair(ctx, &bundle, None)?;
    ctx.secrets().register_tree(&paired.values);
    let chart = bundle.reader.chart().map(|name| bundle.member(name)).transpose()?;
    let chart = chart.ok_or_else(|| {
        CommandError::new(Exit::Damaged, format!("bundle {} holds no chart", source.bundle)).hint(
            "Take its values out, and deploy them with a chart: `dr bundle extract BUNDLE values`, `dr deploy -f FILE`.",
        )
    })?;
    let given = GivenRelease {
        name: format!("the values of bundle {}", source.bundle),
        layers: layers::of_bundle(&bundle)?,
        values: bundle.member("config/values.yaml.age")?,
        tree: paired.values,
        chart: ChartFile::from_bytes(&chart)?,
        reference: format!("bundle {}", source.bundle),
        version,
        reason: format!("the config of bundle {}, made {:.0}", source.bundle, bundle.reader.header().created),
    };
    // Of the keys nothing is let through: here the data is what was asked to stay.
    let allow = options.allow.into_iter().filter(|name| !is_key(name)).collect();
    let prepared = deploy::plan_given(ctx, given, DeployOptions { allow, ..options }).await?;
    refuse_not_fit(&source.bundle, prepared.plan.compared_with.is_some(), &prepared.plan.guarded)?;
    Ok(prepared)
}

/// Whether it is the path of a key that data depends on.
fn is_key(name: &str) -> bool {
    IMMUTABLE.iter().any(|known| known.path.join(".") == name)
}

/// The config of another install names that one's hosts, and has its keys.
fn refuse_other_install(bundle: &str, source: &SourceInstall, ours: &Install) -> Result<()> {
    if source.namespace == ours.namespace && source.release == ours.release {
        return Ok(());
    }
    let what = format!(
        "bundle {bundle} is from release {} in namespace {}, and its config is not for release {} in namespace {}",
        source.release, source.namespace, ours.release, ours.namespace
    );
    Err(CommandError::new(Exit::Guard, what).hint(format!(
        "Take its values out, fit them to this install, and deploy them: `dr bundle extract {bundle} values`, `dr deploy -f FILE`."
    )))
}

/// The keys are held against those of the values that are live, which the data is written with.
fn refuse_not_fit(bundle: &str, is_live: bool, guarded: &[Guarded]) -> Result<()> {
    if !is_live {
        let what = "nothing is live here whose config could be restored";
        return Err(CommandError::new(Exit::NotFound, what)
            .hint(format!("Without --config-only the whole install is restored: `dr bundle restore {bundle}`.")));
    }
    if guarded.is_empty() {
        return Ok(());
    }
    let keys: Vec<String> = guarded.iter().map(|key| format!("{} ({})", key.path, key.why)).collect();
    let what =
        format!("the config of bundle {bundle} does not fit the data that is there: other keys at {}", keys.join("; "));
    Err(CommandError::new(Exit::Guard, what)
        .hint("The application could not read its data with them. The data that they fit is in the bundle: restore all of it, into another namespace with -n.")
        .hint("Where it is the live values that are wrong: `dr bundle extract BUNDLE values`, `dr deploy -f FILE`, with --allow for each key."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn install(namespace: &str) -> SourceInstall {
        SourceInstall {
            namespace: namespace.parse().unwrap(),
            release: "opschain".parse().unwrap(),
            database_cluster: "opschain-db".parse().unwrap(),
            database_cluster_uid: "u".into(),
        }
    }

    #[test]
    fn only_the_config_of_this_very_install_is_restored_over_it() {
        let ours = Install::default();
        refuse_other_install("b-1", &install(&ours.namespace), &ours).unwrap();
        let error = refuse_other_install("b-1", &install("elsewhere"), &ours).unwrap_err();
        assert_eq!(error.exit(), Exit::Guard);
        let what = "bundle b-1 is from release opschain in namespace elsewhere, and its config is not for release opschain in namespace opschain";
        assert_eq!(error.message(), what);
    }

    #[test]
    fn keys_that_do_not_open_the_data_are_refused_with_what_they_are_for_and_so_is_where_nothing_is_live() {
        let (path, why) = (["env", "OPSCHAIN_PRIMARY_KEY"], "data in the database is encrypted with it".to_owned());
        assert!(is_key(&path.join(".")) && !is_key("version") && !is_key("drift"));
        let key = Guarded { path: crate::values::Path::of(&path), act: "differs".into(), why };
        refuse_not_fit("b-1", true, &[]).unwrap();
        let error = refuse_not_fit("b-1", true, std::slice::from_ref(&key)).unwrap_err();
        assert_eq!(error.exit(), Exit::Guard);
        let ends = "other keys at env.OPSCHAIN_PRIMARY_KEY (data in the database is encrypted with it)";
        assert!(error.message().ends_with(ends), "{error}");
        assert_eq!(refuse_not_fit("b-1", false, &[]).unwrap_err().exit(), Exit::NotFound);
    }
}
