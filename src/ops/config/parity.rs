//! `dr config parity`: whether two sites of one highly available OpsChain have the keys in common that they must have.
//!
//! No plaintext moves. Two deployments that one host can open are compared in its memory. For a site whose vault is
//! elsewhere there is the parity file: an HMAC of each key's value under a random key of its own, which is sealed with
//! age. Who cannot open it learns nothing, not even by guessing; who can, computes the HMACs of the own values.

use std::path::{Path as FilePath, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use rand::TryRngCore;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::clock;
use crate::crypt::{Identities, Recipients};
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::opschain::parity::{Demand, PARITY, ParityKey};
use crate::values::{Path, Tree, Value};
use crate::vault::RecordedInstall;
use crate::write;

/// The format of parity files.
const FORMAT: u32 = 1;
/// What says that a file is one.
const KIND: &str = "dr-parity";
/// The largest file that is taken for one.
const LARGEST: u64 = 1 << 20;

/// A parity file: clear JSON that gives nothing away.
#[derive(Debug, Serialize, Deserialize)]
struct ParityFile {
    kind: String,
    format: u32,
    made: Timestamp,
    /// What it is of, in words.
    of: String,
    /// HMAC-SHA-256 of each key, in hexadecimal; null where the values do not set it.
    keys: std::collections::BTreeMap<String, Option<String>>,
    /// The HMAC's key as one age file, in base64.
    sealed_key: String,
    /// Whom it is sealed to.
    recipients: Vec<String>,
}

/// How a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The same on both sides.
    Equal,
    /// Another on each side.
    Differs,
    /// Set on the second side only.
    MissingInA,
    /// Set on the first side only.
    MissingInB,
    /// Set on neither.
    MissingInBoth,
}

/// A key with how it stands, and whether that is right. Never its value.
#[derive(Debug, Serialize)]
pub struct ParityLine {
    pub key: Path,
    /// `equal` or `differ`: what it must be.
    pub must: &'static str,
    pub is: Verdict,
    /// Whether that is as it must be.
    pub ok: bool,
    /// What breaks otherwise.
    pub why: &'static str,
}

/// Two sites, compared.
#[derive(Debug, Serialize)]
pub struct Parity {
    pub a: String,
    pub b: String,
    /// Whether every key stands as it must.
    pub ok: bool,
    pub keys: Vec<ParityLine>,
}

impl Parity {
    /// 0 when every key stands as it must, else 2.
    pub fn exit(&self) -> Exit {
        if self.ok { Exit::Success } else { Exit::Changed }
    }
}

/// What was written.
#[derive(Debug, Serialize)]
pub struct Exported {
    pub path: PathBuf,
    pub of: String,
    /// How many keys the values set.
    pub keys: usize,
    /// Who can compare with it.
    pub recipients: Vec<String>,
}

/// One side: values at hand, or the fingerprints of a parity file.
enum Side {
    Values(Tree),
    File { key: Zeroizing<Vec<u8>>, keys: std::collections::BTreeMap<String, Option<String>> },
}

/// Compares two of: a deployment of any install of the vault, a values file, a parity file.
///
/// # Errors
/// One cannot be found, opened or read; both are parity files, which have keys of their own and cannot be compared.
pub fn parity(ctx: &Ctx, a: &str, b: &str) -> Result<Parity> {
    let (name_a, side_a) = side(ctx, a)?;
    let (name_b, side_b) = side(ctx, b)?;
    let (key, marks_a, marks_b) = match (&side_a, &side_b) {
        (Side::File { .. }, Side::File { .. }) => {
            return Err(CommandError::new(
                Exit::Usage,
                "two parity files cannot be compared: each has fingerprints under a key of its own",
            )
            .hint("Compare each with a deployment: `dr config parity FILE live`."));
        }
        (Side::File { key, keys }, Side::Values(tree)) => (key.clone(), keys.clone(), marks(key, tree)),
        (Side::Values(tree), Side::File { key, keys }) => (key.clone(), marks(key, tree), keys.clone()),
        (Side::Values(a), Side::Values(b)) => {
            let key = random_key()?;
            let (a, b) = (marks(&key, a), marks(&key, b));
            (key, a, b)
        }
    };
    let keys: Vec<ParityLine> = PARITY.iter().map(|known| line(known, &key, &marks_a, &marks_b)).collect();
    Ok(Parity { a: name_a, b: name_b, ok: keys.iter().all(|line| line.ok), keys })
}

