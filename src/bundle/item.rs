//! What can be taken out of a bundle, and the words that ask for it.

use serde::Serialize;

use crate::ustar::is_inside;

use super::layout::{Member, Stream};
use super::volume;

/// The words for what people want most, and the members that they stand for.
const WORDS: [(&str, &str); 5] = [
    ("values", "config/values.yaml.age"),
    ("release", "config/release.json.age"),
    ("secrets", "config/secrets.yaml.age"),
    ("ldap-data.ldif", "config/ldap-data.ldif.age"),
    ("ldap-config.ldif", "config/ldap-config.ldif.age"),
];
const CHART: &str = "chart";

/// One thing that can be taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleItem {
    /// A member as it is stored.
    Stored(Member),
    /// A sealed member, opened.
    Opened(Member),
    /// A stream as it was before it was cut, compressed and sealed.
    Tar(Stream),
    /// The tar of another volume.
    Volume(String),
    /// A file of the data directory, by its path there.
    DatabaseFile(String),
}

impl BundleItem {
    /// Reads the words for an item: `values`, `release`, `secrets`, `chart`, `ldap-data.ldif`; `base.tar`, `pg_wal.tar`,
    /// `volume-git.tar`; a member's name, which is opened where `.age` is left out; else a path in the data directory. `chart` is the name of the chart's
    /// member. `None` when the bundle has no chart, or the path leads out.
    pub fn parse(text: &str, chart: Option<&str>) -> Option<Self> {
        if let Some((_, name)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Member::parse(name).ok().map(Self::Opened);
        }
        if text == CHART {
            return Member::parse(chart?).ok().map(Self::Opened);
        }
        if let Some(stream) = [Stream::Base, Stream::Wal].into_iter().find(|stream| stream.tar() == text) {
            return Some(Self::Tar(stream));
        }
        if let Some(volume) = volume::of_tar_name(text) {
            return Some(Self::Volume(volume.to_owned()));
        }
        if let Ok(member) = Member::parse(text) {
            return Some(Self::Stored(member));
        }
        if let Ok(member) = Member::parse(&format!("{text}.age")) {
            return Some(Self::Opened(member));
        }
        is_inside(text).then(|| Self::DatabaseFile(text.to_owned()))
    }

    /// Whether an identity is needed for what the words ask for.
    pub fn needs_identity(text: &str) -> bool {
        Member::parse(text).is_err()
    }

    /// What a file of it is called.
    pub fn file_name(&self) -> String {
        let name = match self {
            Self::Stored(member) => member.to_string(),
            Self::Opened(member) => opened_name(member),
            Self::Tar(stream) => stream.tar().to_owned(),
            Self::Volume(volume) => volume::tar_name(volume),
            Self::DatabaseFile(path) => path.clone(),
        };
        name.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

/// What an item is, for a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedItem {
    /// What asks for it.
    pub name: String,
    pub content: &'static str,
    /// Of a member: as it is stored. Of a tar and a file of the database: as it comes out.
    pub bytes: u64,
    /// Whether an identity is needed for it.
    pub sealed: bool,
}

impl ListedItem {
    /// A member that is no chunk, of so many stored bytes.
    pub(super) fn member(member: &Member, bytes: u64) -> Self {
        let content = match member {
            Member::Header => "what the bundle says of itself",
            Member::Readme => "how to restore it by hand",
            Member::Config(name) => match name.as_str() {
                "config/values.yaml.age" => "the values, byte for byte",
                "config/release.json.age" => "Helm revision, chart, images, operator, replicas",
                "config/secrets.yaml.age" => "Secrets and ConfigMaps, for kubectl apply",
                "config/ldap-data.ldif.age" => "users and groups of the bundled LDAP server",
                "config/ldap-config.ldif.age" => "the LDAP server's configuration",
                name if name.starts_with("config/layer-") => "a layer of the values",
                _ => "",
            },
            Member::Chart(_) => "the chart",
            Member::Chunk(..) => "a chunk",
            Member::BackupManifest => "PostgreSQL's list of the database's files",
            Member::Manifest => "every member with size and digest",
            Member::Signature => "the signature over manifest.json",
        };
        Self { name: word(member), content, bytes, sealed: member.is_sealed() }
    }

    pub(super) fn tar(stream: Stream, bytes: u64) -> Self {
        let content = match stream {
            Stream::Base => "the data directory",
            Stream::Wal => "the write-ahead log",
        };
        Self { name: stream.tar().to_owned(), content, bytes, sealed: true }
    }

