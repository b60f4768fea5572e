//! What is looked at on this host: settings, helm, keys, runs.

use std::io::ErrorKind;
use std::path::Path;

use super::findings::FindingsBuilder;
use crate::bundle::{HOST_NAMESPACES, PROOF_NAMESPACE, SIGNATURE_NAMESPACE};
use crate::crypt::seal::SealError;
use crate::crypt::sign::SignError;
use crate::crypt::{Identities, Recipients};
use crate::crypt::{Signer, TrustedSigners};
use crate::error::{chain, trust_form};
use crate::helm::Helm;
use crate::journal;
use crate::ops::history::History;
use crate::ops::{Ctx, runs};
use crate::settings::Settings;

pub(super) fn settings(ctx: &Ctx, findings: &mut FindingsBuilder) {
    match ctx.settings() {
        Ok(_) => findings.ok("settings", format!("settings {}", ctx.settings_path.display())),
        Err(_) if !ctx.settings_path.exists() => {
            findings.bad("settings", format!("there is no settings file {}", ctx.settings_path.display()), "dr init");
        }
        Err(error) => findings.failed("settings", error),
    }
}

pub(super) async fn helm(ctx: &Ctx, findings: &mut FindingsBuilder) {
    let binary = ctx.settings().map_or_else(|_| "helm".into(), |settings| settings.helm.binary.clone());
    match Helm::find(&binary).await {
        Ok(helm) => {
            let found = format!("helm {} at {}", helm.version(), helm.binary().display());
            match helm.should_be() {
                None => findings.ok("helm", found),
                Some(safe) => findings.warn(
                    "helm",
                    format!("{found} has known holes (CVE-2025-53547, CVE-2026-35206)"),
                    format!("install helm {safe} or later"),
                ),
            }
        }
        Err(error) => findings.failed("helm", error),
    }
}

pub(super) fn keys(settings: &Settings, findings: &mut FindingsBuilder) {
    let own = identity(settings, findings);
    recipients(settings, own.as_deref(), findings);
    let Some(signer) = signing_key(settings, findings) else { return };
    trusted_signers(settings, &signer, findings);
}

/// This host's own public keys.
fn identity(settings: &Settings, findings: &mut FindingsBuilder) -> Option<Vec<String>> {
    let Some(path) = &settings.keys.identity else {
        // A host that only records and bundles needs none; one that restores does.
        findings.warn(
            "keys",
            "no age identity: this host can seal but not open",
            "set `identity` under [keys], or run dr init",
        );
        return None;
    };
    match Identities::load(path, || None) {
        Ok(identities) => {
            private(findings, path, format!("age identity {}", path.display()));
            Some(identities.recipients())
        }
        Err(SealError::Passphrase { .. }) => {
            private(findings, path, format!("age identity {}, protected by a passphrase", path.display()));
            None
        }
        Err(SealError::ReadIdentity { source, path }) if source.kind() == ErrorKind::NotFound => {
            findings.bad(
                "keys",
                format!("there is no age identity {path}"),
                "bring the file from where it is kept, or name the escrow key under [keys]; a new one of `dr init` opens nothing that there is",
            );
            None
        }
        Err(error) => {
            findings.failed("keys", error);
            None
        }
    }
}

fn private(findings: &mut FindingsBuilder, path: &Path, text: String) {
    match Identities::require_private(path) {
        Ok(()) => findings.ok("keys", text),
        Err(error) => findings.failed("keys", error),
    }
}

fn recipients(settings: &Settings, own: Option<&[String]>, findings: &mut FindingsBuilder) {
    let recipients = match Recipients::parse(&settings.keys.recipients) {
        Ok(recipients) => recipients,
        Err(SealError::NoRecipient) => {
            let fix = own.and_then(<[String]>::first).map_or_else(
                || "set `recipients` under [keys] to the public keys (age1...) of all who may open bundles".to_owned(),
                |key| format!("set `recipients = [\"{key}\"]` under [keys]"),
            );
            return findings.bad("keys", "no recipient: nothing could be sealed", fix);
        }
        Err(error) => return findings.failed("keys", error),
    };
    let names = recipients.to_strings();
    if let Some(own) = own
        && !own.iter().any(|key| names.contains(key))
    {
        findings.warn(
            "keys",
            "this host's identity is not among the recipients: it cannot open what it seals",
            format!("add {} to `recipients` under [keys]", own.join(", ")),
        );
    }
    match recipients.count() {
        1 => findings.warn(
            "keys",
            "one recipient only: if its key is lost with this host, no bundle can be opened",
            "make an escrow key elsewhere (age-keygen), and add its age1... to `recipients` under [keys]",
        ),
        count => findings.ok("keys", format!("{count} recipients")),
    }
}

