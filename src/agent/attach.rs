//! Carries bytes between an exec session and the agent's socket, and knows nothing of what they mean.

use std::path::Path;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use super::serve::AgentError;

/// How much is carried at once.
const PIECE: usize = 256 << 10;

/// Connects to the agent at `socket` and carries bytes both ways until either side ends. The agent does not notice
/// more than that a session has ended; the work goes on.
///
/// # Errors
/// When there is no agent, or a stream fails.
pub async fn attach(
    socket: &Path,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
) -> Result<(), AgentError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| AgentError::Connect { socket: socket.display().to_string(), source })?;
    let (from_agent, to_agent) = stream.into_split();
    tokio::select! {
        carried = carry(input, to_agent) => carried,
        carried = carry(from_agent, output) => carried,
    }
    .map_err(AgentError::Carry)
}

/// Copies until the end, passing on each piece at once.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> std::io::Result<()> {
    use tokio::io::AsyncReadExt;
    let mut piece = bytes::BytesMut::with_capacity(PIECE);
    loop {
        piece.clear();
        piece.reserve(PIECE);
        if from.read_buf(&mut piece).await? == 0 {
            return Ok(());
        }
        to.write_all(&piece).await?;
        to.flush().await?;
    }
}
