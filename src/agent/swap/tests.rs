use std::fs;

use super::*;

const REQUEST: SwapRequest = SwapRequest { nothing_else_mounts: false };

/// A volume with an old data directory (unless `fresh`) and a finished stage.
fn volume(fresh: bool) -> (tempfile::TempDir, RunFolders) {
    let folder = tempfile::tempdir().unwrap();
    let files = PodFiles {
        volume: folder.path().to_owned(),
        pgdata: "pgdata".into(),
        spool: "/nowhere".into(),
        backlog: "/nowhere".into(),
        ..PodFiles::default()
    };
    let place = RunFolders::new(&files, "run-1");
    if !fresh {
        fs::create_dir_all(place.pgdata.join("global")).unwrap();
        fs::write(place.pgdata.join(control::NAME), "old").unwrap();
    }
    fs::create_dir_all(place.stage.join("global")).unwrap();
    fs::write(place.stage.join(HELD_BACK), "new").unwrap();
    let inode = folders::inode(&place.stage).unwrap().unwrap();
    StageRecord { run: "run-1".into(), inode, system_identifier: 7, withdrawn: false }.store(&place.record).unwrap();
    (folder, place)
}

fn data(place: &RunFolders) -> String {
    fs::read_to_string(place.pgdata.join(control::NAME)).unwrap()
}

/// The renames that a swap makes, in order: a kill may come after any of them.
fn renames(place: &RunFolders, fresh: bool) -> Vec<(PathBuf, PathBuf)> {
    let mut all = vec![
        (place.stage.clone(), place.pgdata.clone()),
        (place.pgdata.join(HELD_BACK), place.pgdata.join(control::NAME)),
    ];
    if !fresh {
        all.insert(0, (place.pgdata.clone(), place.before.clone()));
    }
    all
}

#[test]
fn a_swap_killed_after_any_rename_is_finished_by_the_next() {
    for fresh in [false, true] {
        let count = renames(&volume(fresh).1, fresh).len();
        for killed_after in 0..=count {
            let (_folder, place) = volume(fresh);
            for (from, to) in renames(&place, fresh).into_iter().take(killed_after) {
                fs::rename(from, to).unwrap();
                if killed_after < count {
                    assert!(!place.pgdata.join(control::NAME).exists(), "half-way, nothing can start");
                }
            }
            for _ in 0..2 {
                place.swap(&REQUEST).unwrap();
                assert_eq!(data(&place), "new");
                assert_eq!((place.before.exists(), place.stage.exists()), (!fresh, false));
            }
        }
    }
}

#[test]
fn a_swap_undone_after_any_rename_has_the_old_data_back() {
    for fresh in [false, true] {
        for killed_after in 0..=renames(&volume(fresh).1, fresh).len() {
            let (_folder, place) = volume(fresh);
            for (from, to) in renames(&place, fresh).into_iter().take(killed_after) {
                fs::rename(from, to).unwrap();
            }
            assert_eq!(place.put_back().unwrap(), killed_after > 0);
            assert!(!place.put_back().unwrap(), "a second undo finds nothing to do");
            if fresh {
                assert!(!place.pgdata.exists());
            } else {
                assert_eq!(data(&place), "old");
            }
            assert!(!place.before.exists() && !place.stage.exists() && !place.record.exists());
            assert!(place.swap(&REQUEST).is_err(), "what was withdrawn cannot be swapped in again");
        }
    }
}

#[test]
fn an_undo_killed_half_way_is_finished_by_the_next() {
    let (_folder, place) = volume(false);
    place.swap(&REQUEST).unwrap();
    let mut record = StageRecord::load(&place.record).unwrap().unwrap();
    record.withdrawn = true;
    record.store(&place.record).unwrap();
    fs::rename(&place.pgdata, &place.stage).unwrap();
    assert!(place.swap(&REQUEST).is_err());
    assert!(place.put_back().unwrap());
    assert_eq!(data(&place), "old");
}

#[test]
fn a_server_that_may_be_running_is_left_alone() {
    let (_folder, place) = volume(false);
    fs::write(place.pgdata.join("postmaster.pid"), "1").unwrap();
    assert_eq!(place.swap(&REQUEST).unwrap_err().kind, FailureKind::Running);
    assert_eq!(data(&place), "old");
    place.swap(&SwapRequest { nothing_else_mounts: true }).unwrap();
    assert_eq!(data(&place), "new");
}

#[test]
fn what_no_swap_leaves_is_named_and_not_touched() {
    let (_folder, place) = volume(false);
    fs::rename(&place.pgdata, &place.before).unwrap();
    fs::create_dir(&place.pgdata).unwrap();
    let failure = place.swap(&REQUEST).unwrap_err();
    assert!(failure.message.contains("is there again"), "{failure}");
    fs::remove_dir(&place.pgdata).unwrap();
    fs::remove_dir_all(&place.stage).unwrap();
    assert!(place.swap(&REQUEST).unwrap_err().message.contains("is the finished stage"));
    fs::remove_file(&place.record).unwrap();
    assert!(place.swap(&REQUEST).unwrap_err().message.contains("no finished stage"));
    assert!(place.put_back().is_err());
    assert!(place.before.exists());
}
