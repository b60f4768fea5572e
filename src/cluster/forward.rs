//! HTTP with a pod, through the API server's port forward: neither the pod's address nor an ingress has to be reached
//! from this host, and unlike the proxy of services it leaves every header as it is.

use http::Request;
use http_body_util::{BodyExt, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use tokio_util::task::AbortOnDropHandle;

use super::error::{ClusterError, Result, innermost};
use super::kube::{ANSWER_LIMIT, Cluster};
use super::podstate::PodState;
use crate::trace::{self, CallKind};

/// The most bytes of an answer.
const MOST_BYTES: usize = 8 << 20;

/// A pod that serves, and the port that it declares.
pub struct ServingPod {
    pub name: String,
    pub port: Option<u16>,
}

/// What a pod has answered.
pub struct PodAnswer {
    /// The HTTP status.
    pub status: u16,
    pub body: Vec<u8>,
}

impl Cluster {
    /// A pod that is ready, by a label selector.
    ///
    /// # Errors
    /// The pods may not be listed.
    pub async fn serving_pod(&self, labels: &str) -> Result<Option<ServingPod>> {
        let pods = self.pods(Some(labels)).await?;
        let serves = |pod: &&Pod| {
            let state = PodState::of(pod);
            state.ready && !state.deleting
        };
        let port = |pod: &Pod| {
            let mut ports = pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|it| it.ports.iter().flatten());
            ports.find_map(|port| u16::try_from(port.container_port).ok())
        };
        let pod = pods.iter().find(serves);
        Ok(pod.map(|pod| ServingPod { name: pod.metadata.name.clone().unwrap_or_default(), port: port(pod) }))
    }

    /// Sends one request to a port of a pod.
    ///
    /// # Errors
    /// The access rules do not allow it, the session breaks off, or the answer is late or large. Any status is an answer.
    pub async fn ask_pod(&self, pod: &str, port: u16, request: Request<String>) -> Result<PodAnswer> {
        let (pods, asked) = (self.here::<Pod>(), format!("{} {}", request.method(), request.uri().path()));
        let broken = |cause: String| ClusterError::Session { pod: pod.to_owned(), command: asked.clone(), cause };
        let ask = pods.ask("get", Some(pod)).of_part("portforward");
        let mut forwarder = self.ask(ask, pods.api.portforward(pod, &[port])).await?;
        let stream = forwarder.take_stream(port).ok_or_else(|| broken("it has no stream".into()))?;
        let exchange = async {
            let opened = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
            let (mut sender, connection) = opened.map_err(|error| broken(innermost(&error)))?;
            let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
            let (head, body) =
                sender.send_request(request).await.map_err(|error| broken(innermost(&error)))?.into_parts();
            let body = Limited::new(body, MOST_BYTES).collect().await.map_err(|error| broken(error.to_string()))?;
            Ok(PodAnswer { status: head.status.as_u16(), body: body.to_bytes().into() })
        };
        let bounded = async {
            let late = || Err(broken(format!("silent for {} s", ANSWER_LIMIT.as_secs())));
            tokio::time::timeout(ANSWER_LIMIT, exchange).await.unwrap_or_else(|_| late())
        };
        trace::call(CallKind::Cluster, format!("{asked} of pod {pod}"), bounded).await
    }
}
