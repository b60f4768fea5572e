//! The operator's editor, kept from making copies of what it edits.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::{Child, Command};

use super::scratch::ScratchDir;
use crate::error::{CommandError, Exit, Result};
use crate::ops::{Ctx, interrupted};

/// How long an editor that was asked to end may take.
const GRACE: Duration = Duration::from_secs(3);
/// What is looked for when the environment names none.
const USUAL: &[&str] = &["editor", "vim", "nano", "vi"];

/// Those that draw on a screen.
const SCREEN: &[&str] = &[
    "vi", "vim", "nvim", "rvim", "view", "vimdiff", "nvi", "elvis", "vile", "nano", "rnano", "pico", "emacs", "mg",
    "jed", "joe", "jmacs", "micro", "ne", "helix", "hx", "kak", "mcedit", "tilde", "dte",
];
/// What has some of them do without.
const WITHOUT_SCREEN: &[&str] = &["-es", "-Es", "-e", "-E", "--headless", "--batch", "-batch"];

/// An editor and its own arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Editor {
    program: PathBuf,
    args: Vec<String>,
    flags: Option<Vec<String>>,
}

impl Editor {
    /// Takes the words of `$VISUAL` or `$EDITOR`, split at blanks; there is no shell. Without them the usual ones are
    /// looked for.
    ///
    /// # Errors
    /// There is no such program.
    pub(super) fn find(words: Option<&str>) -> Result<Self> {
        let words: Vec<&str> = words.unwrap_or("").split_whitespace().collect();
        let missing = |name: &str| {
            CommandError::new(Exit::Usage, format!("there is no editor: {name} is neither on PATH nor a program"))
                .hint("Set VISUAL or EDITOR, such as EDITOR=vim.")
        };
        let (program, args) = match words.split_first() {
            Some((name, args)) => (on_path(name).ok_or_else(|| missing(name))?, args.to_vec()),
            None => {
                let found = USUAL.iter().find_map(|name| on_path(name));
                (found.ok_or_else(|| missing(&USUAL.join(", ")))?, Vec::new())
            }
        };
        // `vi` and `editor` are links to what they are on this host.
        let real = program.canonicalize().unwrap_or_else(|_| program.clone());
        let flags = flags_of(real.file_name().and_then(OsStr::to_str).unwrap_or(""));
        Ok(Self { program, args: args.into_iter().map(str::to_owned).collect(), flags })
    }

    /// Refuses an editor that draws on a screen where none is, or nobody is to be asked: it would wait for ever, and
    /// write the values, in the clear, to wherever stdout leads. A program that edits by itself needs no terminal.
    ///
    /// # Errors
    /// [`Exit::Unconfirmed`].
    pub(super) fn require_terminal(&self, at_terminal: bool, no_input: bool) -> Result<()> {
        if !self.is_of_screen() || (at_terminal && !no_input) {
            return Ok(());
        }
        let why = if no_input { "--no-input is given" } else { "there is none" };
        Err(CommandError::new(Exit::Unconfirmed, format!("the editor {} needs a terminal, and {why}", self.name()))
            .hint("Run it at a terminal, with stdin and stdout on it, and without --no-input.")
            .hint("In a script, name a program that edits by itself, such as EDITOR='sed -i s/OLD/NEW/'; or edit a file (`dr config cat live`), and `dr deploy -f FILE`."))
    }

    /// Whether it draws on a screen, as far as its name and its arguments tell.
    fn is_of_screen(&self) -> bool {
        let real = self.program.canonicalize().unwrap_or_else(|_| self.program.clone());
        let is_known = |path: &Path| {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            SCREEN.contains(&name.split(['.', '-']).next().unwrap_or(name))
        };
        let by_itself = self.args.iter().any(|arg| WITHOUT_SCREEN.contains(&arg.as_str()));
        (is_known(&self.program) || is_known(&real)) && !by_itself
    }

    /// Whether `dr` knows how to keep it from writing copies elsewhere.
    pub(super) fn is_known(&self) -> bool {
        self.flags.is_some()
    }

    pub(super) fn name(&self) -> String {
        self.program.display().to_string()
    }

