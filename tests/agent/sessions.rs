//! Who may speak to an agent, and when it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dr::internals::agent::{AgentError, PutBack, Watchdog, attach};
use dr::internals::cluster::transport::TransportError;
use dr::internals::crypt::Identities;
use dr::internals::wire::LinkError;

use crate::backups::{request, take};
use crate::pod::Pod;
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn another_run_is_refused_at_once_and_for_good() {
    let pod = Pod::start("run-1");
    assert!(pod.attach("run-1").facts().await.is_ok());
    let began = Instant::now();
    let error = pod.attach("run-2").facts().await.err().unwrap();
    let TransportError::Link { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source, &LinkError::Refused("it serves run run-1, not run-2".into()));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_of_the_run_ends_the_old_ones_work_and_begins_anew() {
    let server = Server::fresh("");
    server.fill(3);
    let keys = Identities::generate();
    let pod = Pod::start("run-1");
    let mut old = pod.attach("run-1");
    let mut slow = request(&server, &keys);
    slow.max_rate = Some("2M".into());
    let mut stream = old.backup(slow).await.unwrap();
    assert!(stream.next().await.unwrap().is_some());

    let mut new = pod.attach("run-1");
    let asked = request(&server, &keys);
    take(&mut new, asked, keys, |_| None).await.unwrap();
    let error = loop {
        match stream.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the old process sees a whole backup"),
            Err(error) => break error,
        }
    };
    let TransportError::Link { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source, &LinkError::Refused("a newer process of the run has taken over".into()));
    // The old one has not taken the work back.
    assert!(new.facts().await.is_ok());
}

/// Over a stream that breaks, too: what is tried is the way that a backup takes.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_to_an_agent_for_an_echo_comes_back_and_too_much_is_refused() {
    let bytes = |count: usize| (0..count).map(|at| (at * 7 % 251) as u8).collect::<Vec<u8>>();
    for bad in [0, 3] {
        let pod = Pod::start("run-1");
        let mut agent = pod.attach_badly("run-1", bad, 400_000, 7);
        for count in [1 << 20, 1, 0, 300_001] {
            agent.echo(bytes(count).into()).await.unwrap();
        }
        let error = agent.echo(bytes((1 << 20) + 1).into()).await.err().unwrap();
        assert!(error.to_string().contains("more than"), "{error}");
        agent.facts().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_nobody_comes_back_to_ends_itself() {
    let mut pod = Pod::start_with("run-1", Duration::from_millis(1500));
    let mut agent = pod.attach("run-1");
    let mut asked_every = tokio::time::interval(Duration::from_millis(800));
    for _ in 0..4 {
        // Attached and idle is not abandoned.
        asked_every.tick().await;
        agent.facts().await.unwrap();
    }
    assert!(!pod.agent.is_finished());
    drop(agent);
    let ended = tokio::time::timeout(Duration::from_secs(15), &mut pod.agent).await.unwrap().unwrap();
    assert!(matches!(ended, Err(AgentError::Abandoned(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watchdog_acts_once_in_a_silence_until_it_succeeds_and_never_while_the_run_is_heard() {
    let tries = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tries);
    let put_back: PutBack = Arc::new(move || {
        // The API server is away at the first try.
        let tried = counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move { tried > 0 })
    });
    let silence = Duration::from_secs(2);
    let pod = Pod::watched("run-1", Duration::from_secs(60), Some(Watchdog::new(silence, put_back)));
    let mut agent = pod.attach("run-1");
    // Attached and idle is not silent: the link beats.
    let mut tick = tokio::time::interval(silence);
    for _ in 0..3 {
        tick.tick().await;
        agent.facts().await.unwrap();
    }
    assert_eq!(tries.load(Ordering::SeqCst), 0);
    drop(agent);
    for expected in [1, 2, 2] {
        let seen = async {
            while tries.load(Ordering::SeqCst) < expected {
                tick.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), seen).await.unwrap();
        tick.tick().await;
    }
    assert_eq!(tries.load(Ordering::SeqCst), 2, "what succeeded is not done again");
}

/// It goes away as soon as it has said so, which may be seen before its last word is read: a hundred times, for it is a race.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_told_to_end_is_no_broken_session() {
    for _ in 0..100 {
        let pod = Pod::start("run-1");
        let mut agent = pod.attach("run-1");
        agent.facts().await.unwrap();
        agent.finish().await.unwrap();
        assert_eq!(*pod.warnings.lock().unwrap(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_told_so_ends_well_and_leaves_no_socket() {
    let mut pod = Pod::start("run-1");
    let mut agent = pod.attach("run-1");
    agent.facts().await.unwrap();
    agent.finish().await.unwrap();
    tokio::time::timeout(Duration::from_secs(15), &mut pod.agent).await.unwrap().unwrap().unwrap();
    assert!(!pod.socket().exists());
    let error = attach(&pod.socket(), tokio::io::empty(), tokio::io::sink()).await.err().unwrap();
    assert!(matches!(error, AgentError::Connect { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_never_answers_is_given_up_within_the_bound() {
    let pod = Pod::start("run-1");
    pod.agent.abort();
    let _ = std::fs::remove_file(pod.socket());
    let began = Instant::now();
    let error = pod.attach("run-1").facts().await.err().unwrap();
    let TransportError::Link { source: LinkError::GivenUp { seconds, last }, .. } = &error else { panic!("{error}") };
    assert!(*seconds >= 20 && began.elapsed() < Duration::from_secs(60), "{seconds} s");
    assert!(last.contains("agent.sock"), "{last}");
}

/// One that stands still, or something between that does: sessions are taken, and last until they are called silent.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_takes_sessions_and_says_nothing_is_given_up_within_the_bound() {
    let pod = Pod::empty();
    let _taken = std::os::unix::net::UnixListener::bind(pod.socket()).unwrap();
    let began = Instant::now();
    let error = pod.attach_silent("run-1", Duration::from_secs(11)).facts().await.err().unwrap();
    let TransportError::Link { source: LinkError::GivenUp { last, .. }, .. } = &error else { panic!("{error}") };
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    assert!(last.contains("nothing heard"), "{last}");
}
