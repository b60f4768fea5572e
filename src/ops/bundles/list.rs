//! `dr bundle list`: what a store holds, as far as it was asked for.

use jiff::Timestamp;
use serde::Serialize;

use super::mirrors;
use crate::bundle::report::ListReport;
use crate::bundle::{CatalogEntry, Depth};
use crate::clock;
use crate::error::{CommandError, Exit, Result};
use crate::names::{NamespaceName, ReleaseName};
use crate::ops::Ctx;
use crate::ops::config::when;
use crate::ops::published::MissingBundle;
use crate::opschain::version::Version;

/// Which bundles are asked for; all when nothing is said. A bundle that cannot be read is none of what is asked for.
#[derive(Debug, Clone, Default)]
pub struct ListRequest {
    /// `NAMESPACE` or `NAMESPACE/RELEASE`.
    pub install: Option<String>,
    /// The OpsChain version that made them.
    pub version: Option<String>,
    /// Not made before this time.
    pub since: Option<String>,
    /// Not made after this time.
    pub until: Option<String>,
    /// Verified at least so deeply.
    pub proved: Option<Depth>,
    pub pinned: bool,
    /// The store to list, if not the settings'.
    pub store: Option<String>,
}

/// `dr bundle list`.
#[derive(Debug, Serialize)]
pub struct BundleList {
    #[serde(flatten)]
    pub found: ListReport,
    /// Those of this install that are missing, oldest first, as the config vault tells.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingBundle>,
}

/// Lists the store's bundles from their clear headers, newest first.
///
/// # Errors
/// The store cannot be listed, or what is asked for makes no sense. A bundle that cannot be read is a row with the reason.
pub fn list(ctx: &Ctx, request: &ListRequest) -> Result<BundleList> {
    let wanted = Wanted::read(request, clock::now())?;
    let place = request.store.as_deref();
    let store = ctx.store_or(place).map_err(|error| match (ctx.settings(), ctx.settings_or_defaults()) {
        (Err(_), Ok(_)) => error.hint("Without settings, from a bundle's file: `dr bundle restore BUNDLE.tar --identity KEYFILE --trusted-signers SIGNERS`."),
        _ => error,
    });
    let catalog = store.and_then(|store| ctx.catalog(&*store)).map_err(|error| match place {
        Some(_) => error,
        None => mirrors::with_lists(ctx, error),
    })?;
    // Beside the list: whoever reads its rows with another program wants bundles only.
    let missing = if place.is_none() { mirrors::warn_of_missing(ctx, &catalog) } else { Vec::new() };
    Ok(BundleList { missing, found: ListReport::new(&catalog, |entry| wanted.takes(entry)) })
}

/// What was asked for, read.
#[derive(Default)]
struct Wanted {
    namespace: Option<String>,
    release: Option<String>,
    version: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    proved: Option<Depth>,
    pinned: bool,
}

impl Wanted {
    fn read(request: &ListRequest, now: Timestamp) -> Result<Self> {
        let install = request.install.as_deref().map(install).transpose()?;
        let bad = |_| CommandError::new(Exit::Usage, "the version is none of OpsChain").hint("Such as 2026-08-20.");
        let (since, until) = when::range(request.since.as_deref(), request.until.as_deref(), now)?;
        Ok(Self {
            namespace: install.as_ref().map(|(namespace, _)| namespace.to_string()),
            release: install.and_then(|(_, release)| release).map(|release| release.to_string()),
            version: request
                .version
                .as_deref()
                .map(|v| v.parse::<Version>().map(|v| v.tag()))
                .transpose()
                .map_err(bad)?,
            since,
            until,
            proved: request.proved,
            pinned: request.pinned,
        })
    }

