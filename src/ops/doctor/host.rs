//! What is looked at on this host: settings, helm, keys, vault, store, runs.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Sheet;
use crate::crypt::seal::SealError;
use crate::crypt::sign::{Signer, TrustedSigners};
use crate::crypt::{Identities, Recipients};
use crate::error::chain;
use crate::helm::Helm;
use crate::journal;
use crate::ops::Ctx;
use crate::ops::init::commit_signer;
use crate::settings::Settings;
use crate::store;
use crate::vault::Vault;

/// What a bundle's signature is made for.
const BUNDLES: &str = "dr-bundle@v1";

pub(super) fn settings(ctx: &Ctx, sheet: &mut Sheet) {
    match ctx.settings() {
        Ok(_) => sheet.ok("settings", format!("settings {}", ctx.settings_path.display())),
        Err(_) if !ctx.settings_path.exists() => {
            sheet.bad("settings", format!("there is no settings file {}", ctx.settings_path.display()), "dr init");
        }
        Err(error) => sheet.failed("settings", error),
    }
}

pub(super) async fn helm(ctx: &Ctx, sheet: &mut Sheet) {
    let binary = ctx.settings().map_or_else(|_| "helm".into(), |settings| settings.helm.binary.clone());
    match Helm::find(&binary).await {
        Ok(helm) => {
            let found = format!("helm {} at {}", helm.version(), helm.binary().display());
            match helm.should_be() {
                None => sheet.ok("helm", found),
                Some(safe) => sheet.warn(
                    "helm",
                    format!("{found} has known holes (CVE-2025-53547, CVE-2026-35206)"),
                    format!("install helm {safe} or later"),
                ),
            }
        }
        Err(error) => sheet.failed("helm", error),
    }
}

pub(super) fn keys(settings: &Settings, sheet: &mut Sheet) {
    let own = identity(settings, sheet);
    recipients(settings, own.as_deref(), sheet);
    let Some(signer) = signing_key(settings, sheet) else { return };
    trusted_signers(settings, &signer, sheet);
}

/// This host's own public keys.
fn identity(settings: &Settings, sheet: &mut Sheet) -> Option<Vec<String>> {
    let Some(path) = &settings.keys.identity else {
        // A host that only records and bundles needs none; one that restores does.
        sheet.warn(
            "keys",
            "no age identity: this host can seal but not open",
            "set `identity` under [keys], or run dr init",
        );
        return None;
    };
    match Identities::load(path, || None) {
        Ok(identities) => {
            private(sheet, path, format!("age identity {}", path.display()));
            Some(identities.recipients())
        }
        Err(SealError::Passphrase { .. }) => {
            private(sheet, path, format!("age identity {}, protected by a passphrase", path.display()));
            None
        }
        Err(SealError::ReadIdentity { source, path }) if source.kind() == ErrorKind::NotFound => {
            sheet.bad(
                "keys",
                format!("there is no age identity {path}"),
                "dr init, or bring the file from where it is kept",
            );
            None
        }
        Err(error) => {
            sheet.failed("keys", error);
            None
        }
    }
}

fn private(sheet: &mut Sheet, path: &Path, text: String) {
    let mode = std::fs::metadata(path).map_or(0, |meta| meta.permissions().mode() & 0o777);
    if mode & 0o077 == 0 {
        sheet.ok("keys", text);
    } else {
        sheet.bad(
            "keys",
            format!("{text} can be read by others (mode {mode:04o})"),
            format!("chmod 600 {}", path.display()),
        );
    }
}

fn recipients(settings: &Settings, own: Option<&[String]>, sheet: &mut Sheet) {
    let recipients = match Recipients::parse(&settings.keys.recipients) {
        Ok(recipients) => recipients,
        Err(SealError::NoRecipient) => {
            let fix = own.and_then(<[String]>::first).map_or_else(
                || "set `recipients` under [keys] to the public keys (age1...) of all who may open bundles".to_owned(),
                |key| format!("set `recipients = [\"{key}\"]` under [keys]"),
            );
            return sheet.bad("keys", "no recipient: nothing could be sealed", fix);
        }
        Err(error) => return sheet.failed("keys", error),
    };
    let names = recipients.to_strings();
    if let Some(own) = own
        && !own.iter().any(|key| names.contains(key))
    {
        sheet.warn(
            "keys",
            "this host's identity is not among the recipients: it cannot open what it seals",
            format!("add {} to `recipients` under [keys]", own.join(", ")),
        );
    }
    match recipients.count() {
        1 => sheet.warn(
            "keys",
            "one recipient only: when its key burns with the host, every bundle stays closed",
            "make an escrow key elsewhere (age-keygen), and add its age1... to `recipients` under [keys]",
        ),
        count => sheet.ok("keys", format!("{count} recipients")),
    }
}

