//! systemd, through its own programs.

use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use tokio::process::Command;

use super::request::SystemdManager;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::text::elapsed;

/// How long a call may take that waits for nothing but systemd.
const CALL: Duration = Duration::from_secs(30);

/// What a program said.
pub(super) struct Answer {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

/// What systemd knows about a timer and its service.
#[derive(Debug, Default, PartialEq)]
pub(super) struct UnitState {
    /// Whether it is waiting for its moment.
    pub active: bool,
    /// Whether it waits again after the next boot.
    pub enabled: bool,
    pub next: Option<Timestamp>,
    pub last: Option<Timestamp>,
    /// How the last service ended: `success`, `exit-code`, ...
    pub result: Option<String>,
    /// The exit code of its last `dr`.
    pub code: Option<i32>,
}

/// Runs one of systemd's programs; `bound` is how long it may take, where it may not take as long as it likes.
pub(super) async fn call(ctx: &Ctx, program: &str, args: &[&str], bound: Option<Duration>) -> Result<Answer> {
    let mut command = Command::new(program);
    // What is read of its words is English, and its times are those of UTC.
    command.args(args).env("LC_ALL", "C").env("TZ", "UTC").env("SYSTEMD_PAGER", "").env("SYSTEMD_COLORS", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let start = |error| {
        CommandError::new(Exit::Failure, format!("run {program}, which a schedule needs"))
            .because(error)
            .hint("Where there is no systemd, let another scheduler run `dr --no-input --yes bundle create`.")
    };
    let child = command.spawn().map_err(start)?;
    let over = async {
        match bound {
            Some(bound) => tokio::time::sleep(bound).await,
            None => std::future::pending().await,
        }
    };
    let output = tokio::select! {
        output = child.wait_with_output() => output.map_err(start)?,
        () = ctx.cancel.cancelled() => return Err(crate::ops::interrupted()),
        () = over => {
            let bound = elapsed(bound.unwrap_or_default());
            return Err(CommandError::new(Exit::Timeout, format!("{program} did not answer within {bound}")));
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Answer { success: output.status.success(), stdout: text(&output.stdout), stderr: text(&output.stderr) })
}

/// `systemctl`, of the system or of the user; its failure is an error.
pub(super) async fn systemctl(ctx: &Ctx, manager: SystemdManager, args: &[&str]) -> Result<String> {
    let all: Vec<&str> = manager.flags().iter().chain(args).copied().collect();
    let answer = call(ctx, "systemctl", &all, Some(CALL)).await?;
    match answer.success {
        true => Ok(answer.stdout),
        false => Err(refused(&format!("systemctl {}", all.join(" ")), &answer)),
    }
}

/// The error of a program of systemd's, in its own words.
pub(super) fn refused(command: &str, answer: &Answer) -> CommandError {
    let said = answer.stderr.trim();
    CommandError::new(Exit::Failure, format!("{command} failed: {said}"))
}

/// When `at` comes next; what systemd says against it is an error.
pub(super) async fn next_of(ctx: &Ctx, at: &str) -> Result<Option<Timestamp>> {
    let answer = call(ctx, "systemd-analyze", &["calendar", "--", at], Some(CALL)).await?;
    if !answer.success {
        return Err(CommandError::new(
            Exit::Usage,
            format!("{at:?} is no time of systemd's: {}", answer.stderr.trim()),
        )
        .hint("Say it as in systemd.time(7): `--at daily`, `--at 'Mon..Fri 02:00'`, `--at '*-*-* 00/6:00'`."));
    }
    Ok(answer.stdout.lines().find_map(|line| time(line.trim().strip_prefix("Next elapse:")?)))
}

/// Has systemd's own verifier read the units.
pub(super) async fn verify(ctx: &Ctx, files: &[&str]) -> Result<()> {
    let args: Vec<&str> = ["verify", "--man=no", "--recursive-errors=no", "--"].iter().chain(files).copied().collect();
    let answer = call(ctx, "systemd-analyze", &args, Some(CALL)).await?;
    match answer.success && answer.stderr.trim().is_empty() {
        true => Ok(()),
        false => Err(refused("systemd-analyze verify", &answer)),
    }
}

/// What systemd knows about the units of this name.
pub(super) async fn state(ctx: &Ctx, manager: SystemdManager, name: &str) -> Result<UnitState> {
    let (timer, service) = (format!("{name}.timer"), format!("{name}.service"));
    let asked = "--property=ActiveState,UnitFileState,NextElapseUSecRealtime,LastTriggerUSec";
    let of_timer = systemctl(ctx, manager, &["show", asked, "--", &timer]).await?;
    let of_service =
        systemctl(ctx, manager, &["show", "--property=Result,ExecMainStatus,ExecMainStartTimestamp", "--", &service])
            .await?;
    Ok(read_state(&of_timer, &of_service))
}

fn read_state(timer: &str, service: &str) -> UnitState {
    let of = |text: &str, key: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
        (!value.is_empty()).then(|| value.to_owned())
    };
    // A service that never ran says "success" as well.
    let ran = of(service, "ExecMainStartTimestamp").is_some();
    UnitState {
        active: of(timer, "ActiveState").as_deref() == Some("active"),
        enabled: of(timer, "UnitFileState").as_deref() == Some("enabled"),
        next: of(timer, "NextElapseUSecRealtime").and_then(|text| time(&text)),
        last: of(timer, "LastTriggerUSec").and_then(|text| time(&text)),
        result: of(service, "Result").filter(|_| ran),
        code: of(service, "ExecMainStatus").filter(|_| ran).and_then(|text| text.parse().ok()),
    }
}

/// `Mon 2026-11-30 02:00:00 UTC`.
fn time(text: &str) -> Option<Timestamp> {
    let text = text.trim().split_once(' ')?.1.strip_suffix(" UTC")?;
    jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", text)
        .ok()?
        .to_zoned(jiff::tz::TimeZone::UTC)
        .ok()
        .map(|at| at.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_systemd_shows_is_read() {
        let timer = "ActiveState=active\nUnitFileState=enabled\nNextElapseUSecRealtime=Mon 2026-11-30 02:00:00 UTC\nLastTriggerUSec=\n";
        let ran = "Result=exit-code\nExecMainStatus=29\nExecMainStartTimestamp=Sun 2026-11-29 02:00:00 UTC\n";
        let state = read_state(timer, ran);
        assert!(state.active && state.enabled && state.last.is_none());
        assert_eq!(state.next, Some("2026-11-30T02:00:00Z".parse().unwrap()));
        assert_eq!((state.result.as_deref(), state.code), (Some("exit-code"), Some(29)));
        let never = read_state("ActiveState=inactive\n", "Result=success\nExecMainStatus=0\nExecMainStartTimestamp=\n");
        assert_eq!(never, UnitState::default());
    }
}
