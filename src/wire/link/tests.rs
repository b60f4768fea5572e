use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::wire::frame::Decoder;

fn pair() -> (Link, Link) {
    (Link::new("run", "a", Limits::default()), Link::new("run", "a", Limits::default()))
}

/// Everything that `link` wants to say now, as bytes of the stream.
fn say(link: &mut Link, now: Instant) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(frame) = link.output(now) {
        bytes.extend_from_slice(&frame.header());
        bytes.extend_from_slice(&frame.payload);
    }
    bytes
}

/// Gives stream bytes to `link`; what it took, and how the session ended if it did.
fn hear(link: &mut Link, decoder: &mut Decoder, bytes: &[u8], now: Instant) -> (Vec<Message>, Option<LinkError>) {
    decoder.buffer().extend_from_slice(bytes);
    let mut taken = Vec::new();
    loop {
        match decoder.next_frame() {
            Ok(Some(frame)) => match link.take(frame, now) {
                Ok(message) => taken.extend(message),
                Err(error) => return (taken, Some(error)),
            },
            Ok(None) => return (taken, None),
            Err(error) => return (taken, Some(error.into())),
        }
    }
}

/// One session between two links over a perfect stream.
fn meet(a: &mut Link, b: &mut Link) -> (Vec<Message>, Vec<Message>) {
    let now = Instant::now();
    a.attach(now);
    b.attach(now);
    let (mut to_a, mut to_b) = (Decoder::default(), Decoder::default());
    let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
    loop {
        let (from_a, from_b) = (say(a, now), say(b, now));
        if from_a.is_empty() && from_b.is_empty() {
            return (at_a, at_b);
        }
        let (taken, error) = hear(b, &mut to_b, &from_a, now);
        assert_eq!(error, None);
        at_b.extend(taken);
        let (taken, error) = hear(a, &mut to_a, &from_b, now);
        assert_eq!(error, None);
        at_a.extend(taken);
    }
}

fn data(byte: u8, len: usize) -> Bytes {
    Bytes::from(vec![byte; len])
}

#[test]
fn a_trailer_is_checked_and_more_may_follow_it() {
    let (mut a, mut b) = pair();
    a.send(FrameKind::Control, data(b'{', 1)).unwrap();
    a.send_trailer().unwrap();
    a.send(FrameKind::Data, data(1, 10)).unwrap();
    a.send_trailer().unwrap();
    let (_, at_b) = meet(&mut a, &mut b);
    assert_eq!(
        at_b.iter().map(|m| m.kind).collect::<Vec<_>>(),
        [FrameKind::Control, FrameKind::Trailer, FrameKind::Data, FrameKind::Trailer]
    );
}

#[test]
fn a_trailer_of_other_frames_ends_the_link_for_good() {
    let (mut a, mut b) = pair();
    a.sent.count = 5;
    a.send_trailer().unwrap();
    let now = Instant::now();
    a.attach(now);
    b.attach(now);
    let (mut to_a, mut to_b) = (Decoder::default(), Decoder::default());
    let greeting = say(&mut b, now);
    hear(&mut a, &mut to_a, &greeting, now);
    let all = say(&mut a, now);
    let (_, error) = hear(&mut b, &mut to_b, &all, now);
    assert!(!error.unwrap().ends_session_only());
}

#[test]
fn only_what_is_durable_is_forgotten() {
    let (mut a, mut b) = pair();
    for byte in 0..4 {
        a.send(FrameKind::Data, data(byte, 100)).unwrap();
    }
    let (_, at_b) = meet(&mut a, &mut b);
    assert_eq!((at_b.len(), a.kept.len()), (4, 4));
    b.durable(3);
    meet(&mut a, &mut b);
    assert_eq!(a.kept.len(), 1);
    b.durable(99);
    meet(&mut a, &mut b);
    assert!(a.all_durable());
}

#[test]
fn a_far_side_that_holds_bytes_back_gets_as_many_more() {
    let mut link = Link::new("run", "a", Limits { window: 10, ..Limits::default() });
    link.widen(1 << 20, 0);
    let for_pieces = link.limits().window;
    assert!(for_pieces > 3 << 20 && for_pieces < 4 << 20, "{for_pieces}");
    link.widen(1 << 20, 48 << 20);
    assert_eq!(link.limits().window, (16 + 48) << 20);
    link.widen(1 << 20, 48 << 20);
    assert_eq!(link.limits().window, (16 + 48) << 20, "it grows with each call");
}

#[test]
fn a_full_window_has_no_room_until_the_far_side_is_durable() {
    let limits = Limits { window: 1000, ..Limits::default() };
    let (mut a, mut b) = (Link::new("run", "a", limits), Link::new("run", "a", limits));
    assert!(a.has_room(5000), "an empty window takes any one frame");
    a.send(FrameKind::Data, data(1, 800)).unwrap();
    assert!(!a.has_room(800));
    let (_, at_b) = meet(&mut a, &mut b);
    assert!(!a.has_room(800), "received is not durable");
    b.durable(at_b[0].sequence);
    meet(&mut a, &mut b);
    assert!(a.has_room(800));
}

