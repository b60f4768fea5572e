//! Every verb, and the ways in which it is run.

/// What becomes of a verb's stdout.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Out {
    /// It must hold no secret.
    Masked,
    /// The values themselves are what is asked for, byte for byte: stderr must hold none all the same.
    Values,
}

/// One way to run a verb. Words in `@...@` are replaced by what the world has.
pub struct Case {
    /// The verb, as the command line's definition names it.
    pub verb: &'static str,
    /// Its arguments.
    pub args: &'static [&'static str],
    pub out: Out,
    /// The exit code where all is well; `None` where the stand-ins are not enough for it to do its work.
    pub code: Option<i32>,
}

const fn case(verb: &'static str, args: &'static [&'static str], code: Option<i32>) -> Case {
    Case { verb, args, out: Out::Masked, code }
}

const fn values(verb: &'static str, args: &'static [&'static str], code: Option<i32>) -> Case {
    Case { verb, args, out: Out::Values, code }
}

/// All of them, in an order in which the later find what the earlier have made.
pub const CASES: &[Case] = &[
    case("init", &["--recipient", "@ESCROW@"], Some(0)),
    case("init", &["--dry-run"], Some(0)),
    case("init", &["--print"], Some(0)),
    case("deploy", &["-f", "@FIRST@", "--chart", "@CHART@", "--no-wait", "--yes", "@ALLOW@"], Some(0)),
    case("deploy", &["-f", "@FIRST@", "--chart", "@CHART@", "--yes"], Some(1)),
    case("deploy", &["-f", "@SECOND@", "--chart", "@CHART@", "--dry-run", "@ALLOW@"], Some(0)),
    case("deploy", &["-f", "@SECOND@", "--chart", "@CHART@", "--no-wait", "--yes", "--debug", "@ALLOW@"], Some(0)),
    case("deploy", &["-f", "@BROKEN@", "--chart", "@CHART@", "--no-wait", "--yes"], Some(1)),
    case("deploy rollback", &["--no-wait", "--yes", "@ALLOW@"], Some(0)),
    case("deploy rollback", &["rev:1", "--dry-run", "@ALLOW@"], Some(0)),
    case("deploy upgrade", &["--version", "2026-09-10", "--chart", "@CHART@", "--dry-run"], None),
    case("deploy upgrade", &["--version", "2026-09-10", "--chart", "@CHART@", "--yes", "@ALLOW@"], None),
    case("doctor", &[], None),
    case("server status", &[], None),
    case("server stop", &["--dry-run"], None),
    case("server stop", &["--yes"], None),
    case("server start", &["--yes"], None),
    case("config log", &[], Some(0)),
    case("config show", &["latest"], Some(0)),
    values("config cat", &["rev:1"], Some(0)),
    case("config diff", &["rev:1", "rev:2"], Some(2)),
    case("config diff", &["@FIRST@", "@SECOND@", "--raw"], Some(2)),
    case("config diff", &["release", "@SECOND@"], Some(2)),
    case("config diff", &["@BROKEN@", "@SECOND@"], Some(2)),
    case("config lint", &["@SECOND@", "--strict"], Some(2)),
    case("config lint", &["@BROKEN@"], Some(1)),
    case("config upgrade", &["@FIRST@", "@SECOND@", "-f", "rev:1"], Some(0)),
    values("config upgrade", &["@FIRST@", "@SECOND@", "-f", "@SECOND@", "--out", "-"], Some(0)),
    case("config record", &["@FIRST@", "--at", "2025-04-25", "--dry-run"], Some(0)),
    case("config record", &["@SECOND@", "--at", "2025-04-26", "--message", "from the old host"], Some(0)),
    case("config record", &["--from-helm", "--all-revisions", "--dry-run"], Some(0)),
    values("config extract", &["canaries.site0.PASSWORD", "rev:1"], Some(0)),
    values("config extract", &["canaries.site0.NOTHING", "rev:1"], Some(14)),
    case("config edit", &["live", "--chart", "@CHART@", "--no-wait", "--yes", "@ALLOW@"], Some(0)),
    case("config git-setup", &["--dry-run"], Some(0)),
    case("config git-setup", &[], Some(0)),
    case("config textconv", &["@SEALED@"], Some(0)),
    values("config textconv", &["@SEALED@", "--show-secrets", "--show-secrets"], Some(0)),
    case("config merge-driver", &["@SEALED@", "@OURS@", "@SECOND@", "values.yaml.age"], None),
    case("config drift", &[], Some(33)),
    case("config parity", &["rev:1", "rev:2"], Some(2)),
    case("config parity", &["@FIRST@", "@SECOND@"], Some(2)),
    case("config parity", &["live", "--export", "@PARITY@", "--to", "@ESCROW@"], Some(0)),
    case("config verify", &[], Some(0)),
    case("config verify", &["--decrypt"], Some(0)),
    case("config recipients list", &[], Some(0)),
    case("config recipients add", &["@ESCROW@", "-m", "again"], Some(15)),
    case("config recipients add", &["@OTHER@", "-m", "another"], Some(0)),
    case("config recipients accept", &["@ESCROW@"], Some(0)),
    case("config rekey", &["--dry-run"], Some(0)),
    case("config sync", &[], Some(28)),
    case("config check", &[], Some(0)),
    case("config check", &["@OPERATOR@"], Some(5)),
    case("config recipients rm", &["@ESCROW@", "-m", "gone", "--yes"], Some(0)),
    case("config rekey", &["--yes"], Some(0)),
    case("bundle create", &["--yes"], None),
    case("bundle list", &[], Some(0)),
    case("bundle pin", &["opschain", "--reason", "audit"], None),
    case("bundle unpin", &["opschain"], None),
    case("bundle prune", &["--keep-last", "3", "--dry-run"], None),
    case("bundle unprune", &["opschain"], None),
    case("status", &[], None),
    case("status", &["--all"], None),
    case("report", &["--out", "-"], Some(0)),
    case("report", &["@BUNDLE@", "--any-signer", "--out", "-"], Some(0)),
    case("bundle import", &["/nonexistent"], None),
    case("bundle copy", &["opschain", "--to", "/nonexistent"], None),
    case("notify test", &[], None),
    case("schedule list", &[], Some(0)),
    case("schedule run", &["--user"], Some(14)),
    case("schedule pause", &["--user"], Some(14)),
    case("schedule resume", &["--user"], Some(14)),
    case("schedule remove", &["--user"], Some(14)),
    case("schedule install", &["--systemd", "--user", "--dry-run"], None),
    case("schedule install", &["--cronjob", "--image", "r.example/dr:1", "--dry-run"], None),
    case("schedule run", &["--cronjob"], None),
    case("image save", &["/nonexistent/dr.tar"], Some(1)),
    case("image push", &["127.0.0.1:1/tools/dr", "--plain-http"], Some(1)),
    case("bundle show", &["@BUNDLE@", "--any-signer"], Some(0)),
    case("bundle verify", &["@BUNDLE@", "--any-signer", "--decrypt", "--identity", "@KEY@"], Some(0)),
    case("bundle verify", &["@BUNDLE@", "--any-signer", "--sample", "5%"], Some(0)),
    case("bundle diff", &["@BUNDLE@", "@BUNDLE@", "--any-signer", "--identity", "@KEY@"], Some(0)),
    case("bundle extract", &["@BUNDLE@", "base/", "--list", "--any-signer", "--identity", "@KEY@"], Some(0)),
    values("bundle extract", &["@BUNDLE@", "values", "--out", "-", "--any-signer", "--identity", "@KEY@"], Some(0)),
    case(
        "bundle restore",
        &["@BUNDLE@", "--any-signer", "--identity", "@KEY@", "--version", "2026-08-20", "--yes"],
        None,
    ),
    case("run list", &[], Some(0)),
    case("run show", &["x"], Some(14)),
    case("run show", &["x", "--timing"], Some(14)),
    case("run resume", &["x"], Some(14)),
    case("run abort", &["x"], Some(14)),
    case("rbac", &["--subject", "user:me"], Some(0)),
    case("completions", &["bash"], Some(0)),
    case("man", &["man1"], Some(0)),
    case("agent serve", &["--help"], Some(0)),
    case("agent attach", &["--help"], Some(0)),
    case("agent keys", &["--help"], Some(0)),
];
