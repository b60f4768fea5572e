//! What a store has to say while it works, in the middle of a call.

use std::fmt;
use std::sync::Arc;

/// Whoever hears it; nobody by default. Texts are for people and hold no secret.
#[derive(Clone, Default)]
pub struct Notice(Option<Arc<dyn Fn(String) + Send + Sync>>);

impl Notice {
    /// Tells `listener`.
    pub fn to(listener: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Says it.
    pub fn say(&self, text: String) {
        if let Some(listener) = &self.0 {
            listener(text);
        }
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Notice")
    }
}