    /// Opens the file, and waits until the editor is closed. When the work is to stop, the editor is asked to end.
    ///
    /// # Errors
    /// It does not start, ends with an error, or the work was stopped.
    pub(super) async fn open(&self, ctx: &Ctx, scratch: &ScratchDir) -> Result<()> {
        let failed = |e| CommandError::new(Exit::Failure, format!("start the editor {}", self.name())).because(e);
        let mut command = Command::new(&self.program);
        command.args(&self.args).args(self.flags.iter().flatten()).arg(scratch.file());
        // What it writes on the side goes where everything is removed.
        for variable in ["TMPDIR", "TMP", "TEMP"] {
            command.env(variable, scratch.folder());
        }
        let mut child = command.kill_on_drop(true).spawn().map_err(failed)?;
        let ended = tokio::select! {
            ended = child.wait() => ended.map_err(failed)?,
            () = ctx.cancel.cancelled() => return end(&mut child).await,
        };
        if ended.success() {
            return Ok(());
        }
        let text = format!("the editor {} ended with an error ({ended}): nothing was changed", self.name());
        Err(CommandError::new(Exit::Failure, text)
            .hint("VISUAL or EDITOR names another one. What is edited lies in memory, in a folder of this run alone."))
    }
}

async fn end(child: &mut Child) -> Result<()> {
    if let Some(id) = child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed())) {
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    }
    if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
    Err(interrupted())
}

fn on_path(name: &str) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let is_program = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return Some(Path::new(name).to_owned()).filter(is_program);
    }
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).map(|folder| folder.join(name)).find(is_program)
}

/// What keeps an editor from writing swap, backup and history files; `None` for one that is not known.
fn flags_of(name: &str) -> Option<Vec<String>> {
    let own = |flags: &[&str]| Some(flags.iter().map(|flag| (*flag).to_owned()).collect());
    let stem = name.split(['.', '-']).next().unwrap_or(name);
    match stem {
        // Set again after the user's own settings were read; a small vim does not know them all.
        "vim" | "nvim" | "rvim" | "gvim" | "vimdiff" => own(&[
            "-n",
            "-i",
            "NONE",
            "-c",
            "silent! set noswapfile",
            "-c",
            "silent! set nobackup",
            "-c",
            "silent! set nowritebackup",
            "-c",
            "silent! set noundofile",
        ]),
        // Its settings may ask for backups and a history of searches.
        "nano" | "rnano" => own(&["--ignorercfiles"]),
        "emacs" => own(&[
            "--eval",
            "(setq make-backup-files nil auto-save-default nil create-lockfiles nil auto-save-list-file-prefix nil)",
        ]),
        // They write nothing beside the file but, for a moment, its successor in the same folder.
        "ed" | "sed" | "busybox" | "perl" => own(&[]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_that_are_known_are_kept_from_making_copies() {
        assert!(flags_of("vim.basic").unwrap().contains(&"NONE".to_owned()));
        assert!(flags_of("nvim").unwrap().contains(&"-n".to_owned()));
        assert_eq!(flags_of("nano").unwrap(), ["--ignorercfiles"]);
        assert!(flags_of("emacs-nox").unwrap()[1].contains("make-backup-files nil"));
        assert_eq!((flags_of("ed"), flags_of("code")), (Some(Vec::new()), None));
    }

    #[test]
    fn an_editor_of_the_screen_needs_one_and_a_program_that_edits_by_itself_does_not() {
        let editor = |name: &str, args: &[&str]| Editor {
            program: format!("/nowhere/{name}").into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            flags: None,
        };
        for (name, args) in [("vim.basic", &[][..]), ("nano", &[]), ("emacs-nox", &[]), ("vi", &[])] {
            let editor = editor(name, args);
            assert!(editor.require_terminal(true, false).is_ok(), "{name}");
            for (at_terminal, no_input) in [(true, true), (false, false), (false, true)] {
                let refused = editor.require_terminal(at_terminal, no_input).unwrap_err();
                assert_eq!((refused.exit(), refused.hints().len()), (Exit::Unconfirmed, 2), "{name}");
            }
        }
        for (name, args) in [("sed", &["-i"][..]), ("edit.sh", &[]), ("vim", &["-es"]), ("code", &["--wait"])] {
            assert!(editor(name, args).require_terminal(false, true).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_words_of_the_environment_are_split_and_no_shell_is_asked() {
        let editor = Editor::find(Some("/bin/sed  -i s/a/b/")).unwrap();
        assert_eq!(editor.args, ["-i", "s/a/b/"]);
        assert!(Editor::find(Some("no-such-editor-here -x")).is_err());
    }
}
