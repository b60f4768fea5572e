//! `dr init`: settings, keys, vault and store. What is there is kept.
//!
//! The settings file is written last: until it is there, nothing else is used, and a second run goes on where a killed
//! one stopped. No key that exists is ever written over.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use super::{Ctx, own_key};
use crate::bundle::HOST_NAMESPACES;
use crate::crypt::{COMMIT_NAMESPACE, Identities, Recipients, Signer, TrustedSigners};
use crate::error::{CommandError, Exit, Result};
use crate::ops::keyring::Keyring;
use crate::settings::{Install, Settings, bucket_refusal};
use crate::store::is_bucket;
use crate::vault::{CommitSigner, Vault, VaultError, VaultTrust};
use crate::write;

const TEMPLATE: &str = include_str!("../../templates/dr.toml");

/// What `init` was asked for.
#[derive(Debug, Clone, Default)]
pub struct InitRequest {
    /// Public keys beside this host's own.
    pub recipients: Vec<String>,
    /// Where the vault is to be; a folder in `data` otherwise.
    pub vault: Option<PathBuf>,
    /// The store that is to be, a folder or a bucket; a folder in `data` otherwise.
    pub store: Option<String>,
    /// Where the user's programs keep data.
    pub data: PathBuf,
    /// Whether the identity that is made is protected by a passphrase.
    pub passphrase: bool,
    /// Say what would be made, and make nothing.
    pub dry_run: bool,
}

/// What became of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InitOutcome {
    Made,
    /// It was there and was kept.
    Kept,
    /// It would be made.
    WouldMake,
}

/// One thing that `init` looks after.
#[derive(Debug, Serialize)]
pub struct Item {
    pub what: &'static str,
    pub path: PathBuf,
    /// What became of it.
    pub outcome: InitOutcome,
}

/// What `init` did.
#[derive(Debug, Serialize)]
pub struct Initialised {
    /// Each thing, in the order in which it was looked after.
    pub items: Vec<Item>,
    /// This host's public key, where its identity could be read.
    pub public_key: Option<String>,
    /// Everybody who can open what is sealed from now on.
    pub recipients: Vec<String>,
    /// What should be done about it.
    pub warnings: Vec<String>,
    /// The next command.
    pub next: String,
}

/// Where everything is or will be.
struct Places {
    identity: PathBuf,
    signing_key: PathBuf,
    trusted_signers: PathBuf,
    vault: PathBuf,
    store: String,
}

/// The settings file with every key, as `init` would write it for `install`.
pub fn settings_text(ctx: &Ctx, request: &InitRequest) -> Result<String> {
    render(ctx.install(), &places(ctx, None, request), &["age1...".to_owned()])
}

