//! The screens that are looked at most, at 80 and at 120 columns and in a pipe, as they are kept in `snapshots/`. The
//! screen of a run at work is kept beside what draws it.

use insta::assert_snapshot;
use serde_json::json;

use crate::bundle::report::{ListReport, ListRow};
use crate::bundle::{Depth, OutOfScope, Proof};
use crate::error::{CommandError, Exit, OpenRun};
use crate::ops::{create, doctor, restore, runs};
use crate::opschain::scope::{self, ScopeFacts};
use crate::ui::{Page, Report};

/// What terminals and a pipe show.
fn screens(report: &impl Report) -> String {
    seen(|page| report.human(page))
}

fn seen(write: impl Fn(&mut Page)) -> String {
    let mut all = String::new();
    for width in [Some(80), Some(120), None] {
        let mut page = Page::new(width);
        write(&mut page);
        all += &format!("--- {}\n{}", width.map_or("piped".into(), |width| format!("{width} columns")), page.plain());
    }
    all
}

/// What a busy install leaves out of its bundles.
fn left_out() -> Vec<OutOfScope> {
    let install = ScopeFacts { own_ldap: true, agents: true, work: true, ..ScopeFacts::default() };
    let item = |left: scope::LeftOut| OutOfScope { what: left.what, why: left.why, whereabouts: left.after };
    scope::left_out(install).into_iter().map(item).collect()
}

fn restore_plan() -> restore::RestorePlan {
    let plan = json!({
        "bundle": "opschain-20260820T101500Z-0a1b2c",
        "source": { "kind": "stored", "store": "/srv/dr/bundles", "id": "opschain-20260820T101500Z-0a1b2c" },
        "manifest_sha256": "00",
        "bytes": 4_411_000_000_u64,
        "signer": "operator@site-a.example.org",
        "made_by": "2026-08-20",
        "origin": "opschain-production/opschain, database 5f0c3d7e, made 37 days ago",
        "version": "2026-10-08",
        "gate": "newer",
        "chart": { "from": "pulled", "reference": "oci://docker.io/limepoint/opschain", "version": "2026.10.8" },
        "namespace": "opschain-production",
        "found": { "state": "absent" },
        "release": "opschain",
        "context": "site-a-administrator@cluster-of-site-a",
        "database": "opschain-db",
        "database_bytes": 19_600_000_000_u64,
        "system_identifier": "7541398652910043162",
        "lsn": "3/5C000168",
        "keys": { "identity": "/home/operator/.config/dr/identity.txt", "trusted_signers": null },
        "helm": "4.1.4",
        "operator": "1.28.0",
        "storage": "20Gi of class longhorn (driver.longhorn.io, at once), for 18.9 GiB",
        "forecast": { "runs": 3, "steps": [
            { "step": "stage", "milliseconds": 480_000, "by_size": true },
            { "step": "wake", "milliseconds": 20_000, "by_size": false },
        ] },
        "scope": left_out(),
        "warnings": [
            "helm 4.1.0 has known holes: 4.1.4 has them closed",
            "the source ran operator 1.27.0, and the target runs 1.28.0",
            "2026-10-08 is 2 releases after 2026-08-20: 2026-09-14, 2026-10-08",
            "nobody trusted has signed this bundle: restoring it runs whatever its maker put into it",
        ],
    });
    serde_json::from_value(plan).unwrap()
}

/// What terminals and a pipe show of a plan, which fits 80 columns and 24 lines.
fn small(plan: &impl Report) -> String {
    let mut page = Page::new(Some(80));
    plan.human(&mut page);
    // The command line above it, and the question below, which may take two lines.
    assert!(page.plain().lines().count() + 3 <= 24, "{}", page.plain());
    screens(plan)
}

#[test]
fn the_plan_of_a_restore_fits_a_small_terminal_with_its_question() {
    let seen = small(&restore_plan());
    assert_snapshot!(seen);
}

#[test]
fn the_plan_of_a_bundle_fits_a_small_terminal_with_its_question() {
    let plan = json!({
        "quiesce": "brief",
        "max_rate": null,
        "live": {
            "primary": "opschain-db-1",
            "database_image": "ghcr.io/cloudnative-pg/postgresql:17.5",
            "database_uid": "00",
            "databases_bytes": 19_600_000_000_u64,
            "wal_rate": { "bytes_an_hour": 1_300_000_000_u64, "room_bytes": 3_221_225_472_u64 },
            "system_identifier": "7541398652910043162",
            "server_version": 170_005,
            "opschain_version": "2026-08-20",
            "chart": "opschain-2026.8.20",
            "chart_version": "2026.8.20",
            "revision": 14,
            "deployment": "20260820T101500Z-0a1b2c",
            "operator": "1.27.0",
            "replicas": { "writers": [{ "name": "opschain-api", "replicas": 2 }, { "name": "opschain-api-worker", "replicas": 4 }] },
        },
        "watchdog": true,
        "store": "/srv/dr/bundles",
        "store_free": 812_000_000_000_u64,
        "recipients": ["age1a"],
        "forecast": { "runs": 0, "steps": [{ "step": "copy-base", "milliseconds": null, "by_size": true }] },
        "scope": left_out(),
        "warnings": [
            "autoscaler opschain-api-worker keeps the replicas of opschain-api-worker, and may start it again while it is stopped",
            "Argo CD (opschain-production) manages opschain-api, and may start it again while it is stopped",
            "sealed to one recipient only: if that key is lost, nobody can open the bundle",
        ],
    });
    let mut plan: create::CreatePlan = serde_json::from_value(plan).unwrap();
    let seen = small(&plan);
    assert_snapshot!(seen);
    plan.live.replicas.writers.clear();
    assert!(small(&plan).contains("quiesce     brief: nothing runs, so nothing is stopped\n"), "{}", small(&plan));
}

