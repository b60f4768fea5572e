//! What is looked at in the vault, and how a host that joins one is led on: what it does itself, and what is to be done
//! on a host that was there before it.

use super::findings::{FindingsBuilder, Level};
use crate::bundle::HOST_NAMESPACES;
use crate::crypt::{Identities, Signer};
use crate::error::{CommandError, trust_command};
use crate::ops::Ctx;
use crate::settings::Settings;
use crate::text::plural;
use crate::vault::{Vault, VaultError};

pub(super) fn vault(ctx: &Ctx, settings: &Settings, findings: &mut FindingsBuilder) {
    let Some(path) = &settings.vault.path else {
        return findings.bad("vault", "no config vault is set", "dr init, then set `path` under [vault]");
    };
    if !path.exists() {
        let place = path.display();
        let fix = format!(
            "git clone -b main REMOTE {place}, where another host or its remote has it; the first one: dr init"
        );
        return findings.bad("vault", format!("there is no config vault at {place}"), fix);
    }
    let vault = match ctx.vault_to_read() {
        Ok(vault) => vault,
        Err(error) => return findings.failed("vault", error),
    };
    if let Err(error) = vault.verify_new() {
        return not_believed(settings, error, findings);
    }
    let recipients = match vault.listed_recipients() {
        Ok(recipients) => recipients.to_strings(),
        Err(error) => return findings.failed("vault", error),
    };
    for lock in vault.git_locks().unwrap_or_default() {
        let lock = lock.display();
        let text = format!("{lock} is there: while it is, git lets nothing be recorded");
        findings.warn(
            "vault",
            text,
            format!("`fuser -v {lock}` and `pgrep -a git` show who may hold it; if nobody does: rm {lock}"),
        );
    }
    if let Ok(Some(elsewhere)) = vault.stands_elsewhere() {
        findings.warn(
            "vault",
            format!(
                "the work tree of the config vault stands on {elsewhere}, and shows nothing of what is recorded on main"
            ),
            format!("git -C {} switch main", path.display()),
        );
    }
    match vault.damaged_files() {
        Ok(damaged) => whole(path, &damaged, recipients.len(), findings),
        Err(error) => return findings.failed("vault", error),
    }
    if settings.keys.identity.is_none() && vault.readers().is_ok_and(|readers| !readers.is_empty()) {
        findings.warn(
            "vault",
            "this host has no age key: nothing that is recorded opens here",
            "dr init, which makes one and names the line for dr.toml; then: dr doctor",
        );
    }
    let is_outside = joins(&vault, &own_keys(settings), &recipients, findings);
    // A key that another host has let in is a question before anything is compared with it.
    if let Err(error) = vault.recipients() {
        return findings.failed("vault", error);
    }
    if is_outside {
        return;
    }
    let bundles = &settings.keys.recipients;
    if let Some(key) = bundles.iter().find(|key| !recipients.contains(key)) {
        let text = format!("bundles would be sealed to {key}, and the vault is not: no bundle can be made");
        findings.bad("vault", text, format!("dr config recipients add {key}, then dr config rekey"));
    } else if let Some(key) = recipients.iter().find(|key| !bundles.contains(key)) {
        let text = format!("the vault is sealed to {key}, and bundles would not be: no bundle can be made");
        findings.bad("vault", text, "add it to `recipients` under [keys] in dr.toml");
    }
}

/// Whether all of its files can be read.
fn whole(path: &std::path::Path, damaged: &[VaultError], recipients: usize, findings: &mut FindingsBuilder) {
    let place = format!("config vault {}", path.display());
    let Some(first) = damaged.first() else {
        return findings.ok("vault", format!("{place}, sealed to {}", plural(recipients as u64, "recipient")));
    };
    let others = match damaged.len() - 1 {
        0 => String::new(),
        count => format!("; and {} more", plural(count as u64, "file")),
    };
    if let VaultError::Shallow { path } = first {
        let text = format!("{place} is a shallow clone: its older commits are not here");
        return findings.bad("vault", text, format!("git -C {path} fetch --unshallow"));
    }
    findings.bad(
        "vault",
        format!("{place} has files that cannot be read: {first}{others}"),
        "dr config verify, which names them all; a clone of the vault elsewhere may have the good files",
    );
}

/// This host's own public keys, where they can be had without a passphrase.
fn own_keys(settings: &Settings) -> Vec<String> {
    let identities = settings.keys.identity.as_deref().map(|path| Identities::load(path, || None));
    identities.and_then(Result::ok).map_or(Vec::new(), |identities| identities.recipients())
}