/// Makes what is missing.
///
/// # Errors
/// A recipient is none, what is there cannot be used, or something cannot be written. What was made before stays, and
/// is kept by the next `init`.
pub fn init(ctx: &Ctx, request: &InitRequest) -> Result<Initialised> {
    let there = if ctx.settings_path.exists() { Some(ctx.settings()?.clone()) } else { None };
    let places = places(ctx, there.as_ref(), request);
    // Refused before anything is made.
    if !request.recipients.is_empty() {
        Recipients::parse(&request.recipients).map_err(own_key::refused)?;
    }
    if let Some(why) = request.store.as_deref().filter(|store| is_bucket(store)).and_then(bucket_refusal) {
        return Err(CommandError::new(Exit::Usage, format!("--store: {why}"))
            .hint("Name a folder or a bucket: `dr init --store s3://BUCKET/PREFIX`."));
    }
    VaultTrust::new(TrustedSigners::default(), Vec::new(), &places.vault, &ctx.state).refuse_lost(&places.vault)?;
    let mut work = Work { dry_run: request.dry_run, items: Vec::new() };
    let kept = places.identity.exists();
    let public_key = identity(&mut work, &places.identity, ctx.keyring(), request.passphrase, there.is_none())?;
    let recipients = recipients(there.as_ref(), public_key.as_deref(), &request.recipients);
    let signer = signing_key(&mut work, &places.signing_key, &ctx.who)?;
    trusted_signers(&mut work, &places.trusted_signers, signer.as_ref(), &ctx.who)?;
    vault(&mut work, &places.vault, &recipients, signer, &ctx.who)?;
    store(&mut work, &places.store)?;
    work.make("settings", &ctx.settings_path, ctx.settings_path.exists(), || {
        let text = render(ctx.install(), &places, &recipients)?;
        write_new(&ctx.settings_path, 0o600, text.as_bytes())
    })?;
    // What would be made, or is protected and not opened for this, counts with those that are known.
    let own = usize::from(there.is_none() && public_key.is_none());
    let mut warnings = warnings(there.as_ref(), &recipients, own, request, &places);
    let has_recipients = there.as_ref().is_some_and(|settings| !settings.keys.recipients.is_empty());
    let own = own_key::OwnKey { path: &places.identity, key: public_key.as_deref(), kept };
    warnings.extend(own.unfit(has_recipients.then_some(&recipients), request.passphrase, request.dry_run));
    let next = match work.items.iter().any(|item| item.outcome == InitOutcome::WouldMake) {
        true => ctx.given.clone().without("--dry-run").to_string(),
        false => "dr doctor".to_owned(),
    };
    Ok(Initialised { items: work.items, public_key, recipients, warnings, next })
}

/// Signs commits of the vault with the given key.
pub fn commit_signer(signer: Signer) -> CommitSigner {
    let signer = Arc::new(signer);
    Arc::new(move |bytes| signer.sign(COMMIT_NAMESPACE, bytes).map_err(|error| error.to_string()))
}

struct Work {
    dry_run: bool,
    items: Vec<Item>,
}

impl Work {
    /// Keeps what is there, else makes it or says that it would.
    fn make(&mut self, what: &'static str, path: &Path, there: bool, make: impl FnOnce() -> Result<()>) -> Result<()> {
        let outcome = match (there, self.dry_run) {
            (true, _) => InitOutcome::Kept,
            (false, true) => InitOutcome::WouldMake,
            (false, false) => {
                make().map_err(|error| error.context(format!("make the {what} {}", path.display())))?;
                InitOutcome::Made
            }
        };
        self.items.push(Item { what, path: path.to_owned(), outcome });
        Ok(())
    }
}

fn places(ctx: &Ctx, there: Option<&Settings>, request: &InitRequest) -> Places {
    let beside = |name: &str| ctx.settings_path.parent().unwrap_or(Path::new(".")).join(name);
    let keys = there.map(|settings| &settings.keys);
    let or = |known: Option<&PathBuf>, default: PathBuf| known.cloned().unwrap_or(default);
    Places {
        identity: or(keys.and_then(|k| k.identity.as_ref()), beside("identity.txt")),
        signing_key: or(keys.and_then(|k| k.signing_key.as_ref()), beside("signing_key")),
        trusted_signers: or(keys.and_then(|k| k.trusted_signers.as_ref()), beside("allowed_signers")),
        vault: or(there.and_then(|s| s.vault.path.as_ref()).or(request.vault.as_ref()), request.data.join("vault")),
        store: there
            .and_then(|settings| settings.store.place())
            .or_else(|| request.store.clone())
            .unwrap_or_else(|| request.data.join("bundles").display().to_string()),
    }
}

