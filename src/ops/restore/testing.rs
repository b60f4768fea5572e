//! A plan for tests.

use super::existing::ExistingInstall;
use super::gate::VersionFit;
use super::images::ReleaseImages;
use super::plan::{RestoreChart, RestorePlan};
use super::strategy::RestoreStrategy;
use crate::bundle::{BundleReference, testing};
use crate::cluster::NamespaceState;
use crate::ops::bundles::KeyFiles;
use crate::postgres::{ControlData, Lsn};

/// The same over an install that lives.
pub(super) fn over_existing() -> RestorePlan {
    let existing = ExistingInstall {
        data_only: false,
        revision: 4,
        status: "deployed".into(),
        chart: "opschain-2026.8.20".into(),
        version: "2026-08-20".into(),
        state: "1/1 ready".into(),
        sleeps: false,
        is_healthy: true,
        system_identifier: Some("7".into()),
        is_same_line: true,
        bytes: Some(1),
        newest_bundle: None,
        safety_store: Some("/bundles".into()),
    };
    RestorePlan { strategy: RestoreStrategy::IntoExisting, existing: Some(existing), ..plan() }
}

pub(in crate::ops) fn plan() -> RestorePlan {
    let (header, manifest) = testing::manifest();
    RestorePlan {
        opened_by: Vec::new(),
        bundle: header.id.to_string(),
        source: BundleReference::File { path: "bundle.tar".into() },
        manifest_sha256: "0".repeat(64),
        bytes: 1,
        signer: None,
        made_by: header.opschain.version.clone(),
        version: header.opschain.version,
        gate: VersionFit::Exact,
        chart: RestoreChart::Bundle,
        namespace: "opschain".into(),
        found: NamespaceState::Absent,
        release: "opschain".into(),
        context: "here".into(),
        database: "opschain-db".into(),
        database_bytes: 1,
        postgres_major: Some(header.postgresql.major),
        system_identifier: manifest.database.system_identifier,
        lsn: "0/1".parse().unwrap(),
        keys: KeyFiles { identity: Some("key.txt".into()), trusted_signers: None, trust_key: None },
        helm: "4.0.0".into(),
        operator: "1.27.0".into(),
        origin: "opschain/opschain, database 1, made 3 days ago".into(),
        strategy: RestoreStrategy::Hibernate,
        strategy_because: None,
        volume: None,
        pod_security: Default::default(),
        storage: None,
        taken_over: Vec::new(),
        config: None,
        overrides: Vec::new(),
        hold: None,
        existing: None,
        images: ReleaseImages::default(),
        directory_entries: None,
        volumes: Vec::new(),
        then_upgrade: None,
        forecast: None,
        aftermath: None,
        scope: Vec::new(),
        warnings: Vec::new(),
    }
}

/// The control file of a database that was initialised with PostgreSQL 15.
pub(super) fn control(system_identifier: u64, state: &str) -> ControlData {
    ControlData {
        system_identifier,
        state: state.into(),
        timeline: 1,
        checkpoint: Lsn(0),
        redo: Lsn(0),
        minimum_recovery_end: Lsn(0),
        wal_segment_bytes: 16 << 20,
        control_version: 1300,
        catalog_version: 202_209_061,
    }
}