fn signing_key(settings: &Settings, sheet: &mut Sheet) -> Option<Signer> {
    let Some(path) = &settings.keys.signing_key else {
        sheet.bad(
            "keys",
            "no signing key: bundles could not be told from forged ones",
            "dr init, then set `signing_key` under [keys]",
        );
        return None;
    };
    if !path.exists() {
        sheet.bad("keys", format!("there is no signing key {}", path.display()), "dr init");
        return None;
    }
    match Signer::load(path) {
        Ok(signer) => {
            sheet.ok("keys", format!("signing key {} ({})", path.display(), signer.fingerprint()));
            Some(signer)
        }
        Err(error) => {
            sheet.failed("keys", error);
            None
        }
    }
}

fn trusted_signers(settings: &Settings, signer: &Signer, sheet: &mut Sheet) {
    let Some(path) = &settings.keys.trusted_signers else {
        return sheet.bad(
            "keys",
            "no trusted signers: no bundle could be restored",
            "dr init, then set `trusted_signers` under [keys]",
        );
    };
    if !path.exists() {
        return sheet.bad("keys", format!("there is no file of trusted signers {}", path.display()), "dr init");
    }
    let trusted = match TrustedSigners::load(path) {
        Ok(trusted) => trusted,
        Err(error) => return sheet.failed("keys", error),
    };
    // Tried, not compared: the file may trust the key for other uses, or for another time.
    const PROBE: &[u8] = b"dr doctor";
    let tried = signer.sign(BUNDLES, PROBE).and_then(|mark| trusted.verify(BUNDLES, PROBE, mark.as_bytes()));
    match tried {
        Ok(by) => sheet.ok("keys", format!("trusted signers {}: this host signs as {}", path.display(), by.principal)),
        Err(_) => sheet.warn(
            "keys",
            format!("{} does not trust this host's signing key for bundles", path.display()),
            format!("echo '{}' >> {}", signer.trust_line("this-host", &[BUNDLES, "git"]), path.display()),
        ),
    }
}

pub(super) fn vault(settings: &Settings, sheet: &mut Sheet) {
    let Some(path) = &settings.vault.path else {
        return sheet.bad("vault", "no config vault is set", "dr init, then set `path` under [vault]");
    };
    let Some(signer) = settings.keys.signing_key.as_deref().and_then(|key| Signer::load(key).ok()) else { return };
    match Vault::open(path, commit_signer(signer)) {
        Ok(vault) => match vault.recipients() {
            Ok(recipients) => {
                sheet.ok(
                    "vault",
                    format!("config vault {}, sealed to {}", path.display(), count(recipients.count(), "recipient")),
                );
            }
            Err(error) => sheet.failed("vault", error),
        },
        Err(crate::vault::VaultError::Missing { path }) => {
            sheet.bad("vault", format!("there is no config vault at {path}"), "dr init");
        }
        Err(error) => sheet.failed("vault", error),
    }
}

pub(super) fn store(settings: &Settings, sheet: &mut Sheet) {
    let Some(path) = &settings.store.path else {
        return sheet.bad("store", "no store is set", "dr init, then set `path` under [store]");
    };
    let store = match store::open_at(&path.display().to_string()) {
        Ok(store) => store,
        Err(_) if !path.exists() => {
            return sheet.bad("store", format!("there is no store {}", path.display()), "dr init");
        }
        Err(error) => return sheet.failed("store", error),
    };
    if let Err(error) = tempfile::Builder::new().prefix(".dr-doctor-").tempfile_in(path) {
        let text = format!("nothing can be written into store {}: {}", path.display(), chain(&error));
        return sheet.bad("store", text, format!("ls -ld {}", path.display()));
    }
    match (store.list(), store.free_bytes()) {
        (Ok(names), Ok(free)) => {
            sheet.known.bundles = names.len();
            room(sheet, path, count(names.len(), "bundle"), free);
        }
        (Err(error), _) | (_, Err(error)) => sheet.failed("store", error),
    }
}