/// The identity's public key; nothing in a dry run without one. Where a passphrase protects it, it is opened only if
/// the key is `needed`: settings that are there have it already.
fn identity(work: &mut Work, path: &Path, ring: &Keyring, protect: bool, needed: bool) -> Result<Option<String>> {
    let mut made = None;
    work.make("age identity", path, path.exists(), || {
        let identities = Identities::generate();
        if protect {
            let sealed = identities.to_protected_file(ring.new_passphrase(path)?)?;
            write_new(path, 0o600, &sealed)?;
        } else {
            write_new(path, 0o600, identities.to_file_text().as_bytes())?;
        }
        made = identities.recipients().pop();
        Ok(())
    })?;
    if made.is_some() || !path.exists() {
        return Ok(made);
    }
    match Identities::load(path, || None) {
        Ok(identities) => Ok(identities.recipients().into_iter().next()),
        Err(crate::crypt::seal::SealError::Passphrase { .. }) if needed && !work.dry_run => {
            Ok(ring.open(path)?.recipients().into_iter().next())
        }
        Err(crate::crypt::seal::SealError::Passphrase { .. }) => Ok(None),
        Err(error) => Err(keys("use the age identity that is there").because(error)),
    }
}

fn signing_key(work: &mut Work, path: &Path, who: &str) -> Result<Option<Signer>> {
    work.make("signing key", path, path.exists(), || {
        let signer = Signer::generate(who).map_err(|error| keys("make a signing key").because(error))?;
        make_parent(path)?;
        signer.save_new(path).map_err(|error| keys("keep the signing key").because(error))
    })?;
    if !path.exists() {
        return Ok(None);
    }
    let signer = Signer::load(path).map_err(|error| keys("use the signing key that is there").because(error))?;
    if !work.dry_run {
        // Nothing needs it: a key may lie where this user writes nothing.
        drop(signer.save_public(path));
    }
    Ok(Some(signer))
}

fn trusted_signers(work: &mut Work, path: &Path, signer: Option<&Signer>, who: &str) -> Result<()> {
    if path.exists() {
        TrustedSigners::load(path).map_err(|error| keys("read the trusted signers").because(error))?;
    }
    work.make("trusted signers", path, path.exists(), || {
        let line = signer.map(|signer| signer.trust_line(who, HOST_NAMESPACES)).unwrap_or_default();
        let text = format!("# Whose signatures dr believes: ssh-keygen(1), ALLOWED SIGNERS.\n{line}\n");
        write_new(path, 0o644, text.as_bytes())
    })
}

fn vault(work: &mut Work, path: &Path, recipients: &[String], signer: Option<Signer>, who: &str) -> Result<()> {
    let refused = |error: VaultError| CommandError::from(error).context("use the config vault");
    let Some(signer) = signer else {
        return work.make("config vault", path, path.join("vault.json").exists(), || Ok(()));
    };
    let signer = commit_signer(signer);
    let there = match Vault::open(path, Arc::clone(&signer)) {
        Ok(_) => true,
        Err(VaultError::Missing { .. }) => false,
        Err(error) => return Err(refused(error)),
    };
    work.make("config vault", path, there, || {
        let recipients = Recipients::parse(recipients).map_err(|error| {
            keys("seal the vault's key")
                .because(error)
                .hint("Name who can open it with --recipient, or under [keys] in the settings.")
        })?;
        make_parent(path)?;
        Vault::init(path, &recipients, who, signer).map_err(refused).map(drop)
    })
}

/// A bucket is made by those who own it; `dr doctor` says whether it is there.
fn store(work: &mut Work, place: &str) -> Result<()> {
    let path = Path::new(place);
    if is_bucket(place) { Ok(()) } else { work.make("store", path, path.is_dir(), || make_folder(path)) }
}

fn recipients(there: Option<&Settings>, own: Option<&str>, wished: &[String]) -> Vec<String> {
    if let Some(settings) = there.filter(|settings| !settings.keys.recipients.is_empty()) {
        return settings.keys.recipients.clone();
    }
    let mut all: Vec<String> = own.map(str::to_owned).into_iter().collect();
    for recipient in wished {
        if !all.contains(recipient) {
            all.push(recipient.clone());
        }
    }
    all
}

