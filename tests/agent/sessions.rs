//! Who may speak to an agent, and when it ends.

use std::time::{Duration, Instant};

use dr::internals::agent::{AgentError, attach};
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
