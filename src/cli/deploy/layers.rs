//! The flags that give values, read into layers.

use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::values::overlay::{Layer, LayerKind, set_file_parts};

/// Values, as helm takes them.
#[derive(Debug, Args)]
pub(super) struct LayerArgs {
    /// The values file; - reads stdin (can be repeated: each is laid over those before)
    #[arg(short = 'f', long = "values", value_name = "FILE", required = true)]
    values: Vec<PathBuf>,
    /// Set a value over the files, as helm's --set does; not for secrets (can be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The same, and every value is text (can be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    set_string: Vec<String>,
    /// The same, with JSON (can be repeated)
    #[arg(long, value_name = "KEY=JSON")]
    set_json: Vec<String>,
    /// Set a value to the content of a file; for secrets, too (can be repeated)
    #[arg(long, value_name = "KEY=PATH")]
    set_file: Vec<String>,
    /// Set a value to the very text (can be repeated)
    #[arg(long, value_name = "KEY=TEXT")]
    set_literal: Vec<String>,
    #[arg(long, hide = true)]
    reuse_values: bool,
    #[arg(long, hide = true)]
    reset_then_reuse_values: bool,
}

impl LayerArgs {
    /// Reads all layers: the files in their order, then the rest in the order in which helm applies their kinds.
    ///
    /// # Errors
    /// A file cannot be read, or a flag is one that `dr` refuses.
    pub(super) fn read(self, ctx: &Ctx) -> Result<Vec<Layer>> {
        self.refuse_reuse()?;
        let stdin = self.values.iter().filter(|path| path.as_os_str() == "-").count();
        if stdin > 1 {
            return Err(CommandError::new(Exit::Usage, "-f - reads stdin, and can be given once only"));
        }
        let mut layers = Vec::new();
        for path in &self.values {
            let (name, bytes) = ctx.named_values(path)?;
            layers.push(Layer::file(name, bytes));
        }
        let text = |kind| move |text: String| Layer::new(kind, text);
        layers.extend(self.set_json.into_iter().map(text(LayerKind::SetJson)));
        layers.extend(self.set.into_iter().map(text(LayerKind::Set)));
        layers.extend(self.set_string.into_iter().map(text(LayerKind::SetString)));
        for given in self.set_file {
            layers.push(set_file(ctx, &given)?);
        }
        layers.extend(self.set_literal.into_iter().map(text(LayerKind::SetLiteral)));
        Ok(layers)
    }

    fn refuse_reuse(&self) -> Result<()> {
        let flag = match (self.reuse_values, self.reset_then_reuse_values) {
            (true, _) => "--reuse-values",
            (_, true) => "--reset-then-reuse-values",
            _ => return Ok(()),
        };
        let text =
            format!("{flag} lays the values over those that helm remembers, so no record would say what is deployed");
        Err(CommandError::new(Exit::Usage, text)
            .hint("Give all values: `dr config cat live > values.yaml` prints those that are live.")
            .hint("What differs can be laid over them: `dr deploy -f values.yaml --set KEY=VALUE`."))
    }
}

fn set_file(ctx: &Ctx, given: &str) -> Result<Layer> {
    let (key, path) =
        set_file_parts(given).map_err(|cause| CommandError::new(Exit::Usage, format!("--set-file: {cause}")))?;
    let (_, content) = ctx.named_values(Path::new(&path))?;
    let bytes = Zeroizing::new([key.as_bytes(), b"=", &content].concat());
    Ok(Layer { kind: LayerKind::SetFile, name: Some(key.to_owned()), bytes })
}
