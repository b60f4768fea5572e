//! The connection to one cluster, and the few typed calls that everything else here is made of.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams,
};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock;
use crate::trace::{self, CallKind};
use crate::values::Secrets;

use super::error::{ApiRequest, ClusterError, Result};
use super::{kubeconfig, login};

/// How long the API server may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long one answer may take. Sessions into pods have limits of their own.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// The name under which changes are recorded in an object's managed fields.
pub(super) const FIELD_MANAGER: &str = "dr";

/// One Kubernetes cluster, seen through one context of the kubeconfig, and one namespace of it.
///
/// Cheap to clone: all clones share one connection pool.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    context: String,
    /// With the proxy that leads to it.
    server: String,
    namespace: String,
    version: String,
    secrets: Secrets,
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cluster({} {} {})", self.context, self.server, self.namespace)
    }
}

impl Cluster {
    /// Reaches the cluster and asks for its version, so that a dead or strange address fails here and not later.
    ///
    /// Without `context` the kubeconfig's current one is used; without any kubeconfig, the pod's own service account.
    /// `KUBECONFIG` is honoured as kubectl does.
    ///
    /// # Errors
    /// No kubeconfig, no such context, a login plugin that fails or does not end, no answer in 10 s, or credentials that
    /// are not accepted.
    pub async fn connect(context: Option<&str>, namespace: &str) -> Result<Self> {
        let asked = context.map(str::to_owned);
        let (name, mut config) = login::load(asked).await?;
        config.connect_timeout = Some(CONNECT_LIMIT);
        let mut server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        if let Some(proxy) = config.proxy_url.as_ref().and_then(kubeconfig::proxy_words) {
            server = format!("{server} through proxy {proxy}");
        }
        let client = login::client(&name, config, login::LIMIT).await?;
        let mut cluster = Self {
            client,
            context: name,
            server,
            namespace: namespace.to_owned(),
            version: String::new(),
            secrets: Secrets::default(),
        };
        // Not an object, so the words are put together for the sentence only: `cannot reach the cluster`.
        let ask = ApiRequest {
            verb: "reach",
            kind: "the".into(),
            resource: "/version".into(),
            name: Some("cluster".into()),
            namespace: None,
        };
        cluster.version = cluster.ask(ask, cluster.client.apiserver_version()).await?.git_version;
        Ok(cluster)
    }