    pub(super) fn volume(volume: &str, bytes: u64) -> Self {
        Self { name: volume::tar_name(volume), content: "a volume's files", bytes, sealed: true }
    }

    pub(super) fn database_file(path: &str, bytes: u64) -> Self {
        Self { name: path.to_owned(), content: "a file of the database", bytes, sealed: true }
    }
}

/// The shortest word that asks for the member, opened where it is sealed.
fn word(member: &Member) -> String {
    let name = member.to_string();
    match WORDS.iter().find(|(_, known)| *known == name) {
        Some((word, _)) => (*word).to_owned(),
        None if matches!(member, Member::Chart(_)) => CHART.to_owned(),
        None => opened_name(member),
    }
}

fn opened_name(member: &Member) -> String {
    let name = member.to_string();
    name.strip_suffix(".age").map(str::to_owned).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHART_MEMBER: &str = "chart/opschain-2026.8.20.tgz.age";

    fn parsed(text: &str) -> Option<BundleItem> {
        BundleItem::parse(text, Some(CHART_MEMBER))
    }

    fn member(name: &str) -> Member {
        Member::parse(name).unwrap()
    }

    #[test]
    fn the_common_wishes_are_one_word_and_a_member_is_opened_where_age_is_left_out() {
        for (text, item, file) in [
            ("values", BundleItem::Opened(member("config/values.yaml.age")), "values.yaml"),
            ("secrets", BundleItem::Opened(member("config/secrets.yaml.age")), "secrets.yaml"),
            ("chart", BundleItem::Opened(member(CHART_MEMBER)), "opschain-2026.8.20.tgz"),
            ("ldap-data.ldif", BundleItem::Opened(member("config/ldap-data.ldif.age")), "ldap-data.ldif"),
            ("base.tar", BundleItem::Tar(Stream::Base), "base.tar"),
            ("pg_wal.tar", BundleItem::Tar(Stream::Wal), "pg_wal.tar"),
            ("volume-git.tar", BundleItem::Volume("git".into()), "volume-git.tar"),
            ("config/values.yaml.age", BundleItem::Stored(member("config/values.yaml.age")), "values.yaml.age"),
            ("config/layer-1.txt", BundleItem::Opened(member("config/layer-1.txt.age")), "layer-1.txt"),
            ("db/backup_manifest", BundleItem::Opened(Member::BackupManifest), "backup_manifest"),
            ("db/base/000000.tar.zst.age", BundleItem::Stored(Member::Chunk(Stream::Base, 0)), "000000.tar.zst.age"),
            ("db/base/000000.tar.zst", BundleItem::Opened(Member::Chunk(Stream::Base, 0)), "000000.tar.zst"),
            ("manifest.json", BundleItem::Stored(Member::Manifest), "manifest.json"),
            ("base/16384/2619", BundleItem::DatabaseFile("base/16384/2619".into()), "2619"),
            ("PG_VERSION", BundleItem::DatabaseFile("PG_VERSION".into()), "PG_VERSION"),
            ("base/000000.tar.zst", BundleItem::DatabaseFile("base/000000.tar.zst".into()), "000000.tar.zst"),
        ] {
            assert_eq!(parsed(text), Some(item.clone()), "{text}");
            assert_eq!(item.file_name(), file, "{text}");
            assert_eq!(BundleItem::needs_identity(text), !matches!(item, BundleItem::Stored(_)), "{text}");
        }
        assert_eq!(BundleItem::parse("chart", None), None);
    }

    #[test]
    fn what_leads_out_is_nothing() {
        for text in ["", "/etc/passwd", "../x", "base/../../x", "base//x", "base/", "./PG_VERSION", "a\0b"] {
            assert_eq!(parsed(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_list_calls_a_member_asks_for_it() {
        for name in [
            "bundle.json",
            "README.md",
            "config/values.yaml.age",
            "config/release.json.age",
            "config/layer-0.yaml.age",
            "config/ldap-data.ldif.age",
            CHART_MEMBER,
            "db/backup_manifest.age",
            "manifest.json.sig",
        ] {
            let listed = ListedItem::member(&member(name), 1);
            let expected = match listed.sealed {
                true => BundleItem::Opened(member(name)),
                false => BundleItem::Stored(member(name)),
            };
            assert_eq!(parsed(&listed.name), Some(expected), "{name}");
        }
    }
}
