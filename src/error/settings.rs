//! What is wrong with the settings file, for people.

use super::crypt::make_own;
use super::{CommandError, Exit};
use crate::settings::SettingsError;

impl From<SettingsError> for CommandError {
    fn from(error: SettingsError) -> Self {
        let wrapped = Self::new(Exit::Settings, error.to_string());
        match error {
            SettingsError::Missing { .. } => {
                wrapped.hint("Run `dr init` to make one, or name another with --settings.")
            }
            SettingsError::Unreadable { source, .. } => wrapped.because(source),
            SettingsError::Exposed { path, others } => wrapped.hint(make_own(&path, &others)),
            SettingsError::Invalid { .. } => wrapped.hint("`dr init --print` shows a settings file with every key."),
        }
    }
}