/// Writes a parity file of a deployment, sealed to the vault's recipients, or to the given ones.
///
/// # Errors
/// The deployment cannot be opened, a recipient is none, or the file is there already.
pub fn export(ctx: &Ctx, what: &str, to: &[String], path: &FilePath) -> Result<Exported> {
    let (of, side) = side(ctx, what)?;
    let Side::Values(tree) = side else {
        return Err(CommandError::new(Exit::Usage, format!("{what} is a parity file already")));
    };
    let recipients = if to.is_empty() { ctx.vault()?.recipients()? } else { Recipients::parse(to)? };
    let key = random_key()?;
    let file = ParityFile {
        kind: KIND.into(),
        format: FORMAT,
        made: clock::now(),
        of: of.clone(),
        keys: marks(&key, &tree),
        sealed_key: STANDARD.encode(recipients.seal(&key)?),
        recipients: recipients.to_strings(),
    };
    let failed =
        |e: std::io::Error| CommandError::new(Exit::Failure, format!("write {}", path.display())).unwritten(path, e);
    let mut bytes = serde_json::to_vec_pretty(&file)
        .map_err(|e| CommandError::new(Exit::Failure, "write the parity file").because(e))?;
    bytes.push(b'\n');
    write::new_file(path, 0o644, &bytes).map_err(failed)?;
    let keys = file.keys.values().flatten().count();
    Ok(Exported { path: path.to_owned(), of, keys, recipients: file.recipients })
}

fn side(ctx: &Ctx, text: &str) -> Result<(String, Side)> {
    if let Some(bytes) = file(ctx, text)? {
        ctx.secrets().register_document(&bytes);
        if let Some(file) = parity_file(text, &bytes)? {
            let identities = ctx.identities()?;
            let name = format!("{text} ({}, {})", file.of, file.made.strftime("%Y-%m-%d"));
            return Ok((name, opened(text, file, &identities)?));
        }
        let tree = Tree::parse_or_explain(&bytes).map_err(|error| CommandError::from(error).context(text))?;
        return Ok((text.to_owned(), Side::Values(tree)));
    }
    let vault = ctx.vault()?;
    let (install, selector) = of_install(ctx, text);
    let deployment = vault.resolve(&install, &selector).map_err(|error| {
        CommandError::from(error)
            .context(format!("{}.{}", install.namespace, install.release))
            .hint("A deployment of another install is named NAMESPACE.RELEASE:SELECTOR.")
    })?;
    let identities = ctx.identities()?;
    let bytes = vault.values(&deployment, &identities)?;
    let name = format!("{}.{} {}", install.namespace, install.release, deployment.id());
    ctx.events.note(format!("{text} is {name}"));
    let tree = Tree::parse_or_explain(&bytes).map_err(|error| CommandError::from(error).context(&name))?;
    Ok((name, Side::Values(tree)))
}

/// `NAMESPACE.RELEASE[:SELECTOR]`, else a selector of the settings' install. Neither names nor versions of OpsChain have
/// a dot between letters; the vault's own folders are called so.
fn of_install(ctx: &Ctx, text: &str) -> (RecordedInstall, String) {
    let own = || (ctx.vault_install(), text.to_owned());
    let (name, selector) = match text.split_once(':') {
        Some((name, selector)) if name.contains('.') => (name, selector),
        _ => (text, "live"),
    };
    let names = |name: &str| {
        let (namespace, release) = name.split_once('.')?;
        let is_version = namespace.bytes().all(|byte| byte.is_ascii_digit());
        Some((namespace.parse().ok()?, release.parse().ok()?)).filter(|_| !is_version)
    };
    match names(name) {
        Some((namespace, release)) => {
            (RecordedInstall { namespace, release, context: None, cluster: None }, selector.to_owned())
        }
        None => own(),
    }
}

