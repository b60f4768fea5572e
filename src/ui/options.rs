//! How to talk, as the global flags say.

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Human,
    /// One JSON value on stdout; events as JSON Lines on stderr.
    Json,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How to talk, as the global flags say.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutputOptions {
    /// Human or JSON.
    pub output: Output,
    /// When to colour.
    pub color: Color,
    /// Only errors and results.
    pub quiet: bool,
    /// How much more to say: 1 shortens nothing and adds each call and the lines of other programs, 2 everything.
    pub verbose: u8,
    /// Never ask.
    pub no_input: bool,
    /// Answer every plain question with yes.
    pub yes: bool,
}
