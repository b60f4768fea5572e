//! `dr agent`: what the copy of this program in a helper pod runs. Hidden: people do not call it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::agent;
use crate::error::{CommandError, Exit, Result};
use crate::ops::watchdog;
use crate::ui::Ui;
use crate::wire::Limits;

/// The half that runs inside a helper pod
#[derive(Debug, Args)]
pub struct AgentArgs {
    #[command(subcommand)]
    verb: AgentVerb,
}

#[derive(Debug, Subcommand)]
enum AgentVerb {
    /// Serve one run on a socket
    Serve {
        #[arg(long)]
        socket: PathBuf,
        #[arg(long)]
        run: String,
        #[arg(long)]
        idle_minutes: u64,
        /// Put the writers of this namespace back when the run is silent
        #[arg(long, value_name = "NAMESPACE")]
        watchdog: Option<String>,
    },
    /// Copy keys to where nobody else can read them
    Keys {
        #[arg(long)]
        from: PathBuf,
        #[arg(long)]
        to: PathBuf,
    },
    /// Bridge stdin and stdout to the socket
    Attach {
        #[arg(long)]
        socket: PathBuf,
    },
}

pub async fn run(ui: &Ui, args: AgentArgs) -> Result<Exit> {
    match args.verb {
        AgentVerb::Serve { socket, run, idle_minutes, watchdog: watched } => {
            let idle = Duration::from_secs(idle_minutes.saturating_mul(60));
            let (mut files, limits) = (agent::PodFiles::default(), Limits::default());
            let mut watchdog = None;
            if let Some(namespace) = watched {
                files.watchdog_fails = watchdog::check(&namespace).await.err().map(|error| error.to_string());
                let (run, ui) = (run.clone(), ui.clone());
                let put_back: agent::PutBack = Arc::new(move || {
                    let (namespace, run, ui) = (namespace.clone(), run.clone(), ui.clone());
                    Box::pin(async move {
                        let said = watchdog::put_back(&namespace, &run).await;
                        let done = said.is_ok();
                        ui.talk(&said.unwrap_or_else(|error| error.to_string()));
                        done
                    })
                });
                watchdog = Some(agent::Watchdog::new(agent::SILENCE, put_back));
            }
            agent::serve(agent::ServeOptions { socket, run, idle, files, limits }, watchdog).await?;
        }
        AgentVerb::Keys { from, to } => agent::take_keys(&from, &to).map_err(|error| {
            let what = format!("copy the keys of {} to {}", from.display(), to.display());
            CommandError::new(Exit::Failure, what).because(error)
        })?,
        AgentVerb::Attach { socket } => agent::attach(&socket, tokio::io::stdin(), tokio::io::stdout()).await?,
    }
    Ok(Exit::Success)
}