    /// The same cluster, looking at another namespace.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        Self { namespace: namespace.to_owned(), ..self.clone() }
    }

    /// The same cluster; what it reads of Secrets and ConfigMaps is told to `secrets`, so that nobody shows it.
    #[must_use]
    pub fn with_redaction(self, secrets: &Secrets) -> Self {
        Self { secrets: secrets.clone(), ..self }
    }

    /// Whom to tell what must not be shown.
    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The namespace that calls without one of their own go to.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The kubeconfig context in use.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The API server's address, with the proxy that leads to it.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The API server's version, such as `v1.34.4`.
    pub fn server_version(&self) -> &str {
        &self.version
    }

    /// How far this host's clock is ahead of the API server's, to the second; `None` where that does not tell the time.
    pub async fn clock_ahead(&self) -> Option<jiff::SignedDuration> {
        let request = http::Request::get("/version").body(kube::client::Body::empty()).ok()?;
        let answer = tokio::time::timeout(ANSWER_LIMIT, self.client.send(request)).await.ok()?.ok()?;
        let now = clock::now();
        let date = answer.headers().get(http::header::DATE)?.to_str().ok()?;
        let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
        Some(now.duration_since(theirs))
    }

    /// The library's client, for streams into pods.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The cluster's identity: the uid of its namespace `kube-system`, which lives as long as the cluster does.
    ///
    /// # Errors
    /// The namespace may not be read.
    pub async fn identity(&self) -> Result<String> {
        let namespace = self.wide::<Namespace>().get("kube-system").await?;
        uid_of(&namespace, "kube-system")
    }

    /// The same, and since when there is this cluster.
    ///
    /// # Errors
    /// The namespace may not be read.
    pub async fn identity_since(&self) -> Result<(String, Option<jiff::Timestamp>)> {
        let namespace = self.wide::<Namespace>().get("kube-system").await?;
        let began = namespace.metadata.creation_timestamp.as_ref().map(|made| made.0);
        Ok((uid_of(&namespace, "kube-system")?, began))
    }

    /// The uid of the namespace, or `None` where there is no such namespace.
    ///
    /// # Errors
    /// The namespace may not be read.
    pub async fn namespace_uid(&self) -> Result<Option<String>> {
        match self.wide::<Namespace>().get_opt(&self.namespace).await? {
            Some(namespace) => uid_of(&namespace, &self.namespace).map(Some),
            None => Ok(None),
        }
    }

    /// Objects of a kind in the namespace.
    pub(super) fn here<K>(&self) -> Objects<'_, K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.within(&self.namespace)
    }

    /// Objects of a kind in a namespace.
    pub(super) fn within<K>(&self, namespace: &str) -> Objects<'_, K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let api = Api::namespaced(self.client.clone(), namespace);
        Objects { cluster: self, api, types: (), namespace: Some(namespace.to_owned()) }
    }

    /// Objects of a kind in the whole cluster.
    pub(super) fn wide<K: Resource<DynamicType = ()>>(&self) -> Objects<'_, K> {
        Objects { cluster: self, api: Api::all(self.client.clone()), types: (), namespace: None }
    }

    /// Objects of a kind that is known by name only, in the namespace.
    pub(super) fn dynamic(&self, types: ApiResource) -> Objects<'_, DynamicObject> {
        let api = Api::namespaced_with(self.client.clone(), &self.namespace, &types);
        Objects { cluster: self, api, types, namespace: Some(self.namespace.clone()) }
    }

    /// Objects of a kind that is known by name only, wherever they live.
    pub(super) fn in_any(
        &self,
        api: Api<DynamicObject>,
        types: ApiResource,
        namespace: Option<&str>,
    ) -> Objects<'_, DynamicObject> {
        Objects { cluster: self, api, types, namespace: namespace.map(str::to_owned) }
    }

    /// Waits for one answer, with a bound, and words its failure.
    pub(super) async fn ask<T>(&self, ask: ApiRequest, answer: impl Future<Output = kube::Result<T>>) -> Result<T> {
        if let Some(name) = ask.unfit() {
            let cause = format!("`{}` is not the name of an object", name.escape_debug());
            return Err(ClusterError::Unexpected { act: ask.verb.to_owned(), cause });
        }
        let what = ask.to_string();
        let bounded = async {
            match tokio::time::timeout(ANSWER_LIMIT, answer).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(error)) => Err(ClusterError::from_kube(ask, error, &self.server, &self.context)),
                Err(_) => Err(ClusterError::Unreachable {
                    act: ask.to_string(),
                    server: self.server.clone(),
                    cause: format!("silent for {} s", ANSWER_LIMIT.as_secs()),
                }),
            }
        };
        trace::call(CallKind::Cluster, what, bounded).await
    }
}

/// The calls on objects of one kind in one scope.
pub(super) struct Objects<'a, K: Resource> {
    cluster: &'a Cluster,
    pub(super) api: Api<K>,
    types: K::DynamicType,
    namespace: Option<String>,
}