    fn takes(&self, entry: &CatalogEntry) -> bool {
        let header = entry.header.as_ref().ok();
        let of_header = |asked: &Option<String>, has: Option<&str>| asked.is_none() || asked.as_deref() == has;
        of_header(&self.namespace, header.map(|h| &*h.install.namespace))
            && of_header(&self.release, header.map(|h| &*h.install.release))
            && of_header(&self.version, header.map(|h| h.opschain.version.as_str()))
            && self.since.is_none_or(|since| entry.created().is_some_and(|at| at >= since))
            && self.until.is_none_or(|until| entry.created().is_some_and(|at| at <= until))
            && self
                .proved
                .is_none_or(|depth| entry.proof.as_ref().is_some_and(|proof| proof.counts() && proof.depth >= depth))
            && (!self.pinned || entry.pin.is_some())
    }
}

/// `NAMESPACE` or `NAMESPACE/RELEASE`, read.
fn install(text: &str) -> Result<(NamespaceName, Option<ReleaseName>)> {
    let bad = || {
        let what = format!("`{}` is no install", text.escape_debug());
        CommandError::new(Exit::Usage, what).hint("Give it as NAMESPACE or NAMESPACE/RELEASE.")
    };
    match text.split_once('/') {
        None => Ok((text.parse().map_err(|_| bad())?, None)),
        Some((namespace, release)) => {
            Ok((namespace.parse().map_err(|_| bad())?, Some(release.parse().map_err(|_| bad())?)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::testing::entry;
    use crate::bundle::{BundleMark, Proof};

    fn takes(request: ListRequest, entry: &CatalogEntry) -> bool {
        Wanted::read(&request, clock::now()).unwrap().takes(entry)
    }

    #[test]
    fn each_filter_takes_what_fits_and_leaves_the_rest() {
        let mut entry = entry("2026-11-23T07:54:43Z");
        entry.proof = Some(Proof { proved_by: Some("me".into()), ..Proof::new(Depth::Plain, None, "0") });
        entry.pin = Some(BundleMark::new("op@host", "x"));
        let text = |text: &str| Some(text.to_owned());
        let header = entry.header.clone().unwrap();
        let of = |install: String| ListRequest { install: Some(install), ..ListRequest::default() };
        let namespace = header.install.namespace.to_string();
        for (request, fits) in [
            (ListRequest::default(), true),
            (of(namespace.clone()), true),
            (of(format!("{namespace}/{}", header.install.release)), true),
            (of(format!("{namespace}/other")), false),
            (of("other".into()), false),
            (ListRequest { version: text(&header.opschain.version), ..ListRequest::default() }, true),
            (ListRequest { version: text("2020-01-01"), ..ListRequest::default() }, false),
            (ListRequest { since: text("2026-11-23"), until: text("2026-11-23"), ..ListRequest::default() }, true),
            (ListRequest { since: text("2026-11-24"), ..ListRequest::default() }, false),
            (ListRequest { until: text("2026-11-22"), ..ListRequest::default() }, false),
            (ListRequest { proved: Some(Depth::Plain), pinned: true, ..ListRequest::default() }, true),
            (ListRequest { proved: Some(Depth::Restored), ..ListRequest::default() }, false),
        ] {
            assert_eq!(takes(request.clone(), &entry), fits, "{request:?}");
        }
        entry.proof = entry.proof.map(|proof| Proof { proved_by: None, ..proof });
        assert!(!takes(ListRequest { proved: Some(Depth::Stored), ..ListRequest::default() }, &entry), "unsigned");
        entry.header = Err("damaged".into());
        assert!(takes(ListRequest::default(), &entry));
        assert!(!takes(of(namespace), &entry), "what cannot be read is of no install");
        let refused = |request: ListRequest| Wanted::read(&request, "2026-11-23T08:00:00Z".parse().unwrap()).is_err();
        for install in ["/", "", "a/", "/b", "a/b/c", "A"] {
            assert!(refused(of(install.into())), "{install}");
        }
        let times = |since: &str, until| ListRequest { since: text(since), until, ..ListRequest::default() };
        assert!(refused(times("soon", None)) && refused(times("9999-12-31", None)));
        assert!(refused(times("2026-11-22", text("2026-11-21"))) && !refused(times("2026-11-22", text("2026-11-22"))));
    }
}