fn signing_key(settings: &Settings, findings: &mut FindingsBuilder) -> Option<Signer> {
    let Some(path) = &settings.keys.signing_key else {
        findings.bad(
            "keys",
            "no signing key: bundles could not be told from forged ones",
            "dr init, then set `signing_key` under [keys]",
        );
        return None;
    };
    if !path.exists() {
        findings.bad("keys", format!("there is no signing key {}", path.display()), "dr init");
        return None;
    }
    match Signer::load(path) {
        Ok(signer) => {
            findings.ok("keys", format!("signing key {} ({})", path.display(), signer.fingerprint()));
            Some(signer)
        }
        Err(error) => {
            findings.failed("keys", error);
            None
        }
    }
}

fn trusted_signers(settings: &Settings, signer: &Signer, findings: &mut FindingsBuilder) {
    let Some(path) = &settings.keys.trusted_signers else {
        return findings.bad(
            "keys",
            "no trusted signers: no bundle could be restored",
            "dr init, then set `trusted_signers` under [keys]",
        );
    };
    if !path.exists() {
        return findings.bad("keys", format!("there is no file of trusted signers {}", path.display()), "dr init");
    }
    let loaded = TrustedSigners::load(path).and_then(|trusted| match &settings.keys.revoked_signers {
        Some(revoked) => trusted.without_revoked(revoked),
        None => Ok(trusted),
    });
    let trusted = match loaded {
        Ok(trusted) => trusted,
        Err(error) => return findings.failed("keys", error),
    };
    for line in trusted.skipped() {
        findings.warn(
            "keys",
            line.clone(),
            format!("a line looks like this (ssh-keygen(1), ALLOWED SIGNERS): {}", trust_form()),
        );
    }
    // Tried, not compared: the file may trust the key for other uses, or for another time.
    const PROBE: &[u8] = b"dr doctor";
    let tried = |namespace: &str| {
        signer.sign(namespace, PROBE).and_then(|mark| trusted.verify(namespace, PROBE, mark.as_bytes()))
    };
    let line = || format!("echo '{}' >> {}", signer.trust_line("this-host", HOST_NAMESPACES), path.display());
    match tried(SIGNATURE_NAMESPACE) {
        Ok(by) => {
            findings.ok("keys", format!("trusted signers {}: this host signs as {}", path.display(), by.principal));
            // Of before proofs had a namespace of their own.
            if tried(PROOF_NAMESPACE).is_err() {
                let text = format!(
                    "{} does not trust this host's signing key for {PROOF_NAMESPACE}: what it proves of bundles from now on counts nowhere",
                    path.display()
                );
                findings.warn("keys", text, line());
            }
        }
        Err(error @ SignError::Revoked { .. }) => findings.failed("keys", error),
        Err(_) => findings.bad(
            "keys",
            format!("{} does not trust this host's signing key for bundles", path.display()),
            line(),
        ),
    }
}

/// Whether the release is well, and the vault has what is live: a bundle needs both. What helm or the vault do not answer
/// is told elsewhere, and of an install that a run has half done nothing is to be recorded.
pub(super) async fn recorded(ctx: &Ctx, findings: &mut FindingsBuilder) {
    let Ok(history) = History::read(ctx).await else { return };
    if findings.known.half_done.is_some() {
        return;
    }
    if let Some(newest) = history.newest().filter(|newest| !newest.status.is_deployed()) {
        let (release, revision) = (&ctx.install().release, newest.revision);
        let text = format!("Helm release {release} is {}, not deployed: revision {revision}", newest.status.word());
        let way = findings.known.way_out("dr deploy -f values.yaml --version V");
        findings.bad("install", text, way);
    }
    let Some(deployed) = history.deployed().filter(|_| history.own().is_none()) else { return };
    let command = format!("dr config record --from-helm --chart {}", ctx.install().chart);
    let text = format!(
        "revision {} of release {} is not in the vault: no bundle can be made",
        deployed.revision,
        ctx.install().release
    );
    findings.warn("vault", text, command.clone());
    findings.known.to_record = Some(command);
}