impl<K> Objects<'_, K>
where
    K: Resource + Clone + DeserializeOwned + Serialize + Debug,
{
    pub(super) fn ask(&self, verb: &'static str, name: Option<&str>) -> ApiRequest {
        ApiRequest::of::<K>(&self.types, verb, name, self.namespace.as_deref())
    }

    pub(super) async fn get(&self, name: &str) -> Result<K> {
        self.cluster.ask(self.ask("get", Some(name)), self.api.get(name)).await
    }

    pub(super) async fn get_opt(&self, name: &str) -> Result<Option<K>> {
        self.cluster.ask(self.ask("get", Some(name)), self.api.get_opt(name)).await
    }

    pub(super) async fn list(&self, labels: Option<&str>) -> Result<Vec<K>> {
        let params = labels.map_or_else(ListParams::default, |labels| ListParams::default().labels(labels));
        Ok(self.cluster.ask(self.ask("list", None), self.api.list(&params)).await?.items)
    }

    /// Lists the objects without their contents.
    pub(super) async fn list_metadata(&self) -> Result<Vec<ObjectMeta>> {
        let list = self.cluster.ask(self.ask("list", None), self.api.list_metadata(&ListParams::default())).await?;
        Ok(list.items.into_iter().map(|object| object.metadata).collect())
    }

    pub(super) async fn list_fields(&self, fields: &str) -> Result<Vec<K>> {
        let params = ListParams::default().fields(fields);
        Ok(self.cluster.ask(self.ask("list", None), self.api.list(&params)).await?.items)
    }

    pub(super) async fn create(&self, object: &K) -> Result<K> {
        let name = object.meta().name.clone();
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        self.cluster.ask(self.ask("create", name.as_deref()), self.api.create(&params, object)).await
    }

    /// Has the API server check the object as if it were made, webhooks included, and keeps nothing.
    pub(super) async fn create_dry(&self, object: &K) -> Result<K> {
        let name = object.meta().name.clone();
        let params = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.into()) };
        self.cluster.ask(self.ask("create", name.as_deref()), self.api.create(&params, object)).await
    }

    /// Replaces the object, which must carry the resource version that it was read with.
    pub(super) async fn replace(&self, object: &K) -> Result<K> {
        let name = object.meta().name.clone().unwrap_or_default();
        let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() };
        self.cluster.ask(self.ask("update", Some(&name)), self.api.replace(&name, &params, object)).await
    }

    /// Merges `change` into the object; a null takes a field away.
    pub(super) async fn merge(&self, name: &str, change: &serde_json::Value) -> Result<K> {
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        self.cluster.ask(self.ask("patch", Some(name)), self.api.patch(name, &params, &Patch::Merge(change))).await
    }

    /// Has the API server check the change as if it were made, webhooks included, and keeps nothing.
    pub(super) async fn merge_dry(&self, name: &str, change: &serde_json::Value) -> Result<K> {
        let params = PatchParams { dry_run: true, field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        self.cluster.ask(self.ask("patch", Some(name)), self.api.patch(name, &params, &Patch::Merge(change))).await
    }

    /// Merges `change` into the object, and keeps the fields that it sets or gives them up.
    pub(super) async fn change(&self, name: &str, change: &serde_json::Value, keep: bool) -> Result<K> {
        let changed = self.merge(name, change).await?;
        if keep { Ok(changed) } else { self.give_up_fields(changed).await }
    }

    /// Gives up the fields that we have set: they belong to nobody then. Helm applies on the server, and refuses to change
    /// what another program has set. Bounded: whoever else changes the object meanwhile is met with a new look.
    async fn give_up_fields(&self, mut object: K) -> Result<K> {
        for _ in 0..5 {
            let meta = object.meta();
            let (name, fields) = (meta.name.clone().unwrap_or_default(), meta.managed_fields.clone());
            let (ours, others): (Vec<_>, Vec<_>) =
                fields.into_iter().flatten().partition(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER));
            if ours.is_empty() || others.is_empty() {
                break;
            }
            let change = serde_json::json!({
                "metadata": {"managedFields": others, "resourceVersion": meta.resource_version},
            });
            match self.merge(&name, &change).await {
                Err(error) if error.is_conflict() => object = self.get(&name).await?,
                done => return done,
            }
        }
        Ok(object)
    }

    /// Applies the object's fields in the name of `manager`, taking them from whoever has set them. Makes it where it is
    /// not there.
    pub(super) async fn apply(&self, name: &str, manager: &str, object: &serde_json::Value) -> Result<K> {
        let params = PatchParams::apply(manager).force();
        self.cluster.ask(self.ask("patch", Some(name)), self.api.patch(name, &params, &Patch::Apply(object))).await
    }

    /// Sets the number of replicas through the scale subresource.
    pub(super) async fn scale(&self, name: &str, replicas: i32) -> Result<()> {
        let change = serde_json::json!({"spec": {"replicas": replicas}});
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..PatchParams::default() };
        let ask = self.ask("patch", Some(name)).of_part("scale");
        self.cluster.ask(ask, self.api.patch_scale(name, &params, &Patch::Merge(&change))).await.map(drop)
    }

    /// Deletes the object. `false`: there was none.
    pub(super) async fn delete(&self, name: &str, params: &DeleteParams) -> Result<bool> {
        match self.cluster.ask(self.ask("delete", Some(name)), self.api.delete(name, params)).await {
            Ok(_) => Ok(true),
            Err(ClusterError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn uid_of(namespace: &Namespace, name: &str) -> Result<String> {
    namespace.metadata.uid.clone().ok_or_else(|| ClusterError::Unexpected {
        act: format!("read namespace {name}"),
        cause: "it has no uid".into(),
    })
}