fn warnings(
    there: Option<&Settings>,
    recipients: &[String],
    own: usize,
    request: &InitRequest,
    places: &Places,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if there.is_some() {
        for recipient in request.recipients.iter().filter(|recipient| !recipients.contains(recipient)) {
            warnings.push(format!(
                "the settings are kept as they are: add {recipient} to `recipients` under [keys] by hand"
            ));
        }
    }
    if let Some(settings) = there {
        for (key, path, set) in [
            ("keys.identity", &places.identity, settings.keys.identity.is_some()),
            ("keys.signing_key", &places.signing_key, settings.keys.signing_key.is_some()),
            ("keys.trusted_signers", &places.trusted_signers, settings.keys.trusted_signers.is_some()),
            ("vault.path", &places.vault, settings.vault.path.is_some()),
        ] {
            if !set {
                warnings.push(format!("the settings do not name it yet: set `{key}` to {}", path.display()));
            }
        }
        if settings.store.place().is_none() {
            warnings.push(format!("the settings do not name it yet: set `store.path` to {}", places.store));
        }
        if settings.keys.recipients.is_empty() {
            warnings.push("the settings name no recipient: set `recipients` under [keys]".into());
        }
    }
    if recipients.len() + own < 2 {
        let add = match request.dry_run && there.is_none() {
            true => "give its public half (age1...) with --recipient",
            false => "add its public half (age1...) to `recipients` under [keys]",
        };
        warnings.push(format!(
            "only this host can open its bundles, and it may be the one that burns: make a second key on another \
             machine with `age-keygen`, put its private half into a safe, and {add}"
        ));
    }
    warnings
}

fn render(install: &Install, places: &Places, recipients: &[String]) -> Result<String> {
    let path = |path: &Path| quoted(&path.display().to_string());
    let context = match &install.context {
        Some(context) => format!("context = {}", quoted(context)),
        None => "# context = \"the kubeconfig's current one\"".into(),
    };
    let list: Vec<String> = recipients.iter().map(|recipient| format!("  {},", quoted(recipient))).collect();
    let fields = [
        ("context", context),
        ("namespace", quoted(&install.namespace)),
        ("release", quoted(&install.release)),
        ("identity", path(&places.identity)),
        ("recipients", list.join("\n")),
        ("signing_key", path(&places.signing_key)),
        ("trusted_signers", path(&places.trusted_signers)),
        ("vault", path(&places.vault)),
        ("store", store_line(&places.store)),
    ];
    let text =
        fields.iter().fold(TEMPLATE.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value));
    toml::from_str::<Settings>(&text)
        .map_err(|error| CommandError::new(Exit::Settings, "write the settings").because(error))?;
    Ok(text)
}

fn store_line(place: &str) -> String {
    let key = if is_bucket(place) { "url" } else { "path" };
    format!("{key} = {}", quoted(place))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn keys(act: &str) -> CommandError {
    CommandError::new(Exit::Keys, act)
}

/// Writes a file that is not there yet, whole or not at all, and the folders that it lies in.
fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> Result<()> {
    make_parent(path)?;
    write::new_file(path, mode, bytes)
        .map_err(|error| CommandError::new(Exit::Failure, format!("write {}", path.display())).because(error))
}

fn make_parent(path: &Path) -> Result<()> {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).map_or(Ok(()), make_folder)
}

fn make_folder(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.and_then(|()| sync_folder(path.parent()))
        .map_err(|error| CommandError::new(Exit::Failure, format!("make the folder {}", path.display())).because(error))
}