pub(super) async fn open_runs(ctx: &Ctx, findings: &mut FindingsBuilder) {
    let all = match journal::list(&*ctx.runs) {
        Ok(all) => all,
        Err(error) => return findings.failed("runs", error),
    };
    let half_done = match findings.known.reachable {
        true => runs::half_done(ctx).await.unwrap_or_else(|error| {
            findings.doubtful("runs", error);
            None
        }),
        false => None,
    };
    let mut way_out = half_done.as_ref().map(|open| open.next(&ctx.install().namespace));
    for (id, run) in all {
        match run {
            Ok(run) if run.held => findings.ok("runs", format!("run {id} is under way")),
            Ok(run) if run.is_open() => {
                let next = match findings.known.reachable {
                    true => runs::next_command_asked(ctx, &id, &run).await,
                    false => runs::next_command(&id, &run),
                };
                match &half_done {
                    Some(open) if open.run == id => way_out = Some(next.clone()),
                    _ => findings.warn("runs", format!("run {id} was not finished"), next.clone()),
                }
                findings.known.open_runs.push(next);
            }
            Ok(_) => {}
            Err(_) if runs::is_over(ctx, &id) => {}
            Err(error) => findings.warn(
                "runs",
                format!("run {id} cannot be read: {}", chain(&error)),
                runs::closing_command(&*ctx.runs, &id).unwrap_or_else(|| "dr server status".to_owned()),
            ),
        }
    }
    if let (Some(open), Some(way)) = (half_done, way_out) {
        findings.bad("runs", format!("the install is not whole: {open}"), way.clone());
        findings.known.half_done = Some(way);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::Level;
    use crate::ops::doctor::store;
    use crate::ops::doctor::vault::vault;
    use crate::ops::testing;

    #[test]
    fn bare_keys_lead_to_init() {
        let mut findings = FindingsBuilder::default();
        let ctx = testing::ctx(&Default::default());
        keys(&Settings::default(), &mut findings);
        vault(&ctx, &Settings::default(), &mut findings);
        store::store(&ctx, &Settings::default(), &mut findings);
        let findings = findings.finish();
        assert!(!findings.ready);
        assert!(findings.findings.iter().all(|finding| finding.fix.is_some()));
    }

    #[test]
    fn a_signing_key_of_this_host_that_was_revoked_is_bad_and_so_is_a_list_that_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let request = crate::ops::init::InitRequest { data: folder.path().join("data"), ..Default::default() };
        crate::ops::init::init(&testing::ctx_in(folder.path()), &request).unwrap();
        let ctx = testing::ctx_in(folder.path());
        let mut settings = ctx.settings().unwrap().clone();
        let signer = Signer::load(settings.keys.signing_key.as_ref().unwrap()).unwrap();
        let revoked = folder.path().join("revoked");
        let worst = |settings: &Settings| {
            let mut findings = FindingsBuilder::default();
            trusted_signers(settings, &signer, &mut findings);
            findings.finish().findings.pop().unwrap()
        };
        settings.keys.revoked_signers = Some(revoked.clone());
        assert_eq!(worst(&settings).level, Level::Bad, "a list that is missing keeps nobody out");
        let line = signer.trust_line("here", HOST_NAMESPACES);
        std::fs::write(&revoked, &line[line.find("ssh-").unwrap()..]).unwrap();
        let found = worst(&settings);
        assert!(found.level == Level::Bad && found.text.contains("revoked"), "{}", found.text);
        std::fs::write(&revoked, "").unwrap();
        assert_eq!(worst(&settings).level, Level::Ok);
        // A line of before proofs had a namespace of their own.
        let old = signer.trust_line("here", &[SIGNATURE_NAMESPACE, "git"]);
        std::fs::write(settings.keys.trusted_signers.as_ref().unwrap(), old).unwrap();
        let found = worst(&settings);
        assert!(
            found.level == Level::Warn && found.fix.unwrap().contains("dr-bundle@v1,dr-proof@v1,git"),
            "{}",
            found.text
        );
    }

    #[tokio::test]
    async fn what_init_made_is_found_well_but_for_the_lonely_recipient() {
        let folder = tempfile::tempdir().unwrap();
        let request = crate::ops::init::InitRequest { data: folder.path().join("data"), ..Default::default() };
        crate::ops::init::init(&testing::ctx_in(folder.path()), &request).unwrap();
        let ctx = testing::ctx_in(folder.path());
        let settings = ctx.settings().unwrap();
        let mut findings = FindingsBuilder::default();
        super::settings(&ctx, &mut findings);
        keys(settings, &mut findings);
        vault(&ctx, settings, &mut findings);
        store::store(&ctx, settings, &mut findings);
        open_runs(&ctx, &mut findings).await;
        let findings = findings.finish();
        let worse: Vec<&str> =
            findings.findings.iter().filter(|f| f.level != Level::Ok).map(|f| f.text.as_str()).collect();
        assert_eq!(worse, ["one recipient only: if its key is lost with this host, no bundle can be opened"]);
        assert!(findings.ready);

        // The two lists of recipients are one, or no bundle can be made.
        let mut other = settings.clone();
        for (change, fix) in
            [(vec!["age1other".to_owned()], "dr config recipients add age1other"), (Vec::new(), "dr.toml")]
        {
            other.keys.recipients =
                if change.is_empty() { change } else { [&settings.keys.recipients[..], &change].concat() };
            let mut findings = FindingsBuilder::default();
            vault(&ctx, &other, &mut findings);
            let findings = findings.finish();
            assert!(!findings.ready && findings.next.contains(fix), "{findings:?}");
        }
    }
}
