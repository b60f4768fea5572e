//! Damage of every kind is found, and nothing makes the reader panic.

use dr::Store;
use dr::internals::bundle::{BundleFault, Reader, Trust};
use dr::internals::crypt::Hashed;
use proptest::prelude::*;
use sha2::Digest;

use crate::repack::*;
use crate::sample::*;

#[test]
fn any_flipped_byte_is_found_without_a_key() {
    let bench = Bench::new();
    let (good, trust) = (bench.bytes(), bench.trust());
    check(good.clone(), &trust).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        assert!(check(bad, &trust).is_err(), "the flipped byte {at} is not seen");
    }
}

/// By its record, only the end is read when a bundle is opened; all else is found when its bytes pass.
#[test]
fn any_flipped_byte_of_a_bundle_with_a_record_is_found_too() {
    let bench = Bench::new();
    let name = bench.publish(header());
    let path = bench.store.address(&name);
    let good = std::fs::read(&path).unwrap();
    let found = |at: usize| {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        std::fs::write(&path, bad).unwrap();
        Reader::open_in(&bench.store, &name, &bench.trust())
            .and_then(|reader| reader.verify_stored(&dr::internals::event::Events::none(), &Default::default()))
            .is_err()
    };
    // A sample of every header, content and padding, and the whole of the end.
    let mut at = 0;
    for piece in take_apart(&good) {
        let end = at + 512 + piece.content.len().div_ceil(512) * 512;
        let content_end = at + 512 + piece.content.len();
        let contents = (at + 512..content_end).step_by(997);
        let looked_at = (at..at + 512).step_by(7).chain(contents).chain((content_end..end).step_by(13));
        looked_at.for_each(|at| assert!(found(at), "the flipped byte {at} is not seen"));
        at = end;
    }
    (at..good.len()).for_each(|at| assert!(found(at), "the flipped byte {at} of the end is not seen"));
}

#[test]
fn a_cut_anywhere_in_the_tail_or_at_any_edge_is_found() {
    let bench = Bench::new();
    let (good, trust) = (bench.bytes(), bench.trust());
    let mut cuts: Vec<usize> = (good.len() - 6000..good.len()).chain(0..600).collect();
    let mut at = 0;
    for piece in take_apart(&good) {
        cuts.extend([at, at + 1, at + 511, at + 512, at + 513, at + 512 + piece.content.len()]);
        at += 512 + piece.content.len().div_ceil(512) * 512;
    }
    for cut in cuts {
        let error = check(good[..cut].to_vec(), &trust).unwrap_err();
        let fault = &*error.fault;
        assert!(matches!(fault, BundleFault::Truncated(_) | BundleFault::NotABundle(_)), "cut at {cut}: {error}");
    }
}

#[test]
fn any_member_left_out_doubled_or_swapped_is_found() {
    let bench = Bench::new();
    let (pieces, trust) = (take_apart(&bench.bytes()), bench.trust());
    for at in 0..pieces.len() {
        let mut without = pieces.clone();
        without.remove(at);
        assert!(check(put_together(&without), &trust).is_err(), "without {}", pieces[at].name());
        let mut doubled = pieces.clone();
        doubled.insert(at, pieces[at].clone());
        assert!(check(put_together(&doubled), &trust).is_err(), "{} twice", pieces[at].name());
        if at > 0 {
            let mut swapped = pieces.clone();
            swapped.swap(at, at - 1);
            assert!(check(put_together(&swapped), &trust).is_err(), "{} one place up", pieces[at].name());
        }
    }
}

/// A chunk of one bundle, whole in itself, in the place of the same chunk of another: signed data that are not this
/// bundle's.
#[test]
fn a_member_of_another_bundle_is_found() {
    let bench = Bench::new();
    let (mut mine, other) = (take_apart(&bench.bytes()), take_apart(&Bench::new().bytes()));
    let at = find(&mine, "db/base/000000.tar.zst.age");
    mine[at] = other[at].clone();
    assert!(check(put_together(&mine), &bench.trust()).unwrap_err().to_string().contains("000000"));
}

/// Who makes a bundle takes on sealed values without opening them: whoever opens them finds out.
#[test]
fn values_that_are_not_those_that_were_recorded_or_live_are_found_with_the_key() {
    let bench = Bench::new();
    let opened = |values: &[u8], sha256: &[u8], helm: &[u8]| {
        let sealed = Hashed::of(bench.recipients().seal(values).unwrap());
        let digest = |bytes: &[u8]| hex::encode(sha2::Sha256::digest(bytes));
        let document = dr::internals::values::overlay::document_of_file(helm).unwrap();
        let mut content = Content::good();
        content.values = Some((sealed, digest(sha256), digest(&document)));
        let unpublished = write_content(&bench.store, header(), bench.recipients(), &bench.signer, &content).unwrap();
        let reader = unpublished.reader().unwrap();
        reader.verify_stored(&dr::internals::event::Events::none(), &Default::default()).unwrap();
        let opened = reader.open_member("config/values.yaml.age", &bench.identities);
        opened.map(|_| ()).map_err(|error| text(&error))
    };
    opened(VALUES, VALUES, VALUES).unwrap();
    assert!(opened(b"a: 1", VALUES, VALUES).unwrap_err().contains("not the values.yaml that the manifest names"));
    assert!(opened(b"a: 1", b"a: 1", b"a: 2").unwrap_err().contains("not the values that were live"));
    assert!(opened(b"a: [", b"a: [", b"a: 2").unwrap_err().contains("Helm would not read it"));
}

