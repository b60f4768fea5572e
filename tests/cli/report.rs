//! `dr report`: pages for browsers, from a folder of bundles alone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde_json::json;

use crate::browser::Browser;
use crate::bundles::{NAME, bundle, fixture, home, publish};
use crate::dr;
use crate::prune::{made, made_of, signed_by};

/// What a hostile bundle says of itself, and somebody who may write to the store beside it.
const HOSTILE: &str = "\"><script>alert(1)</script><img src=x onerror=alert(2)>`x`";
const BESIDE: &str = "</style>&'--><b>";

/// As a page has it.
fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    text.replace('\'', "&#39;")
}

/// Elements that hold nothing and have no end.
const VOID: &[&str] = &["meta"];

/// The page, once it is sure that what is opened is closed, in order, and that nothing of it runs or is fetched.
fn page(path: &Path) -> String {
    let page = fs::read_to_string(path).unwrap();
    assert!(page.starts_with("<!doctype html>\n<!-- dr report -->\n<html lang=\"en\">"), "{page}");
    let style = Regex::new("(?s)<style>.*</style>").unwrap();
    let inside = style.replace(&page, "<style></style>").into_owned();
    let (tag, mut open) = (Regex::new(r#"<(/?)([a-z0-9]+)((?: [a-z-]+="[^"<>]*")*)>"#).unwrap(), Vec::new());
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for found in tag.captures_iter(&inside) {
        let name = found[2].to_owned();
        match &found[1] {
            "/" => assert_eq!(open.pop(), Some(name), "{}", &found[0]),
            _ if VOID.contains(&&*name) => {}
            _ => {
                *seen.entry(name.clone()).or_default() += 1;
                open.push(name);
            }
        }
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    // What is no tag of this shape is no `<` at all.
    let rest = tag.replace_all(&inside, "");
    assert!(!rest.replace("<!doctype html>", "").replace("<!-- dr report -->", "").contains(['<', '>']), "{rest}");
    for never in ["script", "img", "link", "a", "iframe", "form", "svg", "base"] {
        assert!(!seen.contains_key(never), "{never}");
    }
    assert!(!Regex::new(r#"<[^>]* (?:on[a-z]+|style|src|href)="#).unwrap().is_match(&inside), "{inside}");
    for one in ["html", "head", "title", "style", "body", "main", "h1", "footer"] {
        assert_eq!(seen.get(one), Some(&1), "{one}");
    }
    let policy = "Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-";
    assert!(page.contains(policy) && page.contains("name=\"viewport\""), "{page}");
    for part in ["prefers-color-scheme: dark", "@media print", "@media (max-width"] {
        assert!(page.contains(part), "{part}");
    }
    page
}

/// A store with an old bundle, a new one, one of another install, one that cannot be read, and one that lies.
fn store_of_many() -> (tempfile::TempDir, PathBuf) {
    let (home, store) = home();
    publish(&store);
    let newest = made(&store, 0);
    made_of(&store, 3, Some(7));
    signed_by("stranger-signing", &store, 2, |_| ());
    let broken = made(&store, 5);
    fs::write(store.join(&broken).join("published.json"), "{").unwrap();
    let pinned = json!({"format": 1, "set": true, "at": "2026-11-24T00:00:00Z", "by": "op", "reason": HOSTILE, "dr_version": "0"});
    fs::write(store.join(NAME).join("pin.000001.json"), pinned.to_string()).unwrap();
    let beside = json!({"format": 1, "set": true, "at": "2026-11-24T00:00:00Z", "by": "op", "reason": BESIDE, "dr_version": "0"});
    fs::write(store.join(&newest).join("pin.000001.json"), beside.to_string()).unwrap();
    (home, store)
}

#[test]
fn the_page_of_a_store_says_what_status_and_list_say_and_is_written_anew() {
    let (home, store) = store_of_many();
    let path = home.path().join("dr.html");
    for _again in 0..2 {
        let said = dr(home.path(), &["report", "--out", "dr.html"]);
        assert!(said.contains("written to dr.html") && said.ends_with("--- exit 0"), "{said}");
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    let page = page(&path);
    for name in fs::read_dir(&store).unwrap() {
        assert!(page.contains(name.unwrap().file_name().to_str().unwrap()));
    }
    let status: serde_json::Value = {
        let said = dr(home.path(), &["--output", "json", "status"]);
        serde_json::from_str(said.split_once("--- stderr").unwrap().0).unwrap()
    };
    for finding in status["findings"].as_array().unwrap() {
        let area = finding["area"].as_str().unwrap();
        assert!(page.contains(&format!("<td>{area}</td>")), "{finding}");
        if let Some(fix) = finding["fix"].as_str() {
            assert!(page.contains(&format!("<code>{}</code>", escaped(fix))), "{finding}");
        }
    }
    assert!(page.contains("must be fixed first") && page.contains("site-7/"), "{page}");
    assert!(page.contains(&escaped(HOSTILE)) && page.contains(&escaped(BESIDE)), "{page}");
    // What is there and is no such page stays.
    let kept = fs::read(home.path().join(".config/dr/dr.toml")).unwrap();
    let refused = dr(home.path(), &["report", "--out", ".config/dr/dr.toml"]);
    assert!(refused.contains("is no file of report") && refused.ends_with("--- exit 64"), "{refused}");
    assert_eq!(fs::read(home.path().join(".config/dr/dr.toml")).unwrap(), kept);
    let piped = dr(home.path(), &["report", "--out", "-"]);
    assert!(piped.starts_with("<!doctype html>") && piped.contains("</html>\n--- stderr"), "{piped}");
    let json = dr(home.path(), &["--output", "json", "report", "--out", "dr.html"]);
    assert!(json.contains("\"of\": \"~/store\"") && json.ends_with("--- exit 0"), "{json}");
}

#[test]
fn a_store_that_is_away_is_said_on_the_page_of_this_install_and_a_named_one_has_no_page() {
    let (home, store) = home();
    fs::remove_dir(&store).unwrap();
    let said = dr(home.path(), &["report", "--out", "dr.html"]);
    assert!(said.ends_with("--- exit 0"), "{said}");
    let page = page(&home.path().join("dr.html"));
    assert!(page.contains("not known") && page.contains("must be fixed first"), "{page}");
    let refused = dr(home.path(), &["report", "--store", "/nonexistent", "--out", "other.html"]);
    assert!(refused.ends_with("--- exit 29") && !home.path().join("other.html").exists(), "{refused}");
}

#[test]
fn a_named_store_has_a_page_of_its_bundles_without_a_judgement() {
    let (home, store) = store_of_many();
    let other = home.path().join("other");
    fs::rename(&store, &other).unwrap();
    let said = dr(home.path(), &["report", "--store", "other", "--out", "dr.html"]);
    assert!(said.ends_with("--- exit 0"), "{said}");
    let page = page(&home.path().join("dr.html"));
    assert!(page.contains(NAME) && !page.contains("Could it be restored"), "{page}");
}

#[test]
fn the_page_of_a_bundle_says_what_show_says_and_needs_no_settings_for_a_file() {
    let (home, store) = home();
    publish(&store);
    let shown = dr(home.path(), &["bundle", "show", NAME]);
    let said = dr(home.path(), &["report", NAME, "--out", "b.html"]);
    assert!(said.ends_with("--- exit 0"), "{said}");
    let stored = page(&home.path().join("b.html"));
    let bare = tempfile::tempdir().unwrap();
    let (file, signers) = (bundle().display().to_string(), fixture("keys/allowed_signers").display().to_string());
    let said = dr(bare.path(), &["report", &file, "--trusted-signers", &signers, "--out", "b.html"]);
    assert!(said.ends_with("--- exit 0"), "{said}");
    let of_file = page(&bare.path().join("b.html"));
    for page in [&stored, &of_file] {
        for line in shown.lines().take_while(|line| !line.starts_with("WAL")) {
            let (name, value) = line.split_once("  ").unwrap();
            let differs = matches!(name, "file");
            assert!(differs || page.contains(&format!("<dt>{name}</dt><dd>{}</dd>", value.trim())), "{line}");
        }
        for part in ["config/values.yaml.age", "What is not in it", "SHA-256 of values.yaml"] {
            assert!(page.contains(part), "{part}");
        }
    }
    let hostile = signed_by("signing", &store, 1, |header| header["postgresql"]["version"] = HOSTILE.into());
    let said = dr(home.path(), &["report", &hostile, "--out", "b.html"]);
    assert!(said.ends_with("--- exit 0"), "{said}");
    assert!(page(&home.path().join("b.html")).contains(&escaped(HOSTILE)));
    let refused = dr(bare.path(), &["report", &file, "--out", "c.html"]);
    assert!(refused.ends_with("--- exit 16") && !bare.path().join("c.html").exists(), "{refused}");
    let refused = dr(home.path(), &["report", "--any-signer", "--out", "c.html"]);
    assert!(refused.contains("of one bundle only") && refused.ends_with("--- exit 64"), "{refused}");
}

/// Looked at as people do: on a phone, on a desk, at night, on paper; with the network off.
#[test]
#[ignore = "needs a browser, which `make soak` looks for"]
fn browser_shows_each_page_on_a_phone_on_a_desk_at_night_and_on_paper() {
    let Some(mut browser) = Browser::start() else {
        return crate::not_looked_at("pages in a browser", "there is no chromium here (apt-get install chromium)");
    };
    let (home, _) = store_of_many();
    for (name, of) in [("store", None), ("bundle", Some(NAME))] {
        let out = format!("{name}.html");
        let args: Vec<&str> = ["report"].into_iter().chain(of).chain(["--out", &out]).collect();
        let said = dr(home.path(), &args);
        assert!(said.ends_with("--- exit 0"), "{said}");
        let mut papers = BTreeMap::new();
        for (width, is_phone) in [(390, true), (820, true), (1280, false)] {
            for scheme in ["light", "dark"] {
                let shot = format!("report-{name}-{width}-{scheme}.png");
                let seen = browser.look(&home.path().join(&out), (width, is_phone), scheme, &shot);
                assert_eq!(seen.complaints, Vec::<String>::new(), "{shot}");
                assert_eq!(seen.requests, 1, "{shot}: it asks for more than itself");
                assert!(seen.width <= width, "{shot}: {} px wide", seen.width);
                assert_eq!(seen.faint, Vec::<String>::new(), "{shot}: too little contrast");
                papers.insert(scheme, seen.paper);
            }
        }
        assert_ne!(papers["light"], papers["dark"], "{name}");
        let (paper, pdf) = browser.print();
        assert_eq!((paper.as_str(), &pdf[..5]), ("rgb(255, 255, 255)", &b"%PDF-"[..]), "{name} on paper");
    }
    browser.stop();
}