/// The bytes, where the words name a file.
fn file(ctx: &Ctx, text: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let path = FilePath::new(text);
    let looks_so = text.contains('/') || text.ends_with(".yaml") || text.ends_with(".yml") || text.ends_with(".json");
    if !looks_so && !path.is_file() {
        return Ok(None);
    }
    ctx.named_values(path).map(|(_, bytes)| Some(bytes))
}

fn parity_file(name: &str, bytes: &[u8]) -> Result<Option<ParityFile>> {
    if bytes.len() as u64 > LARGEST || !bytes.trim_ascii_start().starts_with(b"{") {
        return Ok(None);
    }
    #[derive(Deserialize)]
    struct Head {
        kind: String,
        format: u32,
    }
    let Some(head) = serde_json::from_slice::<Head>(bytes).ok().filter(|head| head.kind == KIND) else {
        return Ok(None);
    };
    if head.format > FORMAT {
        return Err(CommandError::new(
            Exit::Format,
            format!("{name} has parity format {}, and this dr knows {FORMAT}", head.format),
        )
        .hint("Use a newer dr on this host."));
    }
    serde_json::from_slice(bytes)
        .map(Some)
        .map_err(|e| CommandError::new(Exit::Damaged, format!("{name} is no whole parity file")).because(e))
}

fn opened(name: &str, file: ParityFile, identities: &Identities) -> Result<Side> {
    let damaged = || CommandError::new(Exit::Damaged, format!("the key in {name} is damaged"));
    let sealed = STANDARD.decode(&file.sealed_key).map_err(|e| damaged().because(e))?;
    let key = identities.open(&sealed).map_err(|error| {
        CommandError::from(error)
            .context(format!("open the key in {name}"))
            .hint(format!("It is sealed to {}.", file.recipients.join(", ")))
            .hint("Have the other host make it with --to and a public key of this one.")
    })?;
    if key.len() != 32 {
        return Err(damaged());
    }
    Ok(Side::File { key, keys: file.keys })
}

fn line(known: &ParityKey, key: &[u8], a: &Marks, b: &Marks) -> ParityLine {
    let path = Path::of(known.path);
    let default = known.default.map(|text| mark(key, &path, text));
    let of = |marks: &Marks| marks.get(&path.to_string()).cloned().flatten().or_else(|| default.clone());
    let (a, b) = (of(a), of(b));
    let is = match (&a, &b) {
        (None, None) => Verdict::MissingInBoth,
        (None, Some(_)) => Verdict::MissingInA,
        (Some(_), None) => Verdict::MissingInB,
        (Some(a), Some(b)) if a == b => Verdict::Equal,
        _ => Verdict::Differs,
    };
    let (must, ok) = match known.demand {
        // Two sites that leave a key to the chart have the same one.
        Demand::Equal => ("equal", matches!(is, Verdict::Equal | Verdict::MissingInBoth)),
        Demand::Differ => ("differ", is == Verdict::Differs),
    };
    ParityLine { key: path, must, is, ok, why: known.why }
}

type Marks = std::collections::BTreeMap<String, Option<String>>;

/// The HMAC of every key that parity is about. An empty value counts as none: so the chart takes it.
fn marks(key: &[u8], tree: &Tree) -> Marks {
    let of = |known: &ParityKey| {
        let path = Path::of(known.path);
        let scalar = tree.get(known.path).and_then(|node| node.scalar());
        let text = scalar.filter(|scalar| !matches!(scalar.value, Value::Null)).map(|scalar| scalar.value.text());
        (path.to_string(), text.filter(|text| !text.is_empty()).map(|text| mark(key, &path, &text)))
    };
    PARITY.iter().map(of).collect()
}

