//! The grammar of `--set` and its sisters, after helm's `pkg/strvals` (v3.20 and v4.2 are alike but for one error).
//!
//! It is followed in its oddities too: text may end after `a[0]` or `a.`, which sets nothing further; an empty key sets
//! nothing; a value before a key that has no comma before it ends where its list or JSON ends.

use serde_json::{Map, Value};

use super::json;

/// Helm's bounds.
const MAX_INDEX: usize = 65_536;
const MAX_NAME_LEVELS: usize = 30;
/// Our own: lists in lists, which Helm does not count.
const MAX_LISTS: usize = 200;

/// Which of the flags the text belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    /// `--set`.
    Typed,
    /// `--set-string`.
    Text,
    /// `--set-json`.
    Json,
    /// `--set-file`, the content behind the `=`.
    File,
    /// `--set-literal`.
    Literal,
}

/// Why reading stops.
enum Stop {
    /// The text is over, which is no error where it happens.
    End,
    Wrong(&'static str),
}

type Read<T> = Result<T, Stop>;

fn wrong<T>(cause: &'static str) -> Read<T> {
    Err(Stop::Wrong(cause))
}

/// Applies a text to `base`. An error gives the number of characters read, and what is wrong.
pub(super) fn apply(text: &str, grammar: Grammar, base: &mut Map<String, Value>) -> Result<(), (usize, &'static str)> {
    let mut parser = Parser { text, at: 0, grammar };
    loop {
        match parser.key(base, 0) {
            Ok(()) => {}
            Err(Stop::End) => return Ok(()),
            Err(Stop::Wrong(cause)) => return Err((text[..parser.at].chars().count(), cause)),
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    /// In bytes.
    at: usize,
    grammar: Grammar,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.text[self.at..].chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn rest(&mut self) -> String {
        let rest = self.text[self.at..].to_owned();
        self.at = self.text.len();
        rest
    }

    /// The text up to one of `stops`, and which; `None` where the text ends first.
    fn until(&mut self, stops: &[char]) -> (String, Option<char>) {
        let mut read = String::new();
        while let Some(c) = self.next() {
            if stops.contains(&c) {
                return (read, Some(c));
            }
            if c == '\\' && self.grammar != Grammar::Literal {
                match self.next() {
                    Some(next) => read.push(next),
                    None => break,
                }
            } else {
                read.push(c);
            }
        }
        (read, None)
    }

    fn key(&mut self, data: &mut Map<String, Value>, level: usize) -> Read<()> {
        let stops: &[char] = if self.grammar == Grammar::Literal { &['=', '[', '.'] } else { &['=', '[', ',', '.'] };
        let (name, stop) = self.until(stops);
        match stop {
            Some('=') => {
                let (value, ends) = self.value()?;
                set(data, name, value);
                if ends { Err(Stop::End) } else { Ok(()) }
            }
            Some('.') => self.below(data, name, level + 1),
            Some('[') => {
                let index = self.index()?;
                let mut list = match take(data, &name) {
                    None => Vec::new(),
                    Some(Value::Array(list)) => list,
                    Some(_) => return wrong("what stands at the key already is no list"),
                };
                let read = self.item(&mut list, index, level, 0);
                set(data, name, Value::Array(list));
                read
            }
            Some(_) => wrong("a key has no value: a comma in a value is written `\\,`"),
            None if name.is_empty() => Err(Stop::End),
            None => wrong("a key has no value: a comma in a value is written `\\,`"),
        }
    }

    /// What follows `name.`.
    fn below(&mut self, data: &mut Map<String, Value>, name: String, level: usize) -> Read<()> {
        if level > MAX_NAME_LEVELS {
            return wrong("more than 30 levels of names, which Helm refuses");
        }
        let (mut inner, existed) = match take(data, &name) {
            None => (Map::new(), false),
            Some(Value::Object(map)) => (map, true),
            Some(_) => return wrong("what stands at the key already is no map"),
        };
        let read = self.key(&mut inner, level);
        let is_empty = inner.is_empty();
        if !is_empty || existed {
            set(data, name, Value::Object(inner));
        }
        if read.is_ok() && is_empty { wrong("a key has no value") } else { read }
    }

    /// What follows `name[index]`.
    fn item(&mut self, list: &mut Vec<Value>, index: usize, level: usize, lists: usize) -> Read<()> {
        let (between, stop) = self.until(&['[', '.', '=']);
        if !between.is_empty() {
            return wrong("an index is followed by `=`, `.` or `[`");
        }
        match stop {
            None => Err(Stop::End),
            Some('=') => {
                let (value, _) = self.value()?;
                set_index(list, index, value)
            }
            Some('.') => {
                let mut inner = match list.get_mut(index).map(Value::take) {
                    Some(Value::Object(map)) => map,
                    _ => Map::new(),
                };
                let read = self.key(&mut inner, level);
                // What was there is changed even where the text ends too early; what is new is not added then.
                if read.is_ok() || index < list.len() {
                    set_index(list, index, Value::Object(inner))?;
                }
                read
            }
            Some(_) => {
                if lists >= MAX_LISTS {
                    return wrong("more than 200 levels of lists");
                }
                let next = self.index()?;
                let (mut inner, existed) = match list.get_mut(index).map(Value::take) {
                    None | Some(Value::Null) => (Vec::new(), false),
                    Some(Value::Array(inner)) => (inner, true),
                    Some(_) => return wrong("what stands at the index already is no list"),
                };
                let read = self.item(&mut inner, next, level, lists + 1);
                if read.is_ok() || existed {
                    set_index(list, index, Value::Array(inner))?;
                }
                read
            }
        }
    }

    /// The number in brackets. Helm 4 takes a text that ends within it for the end of all, helm 3 refuses it.
    fn index(&mut self) -> Read<usize> {
        let (digits, stop) = self.until(&[']']);
        if stop.is_none() {
            return wrong("an index has no `]`");
        }
        match digits.parse::<i64>() {
            Ok(index) => usize::try_from(index).or_else(|_| wrong("an index is negative")),
            Err(_) => wrong("an index is no whole number"),
        }
    }

    /// What follows `=`, and whether the text ended where a value was to come.
    fn value(&mut self) -> Read<(Value, bool)> {
        match self.grammar {
            Grammar::Literal | Grammar::File => return Ok((Value::String(self.rest()), false)),
            Grammar::Json => return Ok((self.json_value()?, false)),
            Grammar::Typed | Grammar::Text => {}
        }
        match self.peek() {
            None => Ok((Value::String(String::new()), true)),
            Some('{') => {
                self.next();
                Ok((Value::Array(self.items()?), false))
            }
            Some(_) => {
                let (text, _) = self.until(&[',']);
                Ok((self.typed(text)?, false))
            }
        }
    }

    fn items(&mut self) -> Read<Vec<Value>> {
        let mut items = Vec::new();
        loop {
            let (text, stop) = self.until(&[',', '}']);
            if stop.is_none() {
                return wrong("a list has no `}`");
            }
            items.push(self.typed(text)?);
            if stop == Some('}') {
                if self.peek() == Some(',') {
                    self.next();
                }
                return Ok(items);
            }
        }
    }

    fn json_value(&mut self) -> Read<Value> {
        if self.is_empty_value() {
            return Ok(Value::Null);
        }
        let value = match json::value(&self.text[self.at..]) {
            Ok((value, length)) => {
                self.at += length;
                value
            }
            Err((at, cause)) => {
                self.at += at;
                return wrong(cause);
            }
        };
        self.is_empty_value();
        Ok(value)
    }

    /// Skips blanks and one comma; true where the comma or the end came.
    fn is_empty_value(&mut self) -> bool {
        loop {
            match self.peek() {
                None => return true,
                Some(c) if c == ',' || c.is_whitespace() => {
                    self.next();
                    if c == ',' {
                        return true;
                    }
                }
                Some(_) => return false,
            }
        }
    }

    fn typed(&self, text: String) -> Read<Value> {
        if self.grammar == Grammar::Text {
            return Ok(Value::String(text));
        }
        if same_word(&text, "true") {
            return Ok(Value::Bool(true));
        }
        if same_word(&text, "false") {
            return Ok(Value::Bool(false));
        }
        if same_word(&text, "null") {
            return Ok(Value::Null);
        }
        if text != "0" && text.starts_with('0') {
            return Ok(Value::String(text));
        }
        match text.parse::<i64>() {
            Ok(number) if number.unsigned_abs() > 1 << 53 => {
                wrong("a number beyond 2^53, which no values file holds exactly: use --set-string if it is text")
            }
            Ok(number) => Ok(Value::from(number)),
            Err(_) => Ok(Value::String(text)),
        }
    }
}

/// Go's `strings.EqualFold` with a word of ASCII letters. Of other letters, only the long s folds to one of these.
fn same_word(text: &str, word: &str) -> bool {
    text.chars().map(|c| if c == 'ſ' { 's' } else { c.to_ascii_lowercase() }).eq(word.chars())
}

/// An empty key is never set, so what stands there is not taken away either.
fn take(data: &mut Map<String, Value>, name: &str) -> Option<Value> {
    if name.is_empty() { data.get(name).cloned() } else { data.remove(name) }
}

fn set(data: &mut Map<String, Value>, name: String, value: Value) {
    if !name.is_empty() {
        data.insert(name, value);
    }
}

fn set_index(list: &mut Vec<Value>, index: usize, value: Value) -> Read<()> {
    if index > MAX_INDEX {
        return wrong("an index above 65536, which Helm refuses");
    }
    if list.len() <= index {
        list.resize(index + 1, Value::Null);
    }
    list[index] = value;
    Ok(())
}
