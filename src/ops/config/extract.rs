//! `dr config extract`: one value out of a deployment's values.

use zeroize::Zeroizing;

use super::DeploymentSelector;
use crate::error::{CommandError, Exit, Result};
use crate::ops::Ctx;
use crate::values::excerpt::as_written;
use crate::values::locate::{self, NotThere};
use crate::values::{Tree, Value};
use crate::yaml::Node;

/// How a value is to be printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As it stands in the file, quotes and comments too, where that reads the same on its own; else in JSON.
    Written,
    /// A single value as Helm reads it, byte for byte, without quotes and without a line end behind it.
    Raw,
    /// As Helm reads it, in JSON.
    Json,
}

/// One value of a deployment's values, in the clear.
///
/// # Errors
/// [`Exit::Usage`] when the text is no path, or `Raw` is asked for of a map or list; [`Exit::NotFound`] with the nearest
/// path that is there; whatever opening the values fails with.
pub fn extract(ctx: &Ctx, path: &str, which: &DeploymentSelector, form: Form) -> Result<Zeroizing<Vec<u8>>> {
    let path = locate::parse(path).map_err(|error| {
        CommandError::new(Exit::Usage, error.to_string())
            .hint("Write it as differences show it, such as db.hosts[name=a].port, or as a JSON pointer: /db/hosts/0.")
    })?;
    let (name, bytes) = super::open_values(ctx, which)?;
    let tree = Tree::parse_or_explain(&bytes).map_err(|error| CommandError::from(error).context(&name))?;
    let node = locate::find(&tree, &path).map_err(|missing| not_there(&name, &path.to_string(), &missing))?;
    let text = match form {
        Form::Written => match as_written(&tree, node) {
            Some(text) => text,
            None => in_json(node)?,
        },
        Form::Raw => Zeroizing::new(raw(node).ok_or_else(|| {
            CommandError::new(Exit::Usage, format!("{path} is a {}, and --raw prints single values", node.type_name()))
                .hint("Leave --raw out to print it as it stands in the file, or ask for --output json.")
        })?),
        Form::Json => in_json(node)?,
    };
    Ok(Zeroizing::new(text.as_bytes().to_vec()))
}

fn in_json(node: &Node) -> Result<Zeroizing<String>> {
    let json = serde_json::to_string_pretty(&node.to_json());
    let json = json.map_err(|e| CommandError::new(Exit::Failure, "write the value as JSON").because(e))?;
    Ok(Zeroizing::new(json + "\n"))
}

fn raw(node: &Node) -> Option<String> {
    match &node.scalar()?.value {
        Value::Null => Some(String::new()),
        value => Some(value.text()),
    }
}

fn not_there(name: &str, path: &str, missing: &NotThere) -> CommandError {
    /// A list of more keys helps nobody.
    const MOST: usize = 40;
    let error = CommandError::new(Exit::NotFound, format!("there is no {path} in the values of {name}"));
    let NotThere { nearest, kind, below } = missing;
    if below.is_empty() {
        return error.hint(format!("{nearest} is there: a {kind} with nothing below it."));
    }
    let more = below.len().saturating_sub(MOST);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    error.hint(format!("{nearest} is there, and holds {}{rest}.", below[..below.len() - more].join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_value_is_what_helm_reads_and_nothing_else() {
        let tree = Tree::parse(b"a: \"x\\ny\"\nb: 0x10\nc: ~\nd: {}\ne: yes\n").unwrap();
        let raw = |key: &str| raw(tree.get(&[key]).unwrap());
        assert_eq!(
            [raw("a"), raw("b"), raw("c"), raw("d"), raw("e")],
            [Some("x\ny".into()), Some("16".into()), Some(String::new()), None, Some("true".into())]
        );
    }
}
