//! Which file of the source imports which, read off its text: `use` lines, and paths that begin with `crate`, `super`,
//! `self` or the name of a child.
//!
//! What a `mod.rs` hands on with `pub use` is imported from the file that defines it; to hand something on is no import.
//! Unit tests, comments and texts do not count.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;

/// A file's place in the module tree: `["vault", "read"]`.
pub type Module = Vec<String>;

/// The files that one imports.
pub type Imports = BTreeMap<Module, BTreeSet<Module>>;

/// A `use`, or a path in the code, from the crate's root.
struct Named {
    path: Module,
    handed_on: bool,
}

/// What each of the files imports of the others.
pub fn imports(files: &BTreeMap<Module, String>) -> Imports {
    let named: BTreeMap<&Module, Vec<Named>> =
        files.iter().map(|(module, text)| (module, names(module, text))).collect();
    let of = |module: &Module| -> BTreeSet<Module> {
        let own = named[module].iter().filter(|name| !name.handed_on);
        own.filter_map(|name| definer(&name.path, &named, 0)).filter(|file| file != module).collect()
    };
    files.keys().map(|module| (module.clone(), of(module))).collect()
}

/// Groups of files that import each other, in whatever number of steps.
pub fn circles(imports: &Imports) -> BTreeSet<Vec<String>> {
    let reach = |from: &Module| {
        let mut reached = BTreeSet::new();
        let mut ahead: Vec<&Module> = imports[from].iter().collect();
        while let Some(module) = ahead.pop() {
            if reached.insert(module) {
                ahead.extend(&imports[module]);
            }
        }
        reached
    };
    let reached: BTreeMap<&Module, BTreeSet<&Module>> = imports.keys().map(|module| (module, reach(module))).collect();
    let circle = |module: &&Module| -> Vec<String> {
        reached[*module]
            .iter()
            .filter(|other| reached[**other].contains(*module))
            .map(|other| other.join("/"))
            .collect()
    };
    reached.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
}

/// The file that defines what a path names.
fn definer(path: &[String], named: &BTreeMap<&Module, Vec<Named>>, depth: usize) -> Option<Module> {
    let length = (1..=path.len()).rev().find(|length| named.contains_key(&path[..*length].to_vec()))?;
    let module = path[..length].to_vec();
    let handed_on = path
        .get(length)
        .filter(|_| depth < 8)
        .and_then(|name| named[&module].iter().find(|other| other.handed_on && other.path.last() == Some(name)));
    match handed_on {
        Some(other) => definer(&[other.path.as_slice(), &path[length + 1..]].concat(), named, depth + 1),
        None => Some(module),
    }
}

/// Everything that a file names, its own things among them.
fn names(module: &Module, text: &str) -> Vec<Named> {
    let code = code(text);
    let regex = |pattern: &str| Regex::new(pattern).unwrap();
    let children: Vec<String> = regex(r"\bmod (\w+);").captures_iter(&code).map(|found| found[1].to_owned()).collect();
    let uses = regex(r"(?:^|[\s{};])(pub(?:\([^)]*\))? )?use ([^;]+);");
    let mut named: Vec<(bool, String)> = Vec::new();
    for found in uses.captures_iter(&code) {
        named.extend(leaves(&found[2]).into_iter().map(|path| (found.get(1).is_some(), path)));
    }
    let rest = uses.replace_all(&code, " ");
    let starts = ["crate", "self", "super"].into_iter().chain(children.iter().map(String::as_str));
    let paths = regex(&format!(r"(^|[^\w:])((?:{})(?:::\w+)+)", starts.collect::<Vec<_>>().join("|")));
    named.extend(paths.captures_iter(&rest).map(|found| (false, found[2].to_owned())));
    let absolute = |(handed_on, path): (bool, String)| {
        let mut steps: Vec<&str> = path.split("::").collect();
        let mut base = module.clone();
        match *steps.first()? {
            "crate" => base.clear(),
            "self" => {}
            "super" => drop(base.pop()),
            child if children.iter().any(|known| known == child) => steps.insert(0, "self"),
            _ => return None,
        }
        steps.remove(0);
        while steps.first() == Some(&"super") {
            base.pop();
            steps.remove(0);
        }
        base.extend(steps.into_iter().map(str::to_owned));
        Some(Named { path: base, handed_on })
    };
    named.into_iter().filter_map(absolute).collect()
}

