//! A temporary replication slot: while it is there, the server removes no WAL that was not fetched.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

use crate::agent::host;
use crate::agent::protocol::{Failure, FailureKind};
use crate::postgres::Lsn;
use crate::postgres::argv::{self, Connection};

/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_secs(20);

/// A slot of a session that does nothing else. The server drops it with the session: when this is dropped, the agent
/// dies, or its node has been silent for a minute.
pub struct WalSlot {
    name: String,
    session: Child,
    ask: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl WalSlot {
    /// Takes a slot: the server keeps all WAL from now on.
    ///
    /// # Errors
    /// In the server's words: it has no slot left, say.
    pub async fn take(connection: &Connection) -> Result<Self, Failure> {
        let mut command = host::command("psql", &argv::session(connection), Some(connection))?;
        // With its node the session goes, too, and nobody would tell the server.
        command.env("PGOPTIONS", "-c tcp_keepalives_idle=20 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=4");
        let mut session = command.stdin(Stdio::piped()).spawn().map_err(Failure::io("start psql"))?;
        let (Some(ask), Some(answers)) = (session.stdin.take(), session.stdout.take()) else {
            return Err(Failure::new(FailureKind::System, "psql has no input or no output"));
        };
        let name = format!("dr_{:016x}", rand::random::<u64>());
        let mut slot = Self { ask, answers: BufReader::new(answers).lines(), session, name: name.clone() };
        slot.answer(&format!("select pg_create_physical_replication_slot('{name}', true, true)")).await?;
        Ok(slot)
    }

    /// Lets the server remove what is before `position`.
    ///
    /// # Errors
    /// The session has ended: the server keeps nothing any more.
    pub async fn let_go_before(&mut self, position: Lsn) -> Result<(), Failure> {
        // To move it back is an error of the server's.
        let sql = format!(
            "select count(pg_replication_slot_advance(slot_name, '{position}')) from pg_replication_slots \
             where slot_name = '{}' and restart_lsn < '{position}'",
            self.name
        );
        self.answer(&sql).await
    }

    /// Asks one question with one line for an answer.
    async fn answer(&mut self, sql: &str) -> Result<(), Failure> {
        let asking = async {
            self.ask.write_all(format!("{sql};\n").as_bytes()).await?;
            self.ask.flush().await?;
            self.answers.next_line().await
        };
        match tokio::time::timeout(ANSWER, asking).await {
            Ok(Ok(Some(_))) => Ok(()),
            Ok(Ok(None)) => Err(self.ended().await),
            Ok(Err(error)) => Err(Failure::io("ask the session of the replication slot")(error)),
            Err(_) => {
                let message = format!("the server did not answer about a replication slot in {} s", ANSWER.as_secs());
                Err(Failure::new(FailureKind::Postgres, message))
            }
        }
    }

    /// Why the session has ended, in its own words.
    async fn ended(&mut self) -> Failure {
        let mut words = Vec::new();
        if let Some(stderr) = self.session.stderr.take() {
            host::lines(stderr, |line| words.push(line)).await;
        }
        match self.session.wait().await {
            Ok(status) => host::died("psql", status, words.iter().map(String::as_str)),
            Err(error) => Failure::io("wait for psql")(error),
        }
    }
}
