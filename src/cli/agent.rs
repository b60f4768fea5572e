//! `dr agent`: what the copy of this program in a helper pod runs. Hidden: people do not call it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::agent;
use crate::error::{Exit, Result};
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
    },
    /// Bridge stdin and stdout to the socket
    Attach {
        #[arg(long)]
        socket: PathBuf,
    },
}

pub async fn run(args: AgentArgs) -> Result<Exit> {
    match args.verb {
        AgentVerb::Serve { socket, run, idle_minutes } => {
            let idle = Duration::from_secs(idle_minutes.saturating_mul(60));
            let (files, limits) = (agent::PodFiles::default(), Limits::default());
            agent::serve(agent::ServeOptions { socket, run, idle, files, limits }).await?;
        }
        AgentVerb::Attach { socket } => agent::attach(&socket, tokio::io::stdin(), tokio::io::stdout()).await?,
    }
    Ok(Exit::Success)
}
