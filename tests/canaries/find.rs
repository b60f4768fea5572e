//! Looking for canaries: in texts, files, git objects and the process table. Knows nothing of how `dr` masks.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::plant::Canary;

/// Finds any canary in any of its forms.
pub struct Finder(HashMap<[u8; 4], Vec<(Vec<u8>, String)>>);

impl Finder {
    pub fn new(canaries: &[Canary]) -> Self {
        let mut finder = Self(HashMap::new());
        for canary in canaries {
            for needle in &canary.needles {
                for (form, bytes) in forms(needle) {
                    let head = *bytes.first_chunk::<4>().unwrap();
                    finder.0.entry(head).or_default().push((bytes, format!("{}: {form}", canary.label)));
                }
            }
        }
        finder
    }

    /// Which canaries are in there, and in what form.
    pub fn find(&self, text: &[u8]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (at, head) in text.windows(4).enumerate() {
            let Some(candidates) = self.0.get(head) else { continue };
            let here = candidates.iter().filter(|(needle, _)| text[at..].starts_with(needle));
            found.extend(here.map(|(_, label)| label.clone()));
        }
        found
    }

    /// Looks through every file below `folder`, names too, but what `skip` names; git's objects are inflated.
    pub fn scan(&self, folder: &Path, skip: &[&Path], found: &mut BTreeSet<String>) {
        if skip.contains(&folder) {
            return;
        }
        if folder.join("objects").is_dir() && folder.join("HEAD").is_file() {
            self.scan_git(folder, found);
        }
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
            self.note(path.as_os_str().as_encoded_bytes(), "the name of a file", found);
            if meta.is_dir() {
                self.scan(&path, skip, found);
            } else if meta.is_file() && !skip.contains(&path.as_path()) {
                let bytes = std::fs::read(&path).unwrap_or_default();
                self.note(&bytes, &path.display().to_string(), found);
            }
        }
    }

    /// Every object: loose or packed, reachable or not.
    fn scan_git(&self, repository: &Path, found: &mut BTreeSet<String>) {
        let repository = git2::Repository::open(repository).unwrap();
        let objects = repository.odb().unwrap();
        let mut ids = Vec::new();
        objects
            .foreach(|id| {
                ids.push(*id);
                true
            })
            .unwrap();
        for id in ids {
            let object = objects.read(id).unwrap();
            self.note(object.data(), &format!("git object {id} ({})", object.kind().str()), found);
        }
    }

    pub fn note(&self, text: &[u8], place: &str, found: &mut BTreeSet<String>) {
        found.extend(self.find(text).into_iter().map(|label| format!("{label} in {place}")));
    }
}

/// The forms of a needle, named. A long one is known by its beginning, too: a text may be cut.
fn forms(needle: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![("as it is", needle.as_bytes().to_vec())];
    if needle.len() < 8 {
        return forms;
    }
    let escaped = |text: &str| {
        let quoted = serde_json::Value::from(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    };
    // As it is and in YAML's quotes, in a text in JSON in a text in JSON, and so on.
    for written in [needle.to_owned(), needle.replace('\'', "''")] {
        let mut text = written;
        for name in ["quoted", "escaped", "escaped twice", "escaped thrice", "escaped four times"] {
            let html = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
            forms.push((name, html.into_bytes()));
            let deeper = escaped(&text);
            forms.push((name, std::mem::replace(&mut text, deeper).into_bytes()));
        }
    }
    let percent = |byte: &u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(*byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    forms.push(("percent-encoded", needle.bytes().map(|byte| percent(&byte)).collect::<String>().into_bytes()));
    for shift in 0..3 {
        let packed = STANDARD_NO_PAD.encode([vec![b'x'; shift], needle.as_bytes().to_vec()].concat());
        // Only what is the same whatever stands before and behind.
        let (first, last) = ([0, 2, 3][shift], (shift + needle.len()) * 8 / 6);
        if last - first >= 10 {
            forms.push(("in base64", packed.as_bytes()[first..last].to_vec()));
        }
    }
    let cut = |text: &str| text.char_indices().nth(12).map(|(cut, _)| text.as_bytes()[..cut].to_vec());
    if needle.len() > 16 {
        let texts = [needle.to_owned(), escaped(needle), escaped(&escaped(needle))];
        forms.extend(texts.iter().filter_map(|text| Some(("its beginning", cut(text)?))));
    }
    forms.sort();
    forms.dedup_by(|one, other| one.1 == other.1);
    forms
}

/// Samples the arguments and the environments of all processes but those that ran before.
pub struct Watcher {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<BTreeSet<String>>,
}

impl Watcher {
    /// Begins to look; what is in `older` is not ours, and need not be read hundreds of times a second. The environment
    /// is looked at where `ours` says so of a process: what the application is given by its own chart is no leak.
    pub fn start(finder: Arc<Finder>, older: BTreeSet<OsString>, ours: fn(&Path) -> bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut found, mut known) = (BTreeSet::new(), HashSet::new());
            while !stopped.load(Ordering::Relaxed) {
                for process in processes().filter(|process| !older.contains(process)) {
                    sample(&process, &finder, ours, &mut known, &mut found);
                }
                std::thread::park_timeout(Duration::from_millis(5));
            }
            found
        });
        Self { stop, thread }
    }

    pub fn stop(self) -> BTreeSet<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// The numbers of all processes.
pub fn processes() -> impl Iterator<Item = OsString> {
    let names = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.file_name());
    names.filter(|name| name.as_encoded_bytes()[0].is_ascii_digit())
}

fn sample(
    process: &OsStr,
    finder: &Finder,
    ours: fn(&Path) -> bool,
    known: &mut HashSet<Vec<u8>>,
    found: &mut BTreeSet<String>,
) {
    let folder = Path::new("/proc").join(process);
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(folder.join(file)).unwrap_or_default();
        if bytes.is_empty() || known.contains(&bytes) || (file == "environ" && !ours(&folder)) {
            continue;
        }
        let program = String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
        finder.note(&bytes, &format!("the {file} of a process ({program:.60})"), found);
        known.insert(bytes);
    }
}
