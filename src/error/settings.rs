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
            SettingsError::Unreadable { path, source } => wrapped
                .because(source)
                .hint(format!("Look at `ls -ld {path}` and its folder; it has to be a file that you may read.")),
            SettingsError::Exposed { path, others } => wrapped.hint(make_own(&path, &others)),
            SettingsError::Invalid { .. } => wrapped.hint("`dr init --print` shows a settings file with every key."),
        }
    }
}
