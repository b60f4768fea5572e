use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Cursor;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn tree(root: &Path) {
    let long = "a long name ".repeat(12);
    fs::create_dir_all(root.join("repo.git/objects/ab")).unwrap();
    fs::create_dir(root.join("empty folder")).unwrap();
    fs::write(root.join("repo.git/HEAD"), "ref: refs/heads/main\n").unwrap();
    fs::write(root.join("repo.git/objects/ab/cd"), [7u8; 70_000]).unwrap();
    fs::write(root.join("repo.git/100% J\u{f6}rg"), "").unwrap();
    fs::write(root.join(&long), "x").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"no utf8 \xff\xfe")), "y").unwrap();
    fs::hard_link(root.join("repo.git/HEAD"), root.join("second name")).unwrap();
    symlink("repo.git/HEAD", root.join("link")).unwrap();
    symlink("./../nowhere//x", root.join("dangling")).unwrap();
    symlink("/etc", root.join("abroad")).unwrap();
    symlink(format!("{long}/{long}"), root.join("to far away")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("pipe"), rustix::fs::Mode::RWXU).unwrap();
    fs::create_dir(root.join("lost+found")).unwrap();
    fs::set_permissions(root.join("repo.git/HEAD"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(root.join("empty folder"), fs::Permissions::from_mode(0o2751)).unwrap();
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::new(1_700_000_000, 123_456_789);
    fs::File::open(root.join("repo.git/HEAD")).unwrap().set_modified(old).unwrap();
    fs::File::open(root.join("repo.git")).unwrap().set_modified(old).unwrap();
}

fn packed(root: &Path) -> (Vec<u8>, TreeTotals) {
    let mut tar = Vec::new();
    let totals = pack(root, &mut tar, |_| {}).unwrap();
    (tar, totals)
}

#[test]
fn a_folder_comes_back_with_owners_modes_times_and_links_and_can_be_filled_twice() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    tree(from.path());
    let (tar, totals) = packed(from.path());
    assert_eq!((totals.files, totals.folders, totals.symlinks, totals.hard_links), (5, 4, 4, 1));
    assert_eq!((totals.left_out, totals.moving, totals.bytes), (1, 0, 70_023));
    assert_eq!(check(&tar[..]).unwrap().totals().files, 5);
    fs::create_dir(to.path().join("lost+found")).unwrap();
    for _ in 0..2 {
        fs::write(to.path().join("of an attempt before"), "z").unwrap();
        let listed = fill(to.path(), &tar[..]).unwrap();
        let found = list(to.path()).unwrap();
        let (seen, differing) = hold_against(&found, &listed).unwrap();
        assert_eq!((seen.files, differing), (5, TreeDifferences::default()));
        assert_eq!(found, listed, "times too");
    }
    let [first, second] = ["repo.git/HEAD", "second name"].map(|name| fs::metadata(to.path().join(name)).unwrap());
    assert_eq!((first.ino(), first.mode() & 0o7777, first.mtime_nsec()), (second.ino(), 0o640, 123_456_789));
    assert_eq!(fs::read_link(to.path().join("dangling")).unwrap().to_str(), Some("./../nowhere//x"));
    assert_eq!(fs::metadata(to.path().join("repo.git")).unwrap().mtime(), 1_700_000_000);
    assert!(to.path().join("lost+found").is_dir());
}

#[test]
fn another_program_unpacks_the_tar() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    tree(from.path());
    fs::write(to.path().join("it.tar"), packed(from.path()).0).unwrap();
    let done = std::process::Command::new("tar").args(["-xf", "it.tar"]).current_dir(to.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(fs::read(to.path().join("repo.git/objects/ab/cd")).unwrap(), [7u8; 70_000]);
    assert_eq!(fs::read(to.path().join(OsStr::from_bytes(b"no utf8 \xff\xfe"))).unwrap(), b"y");
    assert!(TreeListing::read(fs::File::open(to.path().join(LISTING)).unwrap()).is_ok());
}

