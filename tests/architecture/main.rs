//! The shape of the source: who may import whom, and how long a file may be.

#![allow(clippy::unwrap_used)]

mod imports;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every module, the lowest layer first; a module may import only modules of lower layers.
const LAYERS: &[&[&str]] = &[
    &["clock"],
    &["wire", "cores", "event", "text", "parallel", "proxy", "ustar", "filetree", "yaml", "ownership", "ldif"],
    &["names", "quantity", "read", "write"],
    &["crypt", "postgres", "program", "web"],
    &["redact", "trace"],
    &["values"],
    &["opschain", "helm", "image", "store", "agent", "settings"],
    &["bundle", "vault", "cluster", "journal"],
    &["error"],
    &["ops", "ui"],
    &["cli"],
];

fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.sort();
    found
}

fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    inside.components().next().unwrap().as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

/// What the program itself says, without its unit tests.
fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text)
}

#[test]
fn imports_point_one_way() {
    let layer = |module: &str| LAYERS.iter().position(|modules| modules.contains(&module));
    let mut wrong = Vec::new();
    for path in sources() {
        let module = module_of(&path);
        if matches!(module.as_str(), "lib" | "main" | "internals") {
            continue;
        }
        let own =
            layer(&module).unwrap_or_else(|| panic!("module {module} has no layer in tests/architecture/main.rs"));
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in shipped(&text).lines().enumerate() {
            for rest in line.split("crate::").skip(1) {
                let imported: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let Some(theirs) = layer(&imported) else { continue };
                let fine = imported == module || theirs < own;
                // A line of documentation may name anything.
                if !fine && !line.trim_start().starts_with("//") {
                    wrong.push(format!("{}:{}: {module} imports {imported}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_files_import_each_other() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = BTreeMap::new();
    for path in sources().iter().filter(|path| !path.ends_with("tests.rs")) {
        let inside = path.strip_prefix(&src).unwrap().with_extension("");
        let mut module: Vec<String> = inside.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        module.pop_if(|last| matches!(last.as_str(), "mod" | "lib"));
        files.insert(module, fs::read_to_string(path).unwrap());
    }
    let circles: BTreeSet<_> = imports::circles(&imports::imports(&files));
    let wrong: Vec<String> = circles.iter().map(|circle| circle.join(", ")).collect();
    assert!(wrong.is_empty(), "files that import each other:\n{}", wrong.join("\n"));
}

#[test]
fn no_file_outgrows_one_idea() {
    let long: Vec<String> = sources()
        .iter()
        .map(|path| (path, fs::read_to_string(path).unwrap().lines().count()))
        .filter(|(_, lines)| *lines > 500)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn a_public_type_name_stands_for_one_thing() {
    let named = regex::Regex::new(r"pub(\([a-z]+\))? (struct|enum|trait) ([A-Z][A-Za-z0-9]+)").unwrap();
    let mut files: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in sources() {
        for found in named.captures_iter(&fs::read_to_string(&path).unwrap()) {
            files.entry(found[3].to_owned()).or_default().push(path.display().to_string());
        }
    }
    let twice: Vec<String> = files
        .iter()
        .filter(|(_, files)| files.len() > 1)
        .map(|(name, files)| format!("{name}: {}", files.join(", ")))
        .collect();
    assert!(files.len() > 100 && twice.is_empty(), "{}", twice.join("\n"));
}

#[test]
fn only_the_error_module_words_hints() {
    let wrong: Vec<String> = sources()
        .iter()
        .filter(|path| {
            let module = module_of(path);
            !matches!(module.as_str(), "error" | "ops" | "cli" | "ui" | "settings")
                && shipped(&fs::read_to_string(path).unwrap()).contains(".hint(")
        })
        .map(|path| path.display().to_string())
        .collect();
    assert!(wrong.is_empty(), "hints outside src/error and the operations: {}", wrong.join(", "));
}

#[test]
fn a_module_with_files_of_its_own_is_a_folder() {
    let beside: Vec<String> = sources()
        .iter()
        .filter(|path| fs::read_dir(path.with_extension("")).is_ok_and(|mut inside| inside.next().is_some()))
        .map(|path| format!("{} stands beside its folder: make it mod.rs", path.display()))
        .collect();
    assert!(beside.is_empty(), "{}", beside.join("\n"));
}

/// A pod may have containers that nobody asked for, and then the first or the default one is not the one that is meant.
#[test]
fn every_exec_and_every_log_names_its_container() {
    let begin = regex::Regex::new(r"AttachParams|LogParams").unwrap();
    let (mut seen, mut wrong) = (0, Vec::new());
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        for statement in shipped(&text).split(';').filter(|statement| begin.is_match(statement)) {
            if statement.trim_start().starts_with("use ") || statement.contains("\nuse ") {
                continue;
            }
            seen += 1;
            if !statement.contains(".container(") && !statement.contains("container: Some(") {
                wrong.push(format!("{}: {}", path.display(), statement.trim()));
            }
        }
    }
    assert!(seen >= 3 && wrong.is_empty(), "{seen} seen, without a container: {}", wrong.join("\n"));
}

#[test]
fn what_others_have_written_is_read_through_the_one_reader() {
    // An age file in memory, which is no longer when it is opened.
    const EXCEPTIONS: &[&str] = &["src/crypt/seal.rs"];
    let unbounded = regex::Regex::new(r"fs::read\(|fs::read_to_string\(|read_to_end\(|\.read_to_string\(").unwrap();
    let mut wrong = Vec::new();
    for path in sources() {
        let inside = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
        if inside == "src/read.rs" || inside.ends_with("tests.rs") || EXCEPTIONS.contains(&inside.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for (number, line) in shipped(&text).lines().enumerate() {
            if unbounded.is_match(line) && !line.contains(".take(") {
                wrong.push(format!("{inside}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "reads without a bound (use crate::read):\n{}", wrong.join("\n"));
}
