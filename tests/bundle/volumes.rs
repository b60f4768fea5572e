//! Bundles that hold other volumes than the database's.

use std::sync::Arc;

use dr::internals::bundle::{BundledVolume, Extraction, Reader};
use dr::internals::event::Events;
use dr::internals::filetree::{fill, hold_against, list, pack};
use tokio_util::sync::CancellationToken;

use crate::repack::*;
use crate::sample::*;

/// A folder as volume `name`.
pub fn volume(name: &str, root: &std::path::Path) -> (BundledVolume, Vec<u8>) {
    let mut tar = Vec::new();
    let totals = pack(root, &mut tar, |_| {}).unwrap();
    let said = BundledVolume {
        volume: name.into(),
        claim: format!("opschain-{name}-claim"),
        size: "5Gi".into(),
        storage_class: Some("fast".into()),
        access_modes: vec!["ReadWriteMany".into()],
        used_by: vec!["opschain-api-1".into()],
        totals,
        raw_bytes: tar.len() as u64,
        chunks: Vec::new(),
    };
    (said, tar)
}

pub fn folder(content: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("repo")).unwrap();
    std::fs::write(folder.path().join("repo/HEAD"), content).unwrap();
    std::os::unix::fs::symlink("HEAD", folder.path().join("repo/link")).unwrap();
    folder
}

fn bytes(bench: &Bench, volumes: Vec<(BundledVolume, Vec<u8>)>) -> Vec<u8> {
    let content = Content { volumes, ..Content::good() };
    let unpublished = write_content(&bench.store, header(), bench.recipients(), &bench.signer, &content).unwrap();
    let verified = unpublished.verify(&Events::none(), &CancellationToken::new()).unwrap();
    let name = verified.record().header.id.to_string();
    verified.publish(&bench.store).unwrap();
    std::fs::read(dr::Store::address(&bench.store, &name)).unwrap()
}

#[test]
fn volumes_are_checked_file_by_file_and_come_out_as_they_went_in() {
    let (bench, git, steps) = (Bench::new(), folder("ref: refs/heads/main\n"), folder("x"));
    let whole = bytes(&bench, vec![volume("git", git.path()), volume("steps", steps.path())]);
    let reader = Reader::open(Arc::new(Memory(whole)), &bench.trust()).unwrap();
    let proof = reader.verify_plain(&bench.identities, &Events::none(), &CancellationToken::new()).unwrap();
    let seen: Vec<(&str, u64)> = proof.volumes.iter().map(|volume| (volume.volume.as_str(), volume.files)).collect();
    assert_eq!(seen, [("git", 1), ("steps", 1)]);
    let said = &reader.volumes()[0];
    assert_eq!((said.claim.as_str(), said.size.as_str(), said.totals.symlinks), ("opschain-git-claim", "5Gi", 1));
    assert!(said.chunks.len() > 1);
    let names: Vec<String> = reader.items().into_iter().map(|item| item.name).collect();
    assert!(
        names.contains(&"volume-git.tar".to_owned()) && !names.iter().any(|name| name.contains("000000")),
        "{names:?}"
    );

    let mut tar = Vec::new();
    let to = Extraction {
        identities: Some(&bench.identities),
        output: &mut tar,
        events: &Events::none(),
        cancel: &CancellationToken::new(),
    };
    reader.extract(&reader.item("volume-git.tar").unwrap(), to).unwrap();
    let back = tempfile::tempdir().unwrap();
    let listed = fill(back.path(), &tar[..]).unwrap();
    hold_against(&list(back.path()).unwrap(), &listed).unwrap();
    assert_eq!(std::fs::read(back.path().join("repo/HEAD")).unwrap(), b"ref: refs/heads/main\n");
    for absent in ["volume-registry.tar", "volume-x.tar"] {
        let to = Extraction {
            identities: Some(&bench.identities),
            output: &mut Vec::new(),
            events: &Events::none(),
            cancel: &CancellationToken::new(),
        };
        assert!(reader.extract(&reader.item(absent).unwrap(), to).is_err(), "{absent}");
    }
}

#[test]
fn a_bundle_without_volumes_says_nothing_of_them() {
    let bench = Bench::new();
    let pieces = take_apart(&bench.bytes());
    let manifest = String::from_utf8(pieces[find(&pieces, "manifest.json")].content.clone()).unwrap();
    assert!(!manifest.contains("\"volumes\""), "{manifest}");
}

#[test]
fn a_volume_that_is_not_what_the_signed_manifest_says_is_found() {
    let (bench, git, other) = (Bench::new(), folder("the one"), folder("other 1"));
    let (said, _) = volume("git", git.path());
    let (_, other_tar) = volume("git", other.path());
    // Another file of the same length, which fits its own listing: only the totals could tell, and they are the same.
    assert!(check_plain(bytes(&bench, vec![(said.clone(), other_tar)]), &bench.trust(), &bench.identities).is_ok());
    let bench = Bench::new();
    let more = folder("one file more");
    std::fs::write(more.path().join("more"), "y").unwrap();
    let (_, tar) = volume("git", more.path());
    let wrong = BundledVolume { raw_bytes: tar.len() as u64, ..said.clone() };
    let error = check_plain(bytes(&bench, vec![(wrong, tar)]), &bench.trust(), &bench.identities).unwrap_err();
    assert!(text(&error).contains("volume git is damaged: it does not hold as much"), "{}", text(&error));
    // A tar that its own listing does not fit.
    let (bench, (said, mut tar)) = (Bench::new(), volume("git", git.path()));
    let at = tar.windows(7).position(|window| window == b"the one").unwrap();
    tar[at] = b'T';
    let error = check_plain(bytes(&bench, vec![(said, tar)]), &bench.trust(), &bench.identities).unwrap_err();
    assert!(text(&error).contains("repo/HEAD of the tar is not what its listing says"), "{}", text(&error));
}

#[test]
fn what_the_manifest_says_of_a_volume_must_fit_the_members() {
    let (bench, git) = (Bench::new(), folder("x"));
    let good = bytes(&bench, vec![volume("git", git.path())]);
    check(good.clone(), &bench.trust()).unwrap();
    type Change = fn(&mut serde_json::Value);
    let changes: [Change; 4] = [
        |manifest| manifest["volumes"] = serde_json::json!([]),
        |manifest| manifest["volumes"][0]["volume"] = "steps".into(),
        |manifest| manifest["volumes"][0]["raw_bytes"] = 1.into(),
        |manifest| {
            let volume = manifest["volumes"][0].clone();
            manifest["volumes"].as_array_mut().unwrap().push(volume);
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut pieces = take_apart(&good);
        sign_anew(&mut pieces, &bench.signer, change);
        assert!(check(put_together(&pieces), &bench.trust()).is_err(), "change {number}");
    }
    // Any byte of a chunk that is not as signed.
    let mut pieces = take_apart(&good);
    let chunk = find(&pieces, "config/volume-git-000000.tar.zst.age");
    let mut content = pieces[chunk].content.clone();
    content[100] ^= 1;
    pieces[chunk].set_content(content);
    assert!(check(put_together(&pieces), &bench.trust()).is_err());
}