#[test]
fn every_flipped_byte_and_every_cut_is_noticed_or_changes_nothing_that_is_listed() {
    let from = tempfile::tempdir().unwrap();
    fs::create_dir(from.path().join("f")).unwrap();
    fs::write(from.path().join("f/a"), "content").unwrap();
    let (tar, _) = packed(from.path());
    let good = check(&tar[..]).unwrap();
    for at in 0..tar.len() {
        let mut bad = tar.clone();
        bad[at] ^= 1;
        if let Ok(seen) = check(&bad[..]) {
            // What a listing says itself is vouched for by the digest of its chunk, as all of the tar is.
            let kinds = |listing: &TreeListing| listing.entries.iter().map(|e| e.kind.clone()).collect::<Vec<_>>();
            assert_eq!(kinds(&seen), kinds(&good), "byte {at}");
        }
    }
    for end in (0..tar.len() - 1024).step_by(100) {
        assert!(check(&tar[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a_file_that_shrinks_or_goes_while_it_is_read_is_counted_and_breaks_nothing() {
    let from = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(from.path().join(name), [1u8; 300_000]).unwrap();
    }
    let (mut tar, mut moved) = (Vec::new(), 0);
    let totals = pack(from.path(), &mut tar, |bytes| {
        moved += bytes;
        if moved == bytes && bytes > 0 {
            fs::File::options().write(true).open(from.path().join("a")).unwrap().set_len(10).unwrap();
            fs::remove_file(from.path().join("b")).unwrap();
        }
    })
    .unwrap();
    assert_eq!((totals.files, totals.moving), (2, 2));
    let listing = check(&tar[..]).unwrap();
    assert!(listing.entries.iter().any(|entry| matches!(entry.kind, TreeKind::File { bytes: 300_000, .. })));
}

#[test]
fn a_tar_that_leads_out_of_the_volume_is_refused() {
    let outside = tempfile::tempdir().unwrap();
    let line = |path: &str, kind: TreeKind| ListedEntry {
        path: path.into(),
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: 0,
        mtime_nanos: 0,
    };
    let tar_of = |paths: &[(&str, tar::EntryType)], listed: Vec<ListedEntry>| {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind) in paths {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(0);
            if *kind == tar::EntryType::Symlink {
                header.set_link_name(outside.path()).unwrap();
            }
            header.set_cksum();
            builder.append(&header, Cursor::new([])).unwrap();
        }
        let lines = TreeListing { entries: listed }.to_lines().unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(lines.len() as u64);
        builder.append_data(&mut header, LISTING, &lines[..]).unwrap();
        builder.into_inner().unwrap()
    };
    let (file, link) = (tar::EntryType::Regular, tar::EntryType::Symlink);
    for paths in [
        &[("../x", file)][..],
        &[("/x", file)],
        &[("a/x", file)],
        &[("a", link), ("a/x", file)],
        &[("a/../../x", file)],
    ] {
        let root = tempfile::tempdir().unwrap();
        let error = fill(root.path(), &tar_of(paths, Vec::new())[..]).unwrap_err().to_string();
        assert!(error.contains("lies in no folder"), "{paths:?}: {error}");
    }
    for path in ["../x", "a/../../x", "/x"] {
        let root = tempfile::tempdir().unwrap();
        let listed = vec![line(path, TreeKind::Symlink { to: "y".into() })];
        let error = fill(root.path(), &tar_of(&[], listed)[..]).unwrap_err().to_string();
        assert!(error.contains("leads out"), "{path}: {error}");
    }
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn what_is_missing_added_or_changed_on_the_volume_is_named() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::write(from.path().join("a"), "1").unwrap();
    let listed = fill(to.path(), &packed(from.path()).0[..]).unwrap();
    let after = |change: &dyn Fn(&Path)| {
        change(to.path());
        hold_against(&list(to.path()).unwrap(), &listed)
    };
    assert_eq!(after(&|_| {}).unwrap().1.owners, 0);
    let other_mode = |root: &Path| fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(after(&other_mode).unwrap().1.owners, 1);
    let said = |change: &dyn Fn(&Path)| after(change).unwrap_err().to_string();
    assert!(said(&|root| fs::write(root.join("a"), "2").unwrap()).starts_with("a on the volume is not"));
    assert!(said(&|root| fs::remove_file(root.join("a")).unwrap()).starts_with("a is in the bundle's listing"));
    assert!(
        said(&|root| {
            fs::write(root.join("a"), "1").unwrap();
            fs::write(root.join("b"), "1").unwrap();
        })
        .starts_with("b is on the volume")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_files_come_back(files in proptest::collection::btree_map("[a-c /%]{1,8}", proptest::collection::vec(any::<u8>(), 0..2000), 0..12)) {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut written = BTreeMap::new();
        for (name, content) in files {
            let name = name.trim_matches('/').to_owned();
            let path = from.path().join(&name);
            let parent = path.parent().unwrap();
            if name.is_empty() || name.contains("//") || fs::create_dir_all(parent).is_err() || path.is_dir() {
                continue;
            }
            fs::write(&path, &content).unwrap();
            written.insert(name, content);
        }
        let (tar, totals) = packed(from.path());
        prop_assert_eq!(totals.files, written.len() as u64);
        let listed = fill(to.path(), &tar[..]).unwrap();
        hold_against(&list(to.path()).unwrap(), &listed).unwrap();
        for (name, content) in written {
            prop_assert_eq!(fs::read(to.path().join(name)).unwrap(), content);
        }
    }
}