#[test]
fn another_run_version_or_process_is_refused_for_good() {
    let hear_from = |hello: Hello| {
        let mut a = pair().0;
        let now = Instant::now();
        a.attach(now);
        let frame = Frame::new(FrameKind::Hello, 0, Bytes::from(serde_json::to_vec(&hello).unwrap())).unwrap();
        a.take(frame, now).unwrap_err()
    };
    let good = Hello { version: VERSION, run: "run".into(), link: "a".into(), received: 0 };
    assert!(matches!(hear_from(Hello { run: "other".into(), ..good.clone() }), LinkError::OtherRun { .. }));
    assert!(matches!(hear_from(Hello { version: 9, ..good.clone() }), LinkError::OtherVersion { .. }));
    assert!(matches!(hear_from(Hello { link: "b".into(), ..good.clone() }), LinkError::OtherLink));
    assert!(matches!(hear_from(Hello { received: 1, ..good }), LinkError::Disagreement(_)));
}

#[test]
fn silence_breaks_the_session_and_beats_prevent_it() {
    let (mut a, mut b) = pair();
    meet(&mut a, &mut b);
    let start = a.session.as_ref().unwrap().heard;
    let later = start + Duration::from_secs(4);
    assert_eq!(a.output(later).unwrap().kind, FrameKind::Beat);
    assert_eq!(a.output(later), None);
    b.take(Frame::bare(FrameKind::Beat, 0), later).unwrap();
    assert_eq!(b.check(start + Duration::from_secs(22)), Ok(()));
    assert!(matches!(b.check(start + Duration::from_secs(25)), Err(LinkError::Silent(_))));
}

/// What happens to the bytes that one side says in one turn.
#[derive(Debug, Clone)]
enum Harm {
    None,
    Cut(prop::sample::Index),
    Flip(prop::sample::Index),
    Twice(prop::sample::Index),
    Drop(prop::sample::Index),
}

fn harm() -> impl Strategy<Value = Harm> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        3 => Just(Harm::None),
        1 => place().prop_map(Harm::Cut),
        1 => place().prop_map(Harm::Flip),
        1 => place().prop_map(Harm::Twice),
        1 => place().prop_map(Harm::Drop),
    ]
}

impl Harm {
    /// The harmed bytes, and whether the stream ends after them.
    fn to(&self, mut bytes: Vec<u8>) -> (Vec<u8>, bool) {
        if bytes.is_empty() {
            return (bytes, false);
        }
        match self {
            Self::None => (bytes, false),
            Self::Cut(place) => {
                bytes.truncate(place.index(bytes.len()));
                (bytes, true)
            }
            Self::Flip(place) => {
                let bit = place.index(bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
                (bytes, false)
            }
            Self::Twice(place) => {
                let from = place.index(bytes.len());
                let again = bytes[from..].to_vec();
                bytes.extend(again);
                (bytes, false)
            }
            Self::Drop(place) => {
                let at = place.index(bytes.len());
                bytes.drain(at..(at + 40).min(bytes.len()));
                (bytes, false)
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to the stream, each side gets the other's messages in order, each once, unchanged; and over a
    /// good stream at the end it gets all of them.
    #[test]
    fn a_harmed_stream_never_delivers_anything_but_what_was_sent(
        sizes in prop::collection::vec(0usize..400, 1..40),
        harms in prop::collection::vec((harm(), harm()), 0..12),
        durable_every in 1u64..8,
    ) {
        let limits = Limits { window: 4000, ..Limits::default() };
        let mut a = Link::new("run", "a", limits);
        let mut b = Link::new("run", "a", limits);
        let sent: Vec<Bytes> = sizes.iter().enumerate().map(|(i, len)| data(i as u8, *len)).collect();
        let mut waiting = sent.iter().cloned();
        let mut next = waiting.next();
        let mut got: Vec<Bytes> = Vec::new();
        let mut echoes = 0usize;
        let now = Instant::now();
        let rounds = harms.into_iter().chain(std::iter::repeat_n((Harm::None, Harm::None), sizes.len() * 4 + 4));
        let mut streams: Option<(Decoder, Decoder)> = None;
        for (to_b, to_a) in rounds {
            while let Some(payload) = next.take() {
                if a.has_room(payload.len()) {
                    a.send(FrameKind::Data, payload).unwrap();
                    next = waiting.next();
                } else {
                    next = Some(payload);
                    break;
                }
            }
            let (mut at_a, mut at_b) = streams.take().unwrap_or_else(|| {
                a.attach(now);
                b.attach(now);
                (Decoder::default(), Decoder::default())
            });
            let said = say(&mut a, now);
            let silent_a = said.is_empty();
            let (bytes, ends_b) = to_b.to(said);
            let (taken, broken_b) = hear(&mut b, &mut at_b, &bytes, now);
            for message in taken {
                got.push(message.payload.clone());
                prop_assert_eq!(&got[..], &sent[..got.len()]);
                if message.sequence % durable_every == 0 || got.len() == sent.len() || b.kept.is_empty() {
                    b.durable(message.sequence);
                }
                if b.has_room(1) {
                    b.send(FrameKind::Control, Bytes::from(vec![1])).unwrap();
                }
            }
            let said = say(&mut b, now);
            // Bytes that were lost at the end of what was said are only noticed by the deadline.
            let silent = silent_a && said.is_empty();
            let (bytes, ends_a) = to_a.to(said);
            let (taken, broken_a) = hear(&mut a, &mut at_a, &bytes, now);
            echoes += taken.len();
            if let Some(message) = taken.last() {
                a.durable(message.sequence);
            }
            for error in [&broken_a, &broken_b].into_iter().flatten() {
                prop_assert!(error.ends_session_only(), "{}", error);
            }
            let over = silent || ends_a || ends_b || broken_a.is_some() || broken_b.is_some();
            if !over {
                streams = Some((at_a, at_b));
            }
            b.durable(got.len() as u64);
        }
        prop_assert_eq!(got, sent);
        prop_assert!(echoes <= sizes.len());
    }
}
