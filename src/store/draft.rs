//! Objects on their way into a store.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::stored::Stored;

/// What finds a draft again: for the journal, so that the process after a crash can finish or remove it. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DraftToken {
    /// The object's name.
    pub object: String,
    /// How many bytes from its start were durable when the token was taken.
    #[serde(default)]
    pub durable: u64,
    /// Whether all its bytes are there, and only the record is missing.
    #[serde(default)]
    pub complete: bool,
    /// What else the store needs: the id of an upload, and its parts.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub upload: serde_json::Value,
}

impl DraftToken {
    /// All that is known of a draft whose writer may have died as it began.
    pub fn named(object: &str) -> Self {
        Self { object: object.to_owned(), durable: 0, complete: false, upload: serde_json::Value::Null }
    }
}

/// What became of a draft that another process has left.
pub enum ResumedDraft {
    /// It takes more bytes.
    Draft(Box<dyn Draft>),
    /// All its bytes are there; only the record is missing.
    Pending(Box<dyn Pending>),
    /// It was published.
    Published,
}

/// An object that is being written. Dropped, it stays as it is, for `resume` and `abort`.
pub trait Draft: Send {
    /// Adds bytes at the end; waits while the store is too far behind. After an error nothing more is taken.
    ///
    /// # Errors
    /// `Full`, `Failed`, `Poisoned`.
    fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError>;

    /// How many bytes from the start outlive a crash: all that the store can have made durable without more bytes or the
    /// end.
    ///
    /// # Errors
    /// `Full`, `Failed`, `Poisoned`.
    fn durable(&mut self) -> Result<u64, StoreError>;

    /// The most bytes that can have been added and not be durable, after `durable` was asked. Who keeps bytes until they
    /// are durable must be able to keep more than this.
    fn backlog(&self) -> u64;

    /// What finds it again.
    fn token(&self) -> DraftToken;

    /// Says that there are no more bytes, and makes all of them durable.
    ///
    /// # Errors
    /// `Full`, `Failed`, `Poisoned`.
    fn complete(self: Box<Self>) -> Result<Box<dyn Pending>, StoreError>;
}

/// An object whose bytes are all stored and that nothing lists yet. Dropped, it stays as it is, for `resume` and `abort`.
pub trait Pending: Send {
    /// Opens its bytes, read anew from where they are stored as far as the store can tell.
    ///
    /// # Errors
    /// `Failed`.
    fn open(&self) -> Result<Arc<dyn Stored>, StoreError>;

    /// What finds it again.
    fn token(&self) -> DraftToken;

    /// Makes its record, and with that publishes it.
    ///
    /// # Errors
    /// `Exists` when the name is published, `Full`, `Failed`. After `Failed` it may be published all the same: the answer
    /// may be what was lost.
    fn publish(self: Box<Self>, record: &[u8]) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_one_of_a_name_is_short() {
        let token = DraftToken { durable: 7, upload: serde_json::json!({"id": "x"}), ..DraftToken::named("a") };
        let text = serde_json::to_string(&token).unwrap();
        assert_eq!(serde_json::from_str::<DraftToken>(&text).unwrap(), token);
        assert_eq!(serde_json::from_str::<DraftToken>(r#"{"object":"a"}"#).unwrap(), DraftToken::named("a"));
    }
}
