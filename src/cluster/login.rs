//! Logging in as the kubeconfig says. Its plugins and the files that it names may keep one waiting, so that is done on a
//! thread of its own, with a bound; what ends the wait ends the plugin.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kube::client::ClientBuilder;
use kube::config::{ExecConfig, ExecInteractiveMode};
use kube::{Client, Config};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;

use super::again::AskAgain;
use super::error::{ClusterError, Result, innermost, login_words};
use super::kubeconfig;
use crate::read;

/// How long a login may take: a person may have to answer in a browser.
pub(super) const LIMIT: Duration = Duration::from_secs(120);
/// How long the files of a kubeconfig may take: they may lie on a network's disk.
const FILES_LIMIT: Duration = Duration::from_secs(30);

/// How many questions may wait for the connection at a time.
const WAITING: usize = 1024;

/// The first argument by which this program, run by itself, runs a login plugin.
pub const LOGIN_PLUGIN: &str = "login-plugin";

/// Reads the kubeconfig and the files of the context.
///
/// # Errors
/// As [`kubeconfig::load`], or one of the files is not to be read.
pub(super) async fn load(context: Option<String>) -> Result<(String, Config)> {
    let silent = || broken("a file that it names cannot be read to its end".into());
    on_a_thread(FILES_LIMIT, move || kubeconfig::load(context.as_deref())).await.unwrap_or_else(|| Err(silent()))
}

/// Logs in as the user of the context.
///
/// # Errors
/// Its plugin cannot be run, fails or does not end within `limit`; or its certificates and tokens cannot be used.
pub(super) async fn client(context: &str, mut config: Config, limit: Duration) -> Result<Client> {
    let command = config.auth_info.exec.as_ref().and_then(|ExecConfig { command, .. }| command.as_deref());
    let plugin = command.map_or_else(|| "the login".to_owned(), |command| format!("login plugin `{command}`"));
    if let Some(exec) = config.auth_info.exec.as_mut() {
        as_text_of_others(exec);
    }
    let in_context = |words: String| broken(format!("context `{context}`: {words}"));
    let runtime = Handle::current();
    let made = on_a_thread(limit, move || {
        let _entered = runtime.enter();
        // Whoever asks may be many, and a question may be asked again: the buffer stands before the one connection.
        let client = ClientBuilder::try_from(config)?.with_layer(&BufferLayer::new(WAITING));
        Ok(client.with_layer(&RetryLayer::new(AskAgain::default())).build())
    });
    match made.await {
        Some(Ok(client)) => Ok(client),
        Some(Err(kube::Error::Auth(error))) => Err(in_context(login_words(&error, &plugin))),
        Some(Err(error)) => Err(in_context(innermost(&error))),
        None => Err(in_context(format!("{plugin} did not end within {} s", limit.as_secs()))),
    }
}

/// A plugin that may ask a person has `dr`'s own stderr, as the library runs it. So it is this program that is run there,
/// which passes the plugin's words on, and nothing in them that would steer the terminal.
fn as_text_of_others(exec: &mut ExecConfig) {
    if exec.interactive_mode == Some(ExecInteractiveMode::Never) {
        return;
    }
    if let Some(plugin) = exec.command.replace("/proc/self/exe".to_owned()) {
        let args = exec.args.take().unwrap_or_default();
        exec.args = Some([LOGIN_PLUGIN.to_owned(), plugin].into_iter().chain(args).collect());
    }
}

fn broken(cause: String) -> ClusterError {
    ClusterError::Kubeconfig { cause }
}

/// Does what may block on a thread of its own; `None` where it has not ended within `limit`, or died.
async fn on_a_thread<T: Send + 'static>(limit: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, answer) = oneshot::channel();
    let mut children = ChildrenOfThread::default();
    let place = Arc::clone(&children.place);
    let thread = move || {
        if let Ok(thread) = std::fs::read_link("/proc/thread-self") {
            drop(place.set(PathBuf::from("/proc").join(thread).join("children")));
        }
        // Nobody hears the answer that comes too late.
        drop(done.send(work()));
    };
    std::thread::Builder::new().name("login".into()).spawn(thread).ok()?;
    let answer = tokio::time::timeout(limit, answer).await.ok()?;
    children.have_ended = true;
    answer.ok()
}

/// The processes that a thread has begun: those of a wait that is given up are ended.
#[derive(Default)]
struct ChildrenOfThread {
    /// Where the kernel lists them.
    place: Arc<OnceLock<PathBuf>>,
    have_ended: bool,
}

impl Drop for ChildrenOfThread {
    fn drop(&mut self) {
        if self.have_ended {
            return;
        }
        for child in self.place.get().map(|place| listed(place)).unwrap_or_default() {
            // What it runs itself goes first: when it is gone, nobody knows of that any more.
            let threads = std::fs::read_dir(format!("/proc/{}/task", child.as_raw_nonzero())).into_iter().flatten();
            let below = threads.flatten().flat_map(|thread| listed(&thread.path().join("children")));
            for pid in below.chain([child]) {
                // It may have ended by itself.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// The processes that the kernel lists in this file.
fn listed(children: &Path) -> Vec<Pid> {
    let text = read::text_file(children, read::SMALL).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(command: &str, args: &[&str]) -> Config {
        let mut config = Config::new("https://127.0.0.1:1".parse().unwrap());
        let exec = serde_json::json!({
            "apiVersion": "client.authentication.k8s.io/v1", "command": command, "args": args, "interactiveMode": "Never",
        });
        config.auth_info.exec = Some(serde_json::from_value(exec).unwrap());
        config
    }

    async fn refused(command: &str, args: &[&str], limit: Duration) -> String {
        client("c", config(command, args), limit).await.map(drop).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_plugin_that_is_missing_fails_or_says_nothing_is_named_and_what_it_wrote_is_not_shown() {
        let limit = Duration::from_secs(60);
        let missing = refused("/nowhere/login", &[], limit).await;
        let words = "cannot use the kubeconfig: context `c`: login plugin `/nowhere/login` cannot be run: No such file";
        assert!(missing.starts_with(words), "{missing}");
        let failed = refused("sh", &["-c", "echo a-token; exit 3"], limit).await;
        assert!(failed.ends_with("login plugin `sh` failed (exit status: 3)"), "{failed}");
        let odd = refused("sh", &["-c", "echo a-token"], limit).await;
        assert!(odd.contains("login plugin `sh` has written no credentials") && !odd.contains("a-token"), "{odd}");
    }

    #[tokio::test]
    async fn a_plugin_that_does_not_end_is_ended_with_the_wait_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pid");
        let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", path.display());
        let silent = refused("sh", &["-c", &script], Duration::from_secs(5)).await;
        assert!(silent.ends_with("login plugin `sh` did not end within 5 s"), "{silent}");
        let pid = std::fs::read_to_string(&path).unwrap();
        let gone =
            || !std::fs::read_to_string(format!("/proc/{}/cmdline", pid.trim())).is_ok_and(|c| c.contains("1000"));
        for _ in 0..100 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the plugin {pid} goes on");
    }
}
