//! The bundles kept in `fixtures/bundles`: the good one must stay readable for ever, the broken ones must be refused
//! with these words. See the README there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use dr::internals::bundle::{BundleError, Depth, Reader, Trust};
use dr::internals::crypt::{Identities, Recipients, Signer, TrustedSigners};
use dr::internals::error::{CommandError, Exit};
use dr::internals::event::Events;
use dr::open_file;
use tokio_util::sync::CancellationToken;

use crate::repack::*;
use crate::sample::*;

const GOOD: &str = "v1/opschain-20261123T075443Z-0a1b2c.tar";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

fn trusted() -> Trust {
    Trust::Signers(TrustedSigners::load(&fixture("keys/allowed_signers")).unwrap())
}

fn operator() -> Identities {
    Identities::load(&fixture("keys/identity.txt"), || None).unwrap()
}

/// Goes as far with the file as it can: opens it, verifies what is stored, then the plaintexts.
fn examine(file: &str) -> Result<(), BundleError> {
    let stored = open_file(&fixture("bundles").join(file))
        .map_err(|error| dr::internals::bundle::BundleFault::from(error).of(file))?;
    let reader = Reader::open(stored, &trusted())?;
    reader.verify_stored(&Events::none(), &CancellationToken::new())?;
    reader.verify_plain(&operator(), &Events::none(), &CancellationToken::new()).map(|_| ())
}

/// File below `fixtures/bundles/broken`, exit code, and what stands after the bundle's name in the message.
const BROKEN: [(&str, Exit, &str); 21] = [
    ("empty", Exit::Damaged, "it is not a bundle: it is cut off at its start"),
    ("text", Exit::Damaged, "it is not a bundle: the tar header at byte 0 is damaged: its checksum does not fit"),
    ("truncated", Exit::Damaged, "it is cut off in db/base/000001.tar.zst.age"),
    ("truncated-end", Exit::Damaged, "it is cut off in the last two blocks"),
    ("truncated-before-manifest", Exit::Damaged, "it is cut off after db/backup_manifest.age"),
    (
        "flipped-bit",
        Exit::Damaged,
        "db/base/000001.tar.zst.age is damaged: its stored bytes are not those that the manifest lists",
    ),
    ("wrong-key", Exit::Keys, "config/values.yaml.age cannot be opened: none of the identities at hand opens it"),
    ("bad-name", Exit::Damaged, "evil.sh must not be in it: the name is not part of the layout"),
    ("dot-dot", Exit::Damaged, "config/../../evil.age must not be in it: the name leads out of the bundle"),
    ("absolute", Exit::Damaged, "/etc/cron.d/evil must not be in it: the name is absolute"),
    ("link", Exit::Damaged, "config/values.yaml.age must not be in it: it is a symbolic link, not a plain file"),
    ("extended-header", Exit::Damaged, "pax must not be in it: it is an extended tar header, not a plain file"),
    ("future", Exit::Format, "its format 2.0 is newer than the 1.8 that this dr reads; dr 7.0.0 wrote it"),
    ("unsigned", Exit::Untrusted, "it is not signed"),
    ("foreign-signed", Exit::Untrusted, "its signature is not to be trusted: the key that signed it, SHA256:"),
    ("trailing-data", Exit::Damaged, "data after the last member must not be in it: nothing may follow it"),
    (
        "wrong-order",
        Exit::Damaged,
        "db/base/000002.tar.zst.age must not be in it: chunk 000001 of base should come next",
    ),
    ("duplicate", Exit::Damaged, "config/values.yaml.age must not be in it: it is there twice"),
    (
        "oversized",
        Exit::Damaged,
        "README.md must not be in it: its 2000000 bytes are more than the 1048576 that it may have",
    ),
    ("larger-than-listed", Exit::Damaged, "config/release.json.age is damaged: it has "),
    ("bomb", Exit::Damaged, "db/wal/000000.tar.zst.age is damaged: it does not unpack to 1500000 bytes"),
];

#[test]
fn the_good_bundle_of_version_1_is_read_to_its_last_plaintext() {
    examine(GOOD).unwrap();
    let reader = Reader::open(open_file(&fixture("bundles").join(GOOD)).unwrap(), &trusted()).unwrap();
    assert_eq!(reader.open_member("config/values.yaml.age", &operator()).unwrap().as_slice(), VALUES);
    let report = dr::internals::bundle::report::ShowReport::new(
        &reader,
        String::new(),
        String::new(),
        String::new(),
        Default::default(),
    );
    assert_eq!((report.opschain_version.as_str(), report.database.base_chunks), ("2026-08-20", 3));
    let proof = reader.verify_stored(&Events::none(), &CancellationToken::new()).unwrap();
    let report = dr::internals::bundle::report::VerifyReport::stored(reader.header(), String::new(), proof, 1);
    assert_eq!(report.depth, Depth::Stored);
}