#[test]
fn runs() {
    let at = "2026-08-20T10:15:00Z".parse().unwrap();
    let line = |run: &str, state: &str, detail: &str| runs::RunLine {
        run: run.into(),
        verb: None,
        install: Some("opschain-production/opschain".into()),
        begun: Some(at),
        state: state.into(),
        detail: detail.into(),
        ways_on: match state {
            "open" => runs::WaysOn::of(&OpenRun::new(run.into(), None)),
            _ => runs::WaysOn::default(),
        },
    };
    let lost =
        "stage: the session with pod opschain-production/dr-restore-0a1b2c broke and was not taken up again in 300 s";
    let seen = screens(&runs::RunList {
        runs: vec![
            line("restore-20260820T101500Z-0a1b2c", "open", lost),
            line("create-20260820T020000Z-5d6e7f", "running", "base: begun"),
            line("create-20260819T020000Z-ffe012", "put back", "helper: pod dr-create-ffe012 was evicted"),
            line("create-20260818T020000Z-81a2b3", "done", "done"),
        ],
    });
    assert_snapshot!(seen);
}

#[test]
fn bundles() {
    let proof = |depth| Proof {
        verified_at: "2026-08-20T11:02:00Z".parse().unwrap(),
        depth,
        dr_version: "0.1.0".into(),
        signer: None,
        manifest_sha256: "00".into(),
        proved_by: Some("ops".into()),
    };
    let row = |name: &str, proof, unreadable: Option<&str>| ListRow {
        replaced_by: None,
        name: name.into(),
        address: format!("/srv/dr/bundles/{name}.tar"),
        loose: false,
        bytes: 4_411_000_000,
        created: Some("2026-08-20T10:15:00Z".parse().unwrap()),
        opschain_version: Some("2026-08-20".into()),
        namespace: Some("opschain-production".into()),
        release: Some("opschain".into()),
        postgresql_major: Some(17),
        quiesce: Some("brief".into()),
        proof,
        pinned: None,
        gone: None,
        unreadable: unreadable.map(str::to_owned),
    };
    let seen = screens(&ListReport {
        store: "/srv/dr/bundles".into(),
        left_out: 0,
        bundles: vec![
            row("opschain-20260820T101500Z-0a1b2c", Some(proof(Depth::Restored)), None),
            row("opschain-20260819T020000Z-ffe012", Some(proof(Depth::Plain)), None),
            row("opschain-20260818T020000Z-81a2b3", None, None),
            row(
                "opschain-20260817T020000Z-4c5d6e",
                None,
                Some("the tar header at byte 512 is damaged: its checksum does not fit"),
            ),
        ],
    });
    assert_snapshot!(seen);
}

#[test]
fn findings_of_doctor() {
    use doctor::Level::{Bad, Ok, Warn};
    let finding = |area, level, text: &str, fix: Option<&str>| doctor::Finding {
        area,
        level,
        text: text.into(),
        fix: fix.map(str::to_owned),
    };
    let seen = screens(&doctor::Findings {
        findings: vec![
            finding("settings", Ok, "settings /home/operator/.config/dr/dr.toml", None),
            finding("helm", Ok, "helm 4.1.4 at /usr/local/bin/helm", None),
            finding("cluster", Ok, "all 24 permissions that are needed in namespace opschain-production", None),
            finding("operator", Ok, "database operator 1.27.0 in namespace cnpg-system", None),
            finding(
                "keys",
                Warn,
                "1 recipient: if that key is lost, nobody can open any bundle",
                Some("add the public key of an escrow identity to `recipients` under [keys] in dr.toml"),
            ),
            finding(
                "store",
                Bad,
                "store /srv/dr/bundles: 41 bundles, 812 MiB free, and the next one may take 4.1 GiB",
                Some("free room on that disk, or choose another [store] in dr.toml"),
            ),
            finding(
                "runs",
                Warn,
                "run restore-20260820T101500Z-0a1b2c stands open",
                Some("dr run resume restore-20260820T101500Z-0a1b2c"),
            ),
        ],
        ready: false,
        next: "free room on that disk, or choose another [store] in dr.toml".into(),
    });
    assert_snapshot!(seen);
}

#[test]
fn an_error_with_an_open_run_behind_it() {
    let error = CommandError::new(
        Exit::NotEmpty,
        "namespace opschain-production is not empty: it has Cluster opschain-db, PersistentVolumeClaim opschain-db-1 and 31 more",
    )
    .behind_it(OpenRun::new("restore-20260820T101500Z-0a1b2c".into(), Some("stage".into())))
    .hint("A restore never overwrites an install. Restore to another namespace with -n.");
    let seen = seen(|page| page.error(&error));
    assert_snapshot!(seen);
}
