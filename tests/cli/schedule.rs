//! A schedule's units: written, read by systemd's own verifier, listed and taken away.
//!
//! `systemd-analyze` is the real one where there is one. `systemctl` is a fake that keeps what it is told: no systemd runs
//! here as process 1.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::bundles::home;

const SHOWN: &str = "ActiveState=active\nUnitFileState=enabled\nNextElapseUSecRealtime=Mon 2026-11-30 02:00:00 UTC\n\
    LastTriggerUSec=Sun 2026-11-29 02:00:00 UTC\nResult=exit-code\nExecMainStatus=29\n\
    ExecMainStartTimestamp=Sun 2026-11-29 02:00:01 UTC\n";

/// Has `systemctl` answer so; it fails at a word that the file `refuse` has.
fn fake(home: &Path) {
    let bin = home.join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(home.join("shown"), SHOWN).unwrap();
    let script = format!(
        "#!/bin/sh\necho \"$@\" >> {0}/called\n\
         if [ -e {0}/refuse ] && echo \"$@\" | grep -q -f {0}/refuse; then echo 'Access denied' >&2; exit 4; fi\n\
         case \"$*\" in *show*) cat {0}/shown;; esac\n",
        home.display()
    );
    fs::write(bin.join("systemctl"), script).unwrap();
    fs::set_permissions(bin.join("systemctl"), fs::Permissions::from_mode(0o755)).unwrap();
}

fn dr(home: &Path, args: &[&str]) -> (String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_dr"))
        .args(args)
        .env_clear()
        .env("HOME", home)
        .env("USER", "operator")
        .env("PATH", format!("{}/bin:/usr/bin:/bin", home.display()))
        .current_dir(home)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (format!("{}{}", text(&output.stdout), text(&output.stderr)), output.status.code().unwrap())
}

fn analyzes() -> bool {
    Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success())
}

const INSTALL: &[&str] = &["--yes", "-n", "ops-a", "schedule", "install", "--systemd", "--user"];

#[test]
fn a_schedule_is_written_listed_paused_and_taken_away() {
    if !analyzes() {
        return crate::not_looked_at("units of a schedule", "there is no systemd-analyze here");
    }
    let (home, _store) = home();
    fake(home.path());
    let units = home.path().join(".config/systemd/user");
    let (said, code) = dr(home.path(), &[INSTALL, &["--dry-run"]].concat());
    assert!(code == 0 && said.contains("OnCalendar=daily") && !units.exists(), "{said}");
    let (said, code) = dr(home.path(), &[INSTALL, &["--at", "Mon..Fri 02:00"]].concat());
    assert!(code == 0 && said.contains("the next bundle comes"), "{said}");
    let service = fs::read_to_string(units.join("dr-bundle.ops-a.opschain.service")).unwrap();
    let words = "\"--namespace\" \"ops-a\" \"--release\" \"opschain\" \"bundle\" \"create\"\n";
    assert!(service.contains(words) && service.contains("\"--no-input\" \"--yes\" \"--settings\""), "{service}");
    let (said, code) = dr(home.path(), &["--output", "json", "schedule", "list"]);
    let list: Value = serde_json::from_str(&said).unwrap();
    let line = &list["schedules"][0];
    assert!(code == 0 && line["install"] == "ops-a/opschain" && line["code"] == 29, "{said}");
    assert_eq!((&line["at"], &line["next"]), (&"Mon..Fri 02:00".into(), &"2026-11-30T02:00:00Z".into()));
    let (said, code) = dr(home.path(), &["-n", "ops-a", "status", "--metrics", "dr.prom"]);
    assert!(code == 4 && said.contains("the last scheduled bundle was not made: exit-code 29"), "{said}");
    let metrics = fs::read_to_string(home.path().join("dr.prom")).unwrap();
    assert!(
        metrics.contains("dr_schedule_failed{") && metrics.contains("dr_schedule_next_timestamp_seconds{"),
        "{metrics}"
    );
    fs::write(home.path().join("shown"), SHOWN.replace("exit-code", "success").replace("=29", "=0")).unwrap();
    let (said, _) = dr(home.path(), &["-n", "ops-a", "status"]);
    assert!(said.contains("a bundle at 2026-11-30 02:00Z by dr-bundle.ops-a.opschain.timer"), "{said}");
    for (verb, told) in [("run", "start --"), ("pause", "disable --now --"), ("resume", "enable --now --")] {
        let (said, code) = dr(home.path(), &["-n", "ops-a", "schedule", verb, "--user"]);
        let called = fs::read_to_string(home.path().join("called")).unwrap();
        assert!(code == 0 && called.contains(&format!("--user {told} dr-bundle.ops-a.opschain.")), "{said}\n{called}");
    }
    let (said, code) = dr(home.path(), &["-n", "ops-b", "schedule", "remove", "--user"]);
    assert!(code == 14 && said.contains("there is no schedule of ops-b/opschain"), "{said}");
    let (said, code) = dr(home.path(), &["-n", "ops-a", "schedule", "remove", "--user"]);
    assert!(code == 0 && fs::read_dir(&units).unwrap().count() == 0, "{said}");
}