/// Whether a bundle of the database fits. A bundle of incompressible data is as large as the database, and its log.
fn room(sheet: &mut Sheet, path: &Path, holds: String, free: Option<u64>) {
    let text = format!("store {}: {holds}", path.display());
    match (free, sheet.known.database_size) {
        (Some(free), Some(size)) if free < size / 2 => sheet.bad(
            "store",
            format!("{text}, {} free, and the database has {}", mib(free), mib(size)),
            "free room on the store's disk, or set `store.path` to another",
        ),
        (Some(free), Some(size)) if free < size.saturating_mul(3) => sheet.warn(
            "store",
            format!("{text}, {} free: room for few bundles of a database of {}", mib(free), mib(size)),
            "free room on the store's disk, or set another store",
        ),
        (Some(free), Some(size)) => {
            sheet.ok("store", format!("{text}, {} free for a database of {}", mib(free), mib(size)))
        }
        (Some(free), None) => sheet.ok("store", format!("{text}, {} free", mib(free))),
        (None, _) => sheet.ok("store", text),
    }
}

pub(super) fn runs(ctx: &Ctx, sheet: &mut Sheet) {
    let runs = match journal::list(&*ctx.runs) {
        Ok(runs) => runs,
        Err(error) => return sheet.failed("runs", error),
    };
    for (id, run) in runs {
        match run {
            Ok(run) if run.held => sheet.ok("runs", format!("run {id} is going on")),
            Ok(run) if run.is_open() => {
                sheet.warn("runs", format!("run {id} was not finished"), format!("dr run resume {id}"));
                sheet.known.open_run = Some(id);
            }
            Ok(_) => {}
            Err(error) => {
                sheet.warn("runs", format!("run {id} cannot be read: {}", chain(&error)), format!("dr run show {id}"))
            }
        }
    }
}

fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

fn mib(bytes: u64) -> String {
    let mib = bytes.div_ceil(1 << 20);
    if mib < 10_240 { format!("{mib} MiB") } else { format!("{} GiB", mib / 1024) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::{Finding, Level};

    fn seen(free: u64, size: u64) -> Finding {
        let mut sheet = Sheet::default();
        sheet.known.database_size = Some(size);
        room(&mut sheet, Path::new("/s"), count(1, "bundle"), Some(free));
        sheet.finish().findings.remove(0)
    }

    #[test]
    fn a_store_without_room_for_one_bundle_is_bad_and_for_few_is_doubtful() {
        assert_eq!(seen(1 << 30, 4 << 30).level, Level::Bad);
        assert_eq!(seen(4 << 30, 4 << 30).level, Level::Warn);
        assert_eq!(seen(40 << 30, 4 << 30).level, Level::Ok);
        assert_eq!(seen(1 << 30, 4 << 30).text, "store /s: 1 bundle, 1024 MiB free, and the database has 4096 MiB");
    }

    #[test]
    fn bare_keys_lead_to_init() {
        let mut sheet = Sheet::default();
        keys(&Settings::default(), &mut sheet);
        vault(&Settings::default(), &mut sheet);
        store(&Settings::default(), &mut sheet);
        let findings = sheet.finish();
        assert!(!findings.ready);
        assert!(findings.findings.iter().all(|finding| finding.fix.is_some()));
    }

    #[test]
    fn what_init_made_is_found_well_but_for_the_lonely_recipient() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dr.toml");
        let ctx = |path: &Path| {
            let settings = Settings::read(path, None);
            Ctx::new(path.to_owned(), settings, |_| {}, folder.path().join("runs"), None, "op@host".into())
        };
        let wish = crate::ops::init::Wish { data: folder.path().join("data"), ..Default::default() };
        crate::ops::init::init(&ctx(&path), &wish).unwrap();
        let ctx = ctx(&path);
        let settings = ctx.settings().unwrap();
        let mut sheet = Sheet::default();
        super::settings(&ctx, &mut sheet);
        keys(settings, &mut sheet);
        vault(settings, &mut sheet);
        store(settings, &mut sheet);
        runs(&ctx, &mut sheet);
        let findings = sheet.finish();
        let worse: Vec<&str> =
            findings.findings.iter().filter(|f| f.level != Level::Ok).map(|f| f.text.as_str()).collect();
        assert_eq!(worse, ["one recipient only: when its key burns with the host, every bundle stays closed"]);
        assert!(findings.ready);
    }
}