#[test]
fn each_broken_bundle_is_refused_with_its_words_and_exit_code() {
    for (name, exit, words) in BROKEN {
        let error = CommandError::from(examine(&format!("broken/{name}.tar")).expect_err(name));
        let text = error.to_string();
        let (_, after) = text.split_once(".tar: ").unwrap();
        assert!(after.starts_with(words), "{name}: {after}");
        assert_eq!(error.exit(), exit, "{name}");
        assert!(!error.hints().is_empty(), "{name} has no hint");
    }
}

#[test]
fn every_file_beside_the_broken_bundles_is_in_the_table() {
    let mut found: Vec<String> = fs::read_dir(fixture("bundles/broken"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    found.sort();
    let mut listed: Vec<String> = BROKEN.iter().map(|(name, ..)| (*name).to_owned()).collect();
    listed.sort();
    assert_eq!(found, listed);
}

#[test]
fn every_broken_bundle_is_refused_even_by_those_who_trust_anyone_but_the_untrusted_ones() {
    for (name, exit, _) in BROKEN {
        let stored = open_file(&fixture(&format!("bundles/broken/{name}.tar"))).unwrap();
        let result = Reader::open(stored, &Trust::Anyone(Default::default()))
            .and_then(|reader| reader.verify_plain(&operator(), &Events::none(), &CancellationToken::new()));
        assert_eq!(result.is_ok(), exit == Exit::Untrusted, "{name}");
    }
}

#[test]
fn the_reference_page_names_every_member_and_every_field() {
    let page = include_str!("../../docs/reference/bundle-format.md");
    fn fields(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(map) => map.iter().for_each(|(key, value)| {
                found.push(key.clone());
                fields(value, found);
            }),
            serde_json::Value::Array(list) => list.iter().for_each(|value| fields(value, found)),
            _ => {}
        }
    }
    let pieces = take_apart(&fs::read(fixture("bundles").join(GOOD)).unwrap());
    for member in ["bundle.json", "manifest.json"] {
        let mut value: serde_json::Value = serde_json::from_slice(&pieces[find(&pieces, member)].content).unwrap();
        if member == "manifest.json" {
            // Their keys are the caller's.
            value["counts"] = serde_json::Value::Null;
            value["key_fingerprints"] = serde_json::Value::Null;
        }
        let mut found = Vec::new();
        fields(&value, &mut found);
        for field in found {
            assert!(page.contains(&format!("`{field}`")), "the page lacks the field `{field}` of {member}");
        }
    }
    for name in ["config/release.json.age", "db/base/000000.tar.zst.age", "db/backup_manifest.age", "manifest.json.sig"]
    {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}

/// Makes the keys and bundles anew. A bundle of a released format is never made anew: this is for the first time, and
/// for adding a broken kind.
#[test]
#[ignore = "writes fixtures"]
fn write_fixtures() {
    let keys = fixture("keys");
    fs::create_dir_all(&keys).unwrap();
    let signer = key(&keys, "signing", "test-only");
    let stranger = key(&keys, "stranger-signing", "test-only-stranger");
    let (operator, other) = (identity(&keys, "identity.txt"), identity(&keys, "stranger-identity.txt"));
    let line = signer.trust_line("test-only", &[dr::internals::bundle::SIGNATURE_NAMESPACE]);
    fs::write(keys.join("allowed_signers"), format!("# for tests only\n{line}\n")).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let good_path = fixture("bundles").join(GOOD);
    if !good_path.exists() {
        fs::create_dir_all(good_path.parent().unwrap()).unwrap();
        fs::write(&good_path, make(folder.path(), &operator, &signer)).unwrap();
    }
    let good = fs::read(&good_path).unwrap();
    let save = |name: &str, bytes: Vec<u8>| {
        let path = fixture("bundles/broken").join(format!("{name}.tar"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    };
    let change = |name: &str, change: &dyn Fn(&mut Vec<Piece>)| {
        let mut pieces = take_apart(&good);
        change(&mut pieces);
        save(name, put_together(&pieces));
    };
    let offset_of = |name: &str| {
        let pieces = take_apart(&good);
        put_together(&pieces[..find(&pieces, name)]).len() - 1024
    };
    save("empty", Vec::new());
    save("text", b"This is not a bundle, but it is long enough to be one block of a tar file. ".repeat(8));
    save("truncated", good[..offset_of("db/base/000001.tar.zst.age") + 700].to_vec());
    save("truncated-end", good[..good.len() - 512].to_vec());
    save("truncated-before-manifest", good[..offset_of("manifest.json")].to_vec());
    let mut flipped = good.clone();
    flipped[offset_of("db/base/000001.tar.zst.age") + 512 + 400] ^= 0x10;
    save("flipped-bit", flipped);
    save("wrong-key", make(folder.path(), &other, &signer));
    change("bad-name", &|pieces| pieces.insert(3, Piece::new("evil.sh", b"#!/bin/sh\n", &pieces[0])));
    change("dot-dot", &|pieces| pieces.insert(3, Piece::new("config/../../evil.age", b"x", &pieces[0])));
    change("absolute", &|pieces| pieces.insert(3, Piece::new("/etc/cron.d/evil", b"x", &pieces[0])));
    change("link", &|pieces| {
        let link = &mut pieces[2];
        link.header.set_entry_type(tar::EntryType::Symlink);
        link.header.set_link_name("/etc/passwd").unwrap();
        link.set_content(Vec::new());
    });
    change("extended-header", &|pieces| {
        let mut pax = Piece::new("pax", b"19 path=../../evil\n", &pieces[0]);
        pax.header.set_entry_type(tar::EntryType::XHeader);
        pax.header.set_cksum();
        pieces.insert(3, pax);
    });
    change("future", &|pieces| {
        let text = String::from_utf8(pieces[0].content.clone()).unwrap();
        let future = text
            .replace("\"major\": 1", "\"major\": 2")
            .replace("\"dr_version\": \"0.1.0\"", "\"dr_version\": \"7.0.0\"");
        pieces[0].set_content(future.into_bytes());
        sign_anew(pieces, &signer, |manifest| manifest["format"]["major"] = 2.into());
    });
    change("unsigned", &|pieces| drop(pieces.pop()));
    change("foreign-signed", &|pieces| sign_anew(pieces, &stranger, |_| {}));
    save("trailing-data", [good.as_slice(), b"one more thing"].concat());
    change("wrong-order", &|pieces| {
        let (one, two) = (find(pieces, "db/base/000001.tar.zst.age"), find(pieces, "db/base/000002.tar.zst.age"));
        pieces.swap(one, two);
    });
    change("duplicate", &|pieces| pieces.insert(3, pieces[2].clone()));
    change("oversized", &|pieces| {
        pieces[1].content.clear();
        pieces[1].set_size(2_000_000);
    });
    change("larger-than-listed", &|pieces| {
        let at = find(pieces, "config/release.json.age");
        let more = [pieces[at].content.as_slice(), b"more"].concat();
        pieces[at].set_content(more);
    });
    change("bomb", &|pieces| {
        let at = find(pieces, "db/wal/000000.tar.zst.age");
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
        pieces[at].set_content(Recipients::parse(operator.recipients()).unwrap().seal(&bomb).unwrap());
        sign_anew(pieces, &signer, |_| {});
    });
}

fn make(folder: &Path, identities: &Identities, signer: &Signer) -> Vec<u8> {
    let store = dr::DirectoryStore::create(folder).unwrap();
    let mut header = header();
    header.id = "opschain-20261123T075443Z-0a1b2c".parse().unwrap();
    let name = header.id.to_string();
    let recipients = Recipients::parse(identities.recipients()).unwrap();
    let unpublished = write(&store, header, recipients, signer);
    unpublished.verify(&Events::none(), &CancellationToken::new()).unwrap().publish(&store).unwrap();
    let folder = folder.join(&name);
    let bytes = fs::read(folder.join(format!("{name}.tar"))).unwrap();
    fs::remove_dir_all(folder).unwrap();
    bytes
}

fn key(folder: &Path, name: &str, comment: &str) -> Signer {
    let path = folder.join(name);
    if !path.exists() {
        Signer::generate(comment).unwrap().save_new(&path).unwrap();
    }
    // git keeps no modes; the key is for tests only.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    Signer::load(&path).unwrap()
}

fn identity(folder: &Path, name: &str) -> Identities {
    let path = folder.join(name);
    if !path.exists() {
        let text = format!("# for tests only\n{}", Identities::generate().to_file_text().as_str());
        fs::write(&path, text).unwrap();
    }
    Identities::load(&path, || None).unwrap()
}
