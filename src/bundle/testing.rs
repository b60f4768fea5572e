//! Small values for the unit tests of this module. Whole bundles are made in `tests/bundle`.

use std::collections::BTreeMap;

use super::catalog::CatalogEntry;
use super::format::FORMAT;
use super::header::{Estimated, Header, OpsChain, OutOfScope, PostgreSql, QuiesceMode, SourceInstall};
use super::id::BundleId;
use super::layout::{self, Member, Stream};
use super::manifest::{BackupIdentity, Manifest, MemberEntry, RawTotal, StreamTotal};
use super::reference::BundleReference;

pub(crate) const SYSTEM_IDENTIFIER: &str = "7711272386700096654";

pub(crate) fn header() -> Header {
    Header {
        format: FORMAT,
        id: "opschain-20261123T075443Z-0a1b2c".parse().unwrap(),
        created: "2026-11-23T07:54:43Z".parse().unwrap(),
        dr_version: "0.1.0".into(),
        opschain: OpsChain { version: "2026-08-20".into(), chart_version: "2026.8.20".into() },
        install: SourceInstall {
            namespace: "opschain".into(),
            release: "opschain".into(),
            database_cluster: "opschain-db".into(),
            database_cluster_uid: "6f1c".into(),
        },
        postgresql: PostgreSql { major: 15, version: "15.14".into(), system_identifier: SYSTEM_IDENTIFIER.into() },
        quiesce: QuiesceMode::Brief,
        estimated: Estimated { database_bytes: 5 << 20 },
        recipients: vec!["age1example".into()],
        scope: vec![OutOfScope {
            what: "LDAP users".into(),
            why: "they are not in the database".into(),
            whereabouts: "the volume opschain-ldap-claim".into(),
        }],
        replaced_by: None,
    }
}

pub(crate) fn manifest() -> (Header, Manifest) {
    let digest = "0123456789abcdef".repeat(4);
    let member = |name: &str| MemberEntry {
        name: name.into(),
        bytes: 10,
        sha256: digest.clone(),
        raw_bytes: None,
        raw_sha256: None,
    };
    let chunk = |stream| MemberEntry {
        raw_bytes: Some(30),
        raw_sha256: Some(digest.clone()),
        ..member(&Member::Chunk(stream, 0).to_string())
    };
    let total = StreamTotal { chunks: 1, stored_bytes: 10, raw: RawTotal { bytes: 30 } };
    let mut members = vec![member("bundle.json"), member("README.md")];
    members.extend(layout::REQUIRED_CONFIG.map(member));
    members.extend([chunk(Stream::Base), chunk(Stream::Wal), member("db/backup_manifest.age")]);
    let manifest = Manifest {
        format: FORMAT,
        id: header().id,
        database: BackupIdentity {
            system_identifier: SYSTEM_IDENTIFIER.into(),
            timeline: 1,
            start_lsn: "0/2000028".parse().unwrap(),
            end_lsn: "0/2000100".parse().unwrap(),
            quiesce_lsn: None,
            wal_end_lsn: Some("0/2000100".parse().unwrap()),
            wal_segment_bytes: 16 << 20,
        },
        base: total.clone(),
        wal: total,
        values_sha256: digest.clone(),
        helm_values_sha256: Some(digest.clone()),
        key_fingerprints: BTreeMap::new(),
        counts: BTreeMap::new(),
        scope: header().scope,
        volumes: Vec::new(),
        members,
    };
    (header(), manifest)
}

/// A bundle of the catalog that was made at `created`.
pub(crate) fn entry(created: &str) -> CatalogEntry {
    let mut header = header();
    header.created = created.parse().unwrap();
    header.id = BundleId::generate("opschain", header.created).unwrap();
    let name = header.id.to_string();
    CatalogEntry {
        reference: BundleReference::Stored { store: "/bundles".into(), id: name.clone() },
        address: format!("/bundles/{name}/{name}.tar"),
        name,
        bytes: 1000,
        header: Ok(header),
        manifest_sha256: Some("0".repeat(64)),
        proof: None,
        pin: None,
        gone: None,
        notes: Vec::new(),
        is_hollow: false,
    }
}