fn sync_folder(folder: Option<&Path>) -> io::Result<()> {
    match folder.filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::ops::CommandLine;
    use crate::ops::testing::ctx_in as ctx;

    fn request(folder: &Path) -> InitRequest {
        InitRequest { data: folder.join("data"), ..InitRequest::default() }
    }

    fn outcomes(done: &Initialised) -> Vec<InitOutcome> {
        done.items.iter().map(|item| item.outcome).collect()
    }

    #[test]
    fn everything_is_made_once_and_kept_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let first = init(&ctx(folder.path()), &request(folder.path())).unwrap();
        assert!(outcomes(&first).iter().all(|outcome| *outcome == InitOutcome::Made));
        let key = std::fs::read(folder.path().join("config/identity.txt")).unwrap();
        let second = init(&ctx(folder.path()), &request(folder.path())).unwrap();
        assert!(outcomes(&second).iter().all(|outcome| *outcome == InitOutcome::Kept));
        assert_eq!(std::fs::read(folder.path().join("config/identity.txt")).unwrap(), key);
        assert_eq!(first.public_key, second.public_key);
    }

    #[test]
    fn keys_are_readable_by_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        init(&ctx(folder.path()), &request(folder.path())).unwrap();
        for name in ["identity.txt", "signing_key", "dr.toml"] {
            let mode = std::fs::metadata(folder.path().join("config").join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn a_run_that_was_killed_goes_on_where_it_stopped() {
        let folder = tempfile::tempdir().unwrap();
        init(&ctx(folder.path()), &request(folder.path())).unwrap();
        std::fs::remove_file(folder.path().join("config/dr.toml")).unwrap();
        std::fs::remove_dir(folder.path().join("data/bundles")).unwrap();
        let again = init(&ctx(folder.path()), &request(folder.path())).unwrap();
        assert_eq!(
            outcomes(&again),
            [
                InitOutcome::Kept,
                InitOutcome::Kept,
                InitOutcome::Kept,
                InitOutcome::Kept,
                InitOutcome::Made,
                InitOutcome::Made
            ]
        );
    }

    #[test]
    fn a_dry_run_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut ctx = ctx(folder.path());
        ctx.given = CommandLine::new("dr", &["init", "--dry-run", "--recipient", "age1"].map(Into::into));
        let recipients = Identities::generate().recipients();
        let done = init(&ctx, &InitRequest { dry_run: true, recipients, ..request(folder.path()) }).unwrap();
        assert_eq!((done.warnings.as_slice(), done.next.as_str()), (&[][..], "dr init --recipient age1"));
        assert!(outcomes(&done).iter().all(|outcome| *outcome == InitOutcome::WouldMake));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_settings_that_are_written_are_read_back_with_their_recipients() {
        let folder = tempfile::tempdir().unwrap();
        let escrow = Identities::generate().recipients().remove(0);
        let done =
            init(&ctx(folder.path()), &InitRequest { recipients: vec![escrow.clone()], ..request(folder.path()) })
                .unwrap();
        let settings = ctx(folder.path()).settings().unwrap().clone();
        assert_eq!(settings.keys.recipients, [done.public_key.unwrap(), escrow]);
        assert_eq!(settings.store.path.unwrap(), folder.path().join("data/bundles"));
        assert!(done.warnings.is_empty(), "{:?}", done.warnings);
    }

    #[test]
    fn a_lonely_host_is_warned() {
        let folder = tempfile::tempdir().unwrap();
        let done = init(&ctx(folder.path()), &request(folder.path())).unwrap();
        assert!(done.warnings[0].contains("age-keygen"));
    }

    #[test]
    fn a_recipient_that_is_none_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let error =
            init(&ctx(folder.path()), &InitRequest { recipients: vec!["age1x".into()], ..request(folder.path()) });
        assert_eq!(error.unwrap_err().exit(), Exit::Keys);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_template_has_every_key_of_the_settings() {
        let settings = serde_json::to_value(Settings::default()).unwrap();
        for (table, keys) in settings.as_object().unwrap() {
            assert!(TEMPLATE.contains(&format!("[{table}]")), "{table}");
            // A list of tables is empty, and shows no keys.
            for key in keys.as_object().into_iter().flat_map(|keys| keys.keys()) {
                let forms = [format!("{key} ="), format!("{{{{{key}}}}}"), format!("[[{table}.{key}]]")];
                assert!(forms.iter().any(|form| TEMPLATE.contains(form)), "{key}");
            }
        }
    }
}