#[test]
fn a_timer_that_cannot_be_read_is_a_line_of_the_list() {
    let (home, _store) = home();
    fake(home.path());
    let units = home.path().join(".config/systemd/user");
    fs::create_dir_all(units.join("dr-bundle.ops-a.opschain.timer")).unwrap();
    let (said, code) = dr(home.path(), &["schedule", "list"]);
    assert!(code == 0 && said.contains("ops-a/opschain") && said.contains("read the unit"), "{said}");
}

#[test]
fn who_stops_waiting_for_a_scheduled_bundle_is_told_that_it_goes_on() {
    let (home, _store) = home();
    fake(home.path());
    let (bin, units) = (home.path().join("bin"), home.path().join(".config/systemd/user"));
    fs::create_dir_all(&units).unwrap();
    let timer = "# Made by `dr schedule install`: x\nOnCalendar=daily\nInstall=ops-a/opschain\nSettings=x\nContext=\n";
    fs::write(units.join("dr-bundle.ops-a.opschain.timer"), timer).unwrap();
    mknodat(CWD, home.path().join("started"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    fs::write(bin.join("systemctl"), format!("#!/bin/sh\necho x > {}/started\nexec sleep 60\n", home.path().display()))
        .unwrap();
    let mut child = Command::new("/usr/bin/env")
        .args(["--default-signal=INT", env!("CARGO_BIN_EXE_dr"), "-n", "ops-a", "schedule", "run", "--user"])
        .env_clear()
        .envs([("HOME", home.path()), ("USER", Path::new("operator"))])
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    fs::read(home.path().join("started")).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let code = child.wait().unwrap().code();
    let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert!(code == Some(130) && said.contains("still being made"), "{said}");
    assert!(said.contains("systemctl --user stop dr-bundle.ops-a.opschain.service"), "{said}");
}

#[test]
fn what_was_there_is_there_again_when_systemd_refuses_and_other_units_are_never_touched() {
    if !analyzes() {
        return crate::not_looked_at("units of a schedule", "there is no systemd-analyze here");
    }
    let (home, _store) = home();
    fake(home.path());
    let timer = home.path().join(".config/systemd/user/dr-bundle.ops-a.opschain.timer");
    for refused in ["daemon-reload", "enable", "restart"] {
        fs::write(home.path().join("refuse"), refused).unwrap();
        let (said, code) = dr(home.path(), INSTALL);
        assert!(code == 1 && said.contains("Access denied") && said.contains("as they were"), "{said}");
        assert!(!timer.exists() && !timer.with_extension("service").exists(), "{refused}");
    }
    fs::remove_file(home.path().join("refuse")).unwrap();
    assert_eq!(dr(home.path(), INSTALL).1, 0);
    let before = fs::read_to_string(&timer).unwrap();
    fs::write(home.path().join("refuse"), "restart").unwrap();
    let (said, code) = dr(home.path(), &[INSTALL, &["--at", "hourly"]].concat());
    assert!(code == 1 && fs::read_to_string(&timer).unwrap() == before, "{said}");
    fs::remove_file(home.path().join("refuse")).unwrap();
    // Another cluster's, by the same name.
    let (said, code) = dr(home.path(), &[INSTALL, &["--context", "other"]].concat());
    assert!(code == 64 && said.contains("is there already") && said.contains("schedule remove"), "{said}");
    fs::write(&timer, "[Timer]\nOnCalendar=daily\n").unwrap();
    for args in [INSTALL, &["-n", "ops-a", "schedule", "remove", "--user"]] {
        let (said, code) = dr(home.path(), args);
        assert!(code != 0 && timer.exists(), "{said}");
    }
}

#[test]
fn a_time_that_systemd_does_not_know_and_a_proxy_s_password_are_refused() {
    if !analyzes() {
        return crate::not_looked_at("units of a schedule", "there is no systemd-analyze here");
    }
    let (home, _store) = home();
    fake(home.path());
    for (args, told) in [
        (&["--at", "every other day"][..], "is no time of systemd's"),
        (&["--at", "daily\nUnit=evil.service"], "control character"),
        (&["--delay", "soon"], "systemd-analyze verify"),
        (&["--at", "2020-01-01"], "never comes again"),
    ] {
        let (said, code) = dr(home.path(), &[INSTALL, args].concat());
        assert!(code != 0 && said.contains(told), "{said}");
    }
    assert!(!home.path().join(".config/systemd").exists());
}