/// What a host that does not open all of the vault yet has to have done. True when it is no recipient at all: what it
/// could do by itself does not help then.
fn joins(vault: &Vault, own: &[String], recipients: &[String], findings: &mut FindingsBuilder) -> bool {
    let Some(key) = own.first() else { return false };
    if !own.iter().any(|key| recipients.contains(key)) {
        findings.bad(
            "vault",
            format!("this host's key {key} is no recipient of the vault: nothing that is recorded opens here"),
            format!("on a host that opens it: dr config recipients add {key}, dr config rekey, dr config sync; then here: dr config sync; if none is left, with the escrow key: dr config recipients add {key}, dr config rekey --identity ESCROW.txt"),
        );
        return true;
    }
    let Ok(readers) = vault.readers() else { return false };
    let is_closed = |keys: &std::collections::BTreeSet<String>| !own.iter().any(|key| keys.contains(key));
    let closed = readers.values().filter(|keys| is_closed(keys)).count();
    if closed > 0 {
        let newest = readers.iter().max_by_key(|(id, _)| id.moment()).is_some_and(|(_, keys)| is_closed(keys));
        let all = plural(readers.len() as u64, "deployment");
        let (level, which) = match closed == readers.len() {
            true => (Level::Bad, format!("none of {all} opens here: they were")),
            false if newest => {
                (Level::Bad, format!("{closed} of {all}, the newest among them, do not open here: they were"))
            }
            false => (Level::Warn, format!("{closed} of {all} do not open here: they were")),
        };
        findings.add(
            "vault",
            level,
            format!("{which} sealed before this host's key was a recipient"),
            "on a host that opens them: dr config rekey, dr config sync; then here: dr config sync; if none is left, with the escrow key: dr config rekey --identity ESCROW.txt",
        );
    }
    false
}

/// A vault of which something is not believed. Where it is a matter of who signed, that host may be one of the
/// operator's own: each of the two has to be told of the other's key.
fn not_believed(settings: &Settings, error: VaultError, findings: &mut FindingsBuilder) {
    let is_stranger = matches!(error, VaultError::Unbelieved { untrusted: true, .. });
    let trusted = settings.keys.trusted_signers.as_deref().filter(|_| is_stranger);
    let signer = settings.keys.signing_key.as_deref().and_then(|path| Signer::load(path).ok());
    let (Some(trusted), Some(signer)) = (trusted, signer) else { return findings.failed("vault", error) };
    let text = CommandError::from(error).to_string();
    let line = signer.trust_line(&signer.name(), HOST_NAMESPACES);
    let file = trusted.file_name().unwrap_or_default().to_string_lossy();
    let here = trust_command(&trusted.display().to_string());
    findings.bad(
        "vault",
        text,
        format!(
            "if that key is of one of your hosts (`dr doctor` there names it), trust it here: {here}; and there, trust \
             this host: `echo '{line}' >> ALLOWED`, with its {file} for ALLOWED"
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::doctor::Findings;
    use crate::ops::init::{InitRequest, init};
    use crate::ops::testing;

    fn seen(ctx: &Ctx, settings: &Settings) -> Findings {
        let mut findings = FindingsBuilder::default();
        vault(ctx, settings, &mut findings);
        findings.finish()
    }

    #[test]
    fn a_second_host_is_led_on_with_the_command_for_each_side() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&one, &two] {
            let request = InitRequest { data: folder.path().join("data"), ..Default::default() };
            init(&testing::ctx_in(folder.path()), &request).unwrap();
        }
        let (first, second) = (testing::ctx_in(one.path()), testing::ctx_in(two.path()));
        let of = |ctx: &Ctx| ctx.settings().unwrap().clone();
        // The second host looks at the vault of the first, as after a clone.
        let mut settings = of(&second);
        settings.vault.path = of(&first).vault.path;
        let path = two.path().join("dr.toml");
        let ctx = |settings: &Settings| {
            crate::ops::Ctx::new(
                path.clone(),
                Ok(settings.clone()),
                |_| {},
                two.path().join("state"),
                None,
                "b@two".into(),
            )
        };
        let found = seen(&ctx(&settings), &settings);
        let fix = found.findings[0].fix.clone().unwrap();
        let key = |settings: &Settings| Signer::load(settings.keys.signing_key.as_ref().unwrap()).unwrap();
        assert!(found.findings[0].text.contains(&key(&of(&first)).fingerprint()), "{:?}", found.findings);
        assert!(fix.contains("trust it here") && fix.contains(&key(&settings).public_key()), "{fix}");

        let line = key(&of(&first)).trust_line("one", HOST_NAMESPACES);
        let trusted = settings.keys.trusted_signers.clone().unwrap();
        let text = std::fs::read_to_string(&trusted).unwrap();
        std::fs::write(&trusted, format!("{text}{line}\n")).unwrap();
        let found = seen(&ctx(&settings), &settings);
        let own = own_keys(&settings).remove(0);
        let fixes: Vec<String> = found.findings.iter().filter_map(|finding| finding.fix.clone()).collect();
        assert!(!found.ready && fixes[0].contains(&format!("recipients add {own}")), "{fixes:?}");
        assert!(fixes[1].contains("recipients accept"), "the first host's key is new here: {fixes:?}");
    }
}