#[test]
fn what_a_trusted_but_broken_writer_made_is_found_with_the_key() {
    let bench = Bench::new();
    let all = files();
    let broken = |change: &dyn Fn(&mut Content)| {
        let mut content = Content::good();
        change(&mut content);
        let unpublished = write_content(&bench.store, header(), bench.recipients(), &bench.signer, &content).unwrap();
        let reader = unpublished.reader().unwrap();
        reader.verify_stored(&dr::internals::event::Events::none(), &Default::default()).unwrap();
        let error = reader
            .verify_plain(&bench.identities, &dr::internals::event::Events::none(), &Default::default())
            .unwrap_err();
        assert!(matches!(*error.fault, BundleFault::Database(_)), "{error}");
        text(&error)
    };
    let without = |name: &str| all.iter().filter(|file| file.0 != name).cloned().collect::<Vec<_>>();
    let with = |name: &'static str| [all.clone(), vec![(name, b"x".to_vec())]].concat();
    assert!(
        broken(&|c| c.base = tar_of(&without("base/1/1259")))
            .contains("base/1/1259 is listed in backup_manifest and missing")
    );
    assert!(broken(&|c| c.base = tar_of(&with("base/1/2"))).contains("base/1/2 is in the backup and not listed"));
    assert!(
        broken(&|c| c.base = tar_of(&[all.clone(), vec![all[2].clone()]].concat())).contains("base/1/1259 comes twice")
    );
    assert!(broken(&|c| c.base.truncate(9_000)).contains("it is cut off (last entry: base/1/1259)"));
    assert!(broken(&|c| c.backup_manifest[60] ^= 1).contains("backup_manifest"));
    assert!(broken(&|c| c.database.end_lsn = "0/2000200".parse().unwrap()).contains("0/2000200"));
    // A position in the header of a segment names the end of the one before; behind it, the segment is needed.
    let too_far = |c: &mut Content| c.database.quiesce_lsn = Some("0/2200100".parse().unwrap());
    assert!(broken(&too_far).contains("WAL segment 000000010000000000000022 is missing"));
    assert!(broken(&|c| c.wal = tar_of(&segments()[1..])).contains("WAL segment 000000010000000000000020 is missing"));
    assert!(broken(&|c| c.wal.truncate(2_000_000)).contains("it is cut off (last entry: 000000010000000000000021)"));
    let foreign = |c: &mut Content| {
        let mut segments = segments();
        segments[1].1[24] ^= 1;
        c.wal = tar_of(&segments);
    };
    assert!(broken(&foreign).contains("it is of database"));
    let mut bad_control = all.clone();
    bad_control[4].1[0] ^= 1;
    let other_control = |c: &mut Content| {
        c.base = tar_of(&bad_control);
        c.backup_manifest = backup_manifest(&bad_control);
    };
    assert!(broken(&other_control).contains("the data is of database"));
    let no_label = without("backup_label");
    let unlabelled = |c: &mut Content| {
        c.base = tar_of(&no_label);
        c.backup_manifest = backup_manifest(&no_label);
    };
    assert!(broken(&unlabelled).contains("backup_label is missing"));
}

#[test]
fn a_wrong_key_opens_nothing() {
    let bench = Bench::new();
    let stranger = dr::internals::crypt::Identities::generate();
    let error = check_plain(bench.bytes(), &bench.trust(), &stranger).unwrap_err();
    assert!(matches!(*error.fault, BundleFault::Sealed { .. }), "{error}");
    check_plain(bench.bytes(), &bench.trust(), &bench.identities).unwrap();
}

#[test]
fn without_trust_a_bundle_is_taken_only_when_one_asks_for_it_and_damage_is_still_found() {
    let bench = Bench::new();
    let mut pieces = take_apart(&bench.bytes());
    check(put_together(&pieces), &Trust::Anyone(Default::default())).unwrap();
    let at = find(&pieces, "manifest.json.sig");
    pieces[at].content[60] ^= 1;
    assert!(check(put_together(&pieces), &Trust::Anyone(Default::default())).is_err());
    pieces.pop();
    check(put_together(&pieces), &Trust::Anyone(Default::default())).unwrap();
    assert!(matches!(*check(put_together(&pieces), &bench.trust()).unwrap_err().fault, BundleFault::Unsigned));
}

/// 300, or what `PROPTEST_CASES` asks for above it.
fn cases() -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig { cases: asked.cases.max(300), ..asked }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        prop_assert!(check(bytes, &Trust::Anyone(Default::default())).is_err());
    }

    #[test]
    fn a_bundle_with_several_wrong_bytes_never_panics(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..8)) {
        thread_local!(static GOOD: (Vec<u8>, Trust) = { let bench = Bench::new(); (bench.bytes(), bench.trust()) });
        GOOD.with(|(good, trust)| {
            let mut bad = good.clone();
            for (at, byte) in &changes {
                let at = at % bad.len();
                bad[at] = *byte;
            }
            prop_assert_eq!(check(bad.clone(), trust).is_ok(), bad == *good);
            Ok(())
        })?;
    }

    #[test]
    fn headers_and_manifests_of_random_json_never_panic(text in "[\\[\\]{}\",:a-z0-9 ]{0,200}") {
        thread_local!(static PIECES: Vec<Piece> = take_apart(&Bench::new().bytes()));
        PIECES.with(|pieces| {
            for name in ["bundle.json", "manifest.json"] {
                let mut pieces = pieces.clone();
                let at = find(&pieces, name);
                pieces[at].set_content(text.clone().into_bytes());
                prop_assert!(check(put_together(&pieces), &Trust::Anyone(Default::default())).is_err());
            }
            Ok(())
        })?;
    }
}