/// The paths of a `use`: `a::{b, c::d as e}` names `a::b` and `a::c::d`.
fn leaves(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((before, inside)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        return vec![path.trim_end_matches("::self").to_owned()];
    };
    let (mut depth, mut part, mut parts) = (0, String::new(), Vec::new());
    for c in inside[..inside.rfind('}').unwrap_or(inside.len())].chars().chain([',']) {
        match c {
            ',' if depth == 0 => parts.push(std::mem::take(&mut part)),
            _ => part.push(c),
        }
        depth += i32::from(c == '{') - i32::from(c == '}');
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.flat_map(leaves).map(|leaf| format!("{before}{leaf}").trim_end_matches("::self").to_owned()).collect()
}

/// The code of a file, without its unit tests, comments and texts.
pub fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '"' => 1 + end_of_text(&rest[1..]),
            'r' if rest.starts_with("r\"") => 2 + rest[2..].find('"').map_or(rest.len() - 2, |at| at + 1),
            'r' if rest.starts_with("r#\"") => 3 + rest[3..].find("\"#").map_or(rest.len() - 3, |at| at + 2),
            // A character, and no lifetime.
            '\'' if rest.starts_with("'\\") => 3 + rest[3..].find('\'').map_or(0, |at| at + 1),
            '\'' if rest.chars().nth(2) == Some('\'') => rest.char_indices().nth(3).map_or(rest.len(), |(at, _)| at),
            _ => 0,
        };
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

/// How long a text is, its closing quote counted.
fn end_of_text(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles_of(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let module = |name: &str| name.split('/').map(str::to_owned).collect::<Module>();
        circles(&imports(&files.iter().map(|(name, text)| (module(name), (*text).to_owned())).collect()))
            .into_iter()
            .collect()
    }

    #[test]
    fn files_that_import_each_other_are_found_however_they_say_it() {
        for (a, b) in [
            ("use super::b::B;\npub struct A;", "use super::a::A;\npub struct B;"),
            ("use crate::m::{b::{B, C as D}, c};", "fn f(a: super::a::A) {}"),
            ("pub(super) fn f() { crate::m::b::g() }", "use super::{c, a::{self}};"),
            ("use std::{fmt,\n    io};\nuse super::B;", "use super::A;"),
        ] {
            let found = circles_of(&[
                ("m", "mod a;\nmod b;\nmod c;\npub use a::A;\npub use b::{B, C};"),
                ("m/a", a),
                ("m/b", b),
                ("m/c", ""),
            ]);
            assert_eq!(found, [["m/a", "m/b"]], "{a} and {b}");
        }
    }

    #[test]
    fn a_parent_that_defines_what_its_children_use_and_calls_them_is_in_a_circle() {
        let child = ("m/a", "use super::Own;\npub fn f() {}");
        assert_eq!(circles_of(&[("m", "mod a;\npub struct Own;\nfn g() { a::f() }"), child]), [["m", "m/a"]]);
        assert!(circles_of(&[("m", "mod a;\npub struct Own;\npub use a::f;"), child]).is_empty(), "a door");
    }

    #[test]
    fn comments_texts_and_unit_tests_do_not_count() {
        let a = "// use super::b::B;\nconst X: &str = \"use super::b::B; \\\" crate::m::b::B\";\nconst Y: char = '\"';\n\
                 const Z: &str = r#\"\"use super::b::B;\"#;\n#[cfg(test)]\nmod tests {\n    use super::super::b::B;\n}";
        assert!(circles_of(&[("m", "mod a;\nmod b;"), ("m/a", a), ("m/b", "use super::a::A;")]).is_empty());
    }
}