/// The HMAC of a value at its place: the same value elsewhere has another.
fn mark(key: &[u8], path: &Path, text: &str) -> String {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return String::new() };
    mac.update(path.to_string().as_bytes());
    mac.update(&[0]);
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

fn random_key() -> Result<Zeroizing<Vec<u8>>> {
    let mut key = Zeroizing::new(vec![0u8; 32]);
    rand::rngs::OsRng.try_fill_bytes(&mut key).map_err(|e| {
        CommandError::new(Exit::Failure, "ask the machine for random bytes").because(std::io::Error::other(e))
    })?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(a: &str, b: &str) -> Vec<(String, Verdict, bool)> {
        let tree = |text: &str| Tree::parse(text.as_bytes()).unwrap();
        let key = [7; 32];
        let (a, b) = (marks(&key, &tree(a)), marks(&key, &tree(b)));
        PARITY
            .iter()
            .map(|known| line(known, &key, &a, &b))
            .map(|line| (line.key.to_string(), line.is, line.ok))
            .collect()
    }

    #[test]
    fn keys_are_judged_by_what_they_must_be() {
        let a = "env: {OPSCHAIN_PRIMARY_KEY: aaaa, PGPASSWORD: 123456, OPSCHAIN_TOKEN_SECRET_KEY: x}\n";
        let b = "env: {OPSCHAIN_PRIMARY_KEY: bbbb, PGPASSWORD: '123456'}\ndb: {cnpg: {clusterName: site-b}}\nsecretVault: {unsealKey: u}\n";
        let found = compare(a, b);
        let of = |key: &str| found.iter().find(|(name, ..)| name == key).map(|(_, is, ok)| (*is, *ok)).unwrap();
        assert_eq!(of("env.OPSCHAIN_PRIMARY_KEY"), (Verdict::Differs, false));
        assert_eq!(of("env.PGPASSWORD"), (Verdict::Equal, true), "the chart takes both as the same text");
        assert_eq!(of("env.OPSCHAIN_TOKEN_SECRET_KEY"), (Verdict::MissingInB, false));
        assert_eq!(of("secretVault.unsealKey"), (Verdict::MissingInA, false));
        assert_eq!(of("db.cnpg.clusterName"), (Verdict::Differs, true), "the chart's own name on one side");
        assert_eq!(of("db.cnpg.database.owner"), (Verdict::Equal, true));
        assert_eq!(of("mintPressTransportableKey"), (Verdict::MissingInBoth, true));
        let same = compare(a, a);
        assert!(same.iter().any(|(key, is, ok)| key == "db.cnpg.clusterName" && *is == Verdict::Equal && !ok));
    }

    #[test]
    fn an_install_is_told_from_a_selector() {
        let ctx = crate::ops::testing::ctx(&Default::default());
        let of = |text: &str| {
            let (install, selector) = of_install(&ctx, text);
            format!("{}.{} {selector}", install.namespace, install.release)
        };
        assert_eq!(of("site-b.opschain"), "site-b.opschain live");
        assert_eq!(of("site-b.opschain:rev:7"), "site-b.opschain rev:7");
        assert_eq!(of("rev:7"), "opschain.opschain rev:7");
        assert_eq!(of("2026-08-20T10:00"), "opschain.opschain 2026-08-20T10:00");
        assert_eq!(of("2026.8.20"), "opschain.opschain 2026.8.20");
    }

    #[test]
    fn a_mark_is_of_its_place_and_its_key() {
        let path = Path::of(&["a"]);
        assert_ne!(mark(&[1; 32], &path, "x"), mark(&[2; 32], &path, "x"));
        assert_ne!(mark(&[1; 32], &path, "x"), mark(&[1; 32], &Path::of(&["b"]), "x"));
    }
}
