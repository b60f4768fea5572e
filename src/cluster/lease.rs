//! The lease that keeps two runs off one install.
//!
//! As Kubernetes' own client has it, no clock of any host is believed: a holder is dead when its lease has not been
//! renewed for as long as it lasts, by the time that passes here while it is watched.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ObjectMeta, Preconditions};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::error::{ClusterError, Result};
use super::kube::Cluster;
use super::wait::Wait;
use super::{MANAGED_BY, MANAGER};
use crate::clock;
use crate::event::Events;

/// The annotation that names the host of the holder.
const HOST: &str = "dr.opschain/host";
/// How often a holder may find the lease changed under its hands before it gives up.
const TRIES: usize = 5;

/// No longer name is told.
const LONGEST_NAME: usize = 200;

/// How long a lease outlives its holder.
pub const TTL: Duration = Duration::from_secs(60);
/// The longest that the lease of another is watched, whatever it says of itself.
const LONGEST: Duration = Duration::from_secs(600);

/// The name of the lease on an install.
pub fn lease_name(release: &str) -> String {
    format!("dr-{release}")
}

/// A lease that is held, and renewed in the background until it is released or dropped.
///
/// A dropped guard stops renewing and leaves the lease to run out, as a killed process does.
#[derive(Debug)]
pub struct LeaseGuard {
    cluster: Cluster,
    name: String,
    run: String,
    sight: LeaseSight,
    task: JoinHandle<()>,
}

/// What is known of a lease that is held.
#[derive(Debug, Clone)]
enum HeldLease {
    /// It was renewed then.
    Renewed(Instant),
    /// It was lost, for this reason.
    Lost(String),
}

/// Sees how it stands with a lease that is held, from wherever work must not go on without it.
#[derive(Debug, Clone)]
pub struct LeaseSight(watch::Receiver<HeldLease>);

impl LeaseSight {
    /// Waits until the lease is lost, or was not renewed for `limit`, and says why. Never ends once the lease was given up.
    pub async fn gone(mut self, limit: Duration) -> String {
        loop {
            let renewed = match &*self.0.borrow_and_update() {
                HeldLease::Renewed(at) => *at,
                HeldLease::Lost(why) => return why.clone(),
            };
            let silent = tokio::time::sleep_until((renewed + limit).into());
            tokio::select! {
                changed = self.0.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
                () = silent => return format!("it could not be renewed for {} s", limit.as_secs()),
            }
        }
    }
}

/// Who holds a lease, and the renewal that was seen of it. The time in it is only compared with itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Renewal {
    holder: String,
    at: Timestamp,
}

/// What watching a lease has shown so far.
#[derive(Debug, PartialEq, Eq)]
enum Watched {
    /// Not long enough.
    NotYet,
    /// It was renewed, or changed hands: whoever holds it lives.
    Alive,
    /// It was not renewed for as long as it lasts.
    Dead,
}

/// Watches the lease of another by the time that passes here.
#[derive(Debug, Default)]
struct LeaseWatch {
    first: Option<(Renewal, Instant)>,
}

impl LeaseWatch {
    fn see(&mut self, renewal: &Renewal, lasts: Duration, now: Instant) -> Watched {
        let (first, since) = self.first.get_or_insert_with(|| (renewal.clone(), now));
        match first == renewal {
            false => Watched::Alive,
            true if now.duration_since(*since) >= lasts => Watched::Dead,
            true => Watched::NotYet,
        }
    }
}

impl Cluster {
    /// Takes the lease `name` for a run, or goes on holding it when the run holds it already (a resumed run takes over
    /// its own at once). It is renewed three times in each `ttl` (whole seconds).
    ///
    /// # Errors
    /// [`ClusterError::Held`] names the run that has it, its host and since when; or the lease may not be read or
    /// written. The namespace must exist.
    pub async fn acquire_lease(&self, name: &str, run: &str, host: &str, ttl: Duration) -> Result<LeaseGuard> {
        self.acquire(name, run, host, ttl, None).await
    }

    /// The same; that of a holder with the renewal `dead` is taken over.
    async fn acquire(
        &self,
        name: &str,
        run: &str,
        host: &str,
        ttl: Duration,
        dead: Option<&Renewal>,
    ) -> Result<LeaseGuard> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.take(name, run, host, ttl, dead).await {
                Ok(()) => break,
                // Somebody else wrote it between our look and our write: look again.
                Err(ClusterError::Conflict { .. }) if tries < TRIES => {}
                Err(error) => return Err(error),
            }
        }
        let (tell, told) = watch::channel(HeldLease::Renewed(Instant::now()));
        let (cluster, own_name, own_run) = (self.clone(), name.to_owned(), run.to_owned());
        let task = tokio::spawn(async move {
            let lost = cluster.keep_renewing(&own_name, &own_run, ttl, &tell).await;
            // Nobody may be listening any more, which is as well.
            let _ = tell.send(HeldLease::Lost(lost.to_string()));
        });
        Ok(LeaseGuard {
            cluster: self.clone(),
            name: name.to_owned(),
            run: run.to_owned(),
            sight: LeaseSight(told),
            task,
        })
    }

    /// The same, but watches the lease of another for as long as it lasts, and takes it over when it was not renewed in
    /// that time. A holder that renews it is alive, and is not waited for.
    ///
    /// # Errors
    /// As [`Cluster::acquire_lease`].
    pub async fn await_lease(
        &self,
        name: &str,
        run: &str,
        host: &str,
        ttl: Duration,
        events: &Events,
    ) -> Result<LeaseGuard> {
        let mut wait =
            Wait::new(format!("lease {name} to run out or be renewed"), LONGEST * 2, events).within(self.namespace());
        let (mut watch, mut dead) = (LeaseWatch::default(), None);
        loop {
            let held = match self.acquire(name, run, host, ttl, dead.as_ref()).await {
                Err(held @ ClusterError::Held { .. }) => held,
                taken => return taken,
            };
            let ClusterError::Held { holder, renewed, lasts, .. } = &held else { return Err(held) };
            let renewal = Renewal { holder: holder.clone(), at: *renewed };
            match watch.see(&renewal, *lasts, Instant::now()) {
                Watched::Alive => return Err(held),
                Watched::Dead => dead = Some(renewal),
                Watched::NotYet => wait.not_yet(Some(held.to_string())).await?,
            }
        }
    }

    /// Says who holds the lease, as the error that taking it would give; `None` when it is free. Whether the holder still
    /// lives is not known by one look.
    ///
    /// # Errors
    /// It may not be read.
    pub async fn lease_holder(&self, name: &str) -> Result<Option<ClusterError>> {
        Ok(self.lease(name).await?.as_ref().and_then(held))
    }

    /// Whether whoever holds the lease `name`, as `held` has it, is at work: watched for half as long as it lasts, it is renewed,
    /// given up, or changes hands. One at work renews it three times in as long as it lasts.
    ///
    /// # Errors
    /// It may not be read.
    pub async fn lease_moves(&self, name: &str, held: &ClusterError, events: &Events) -> Result<bool> {
        let ClusterError::Held { holder, renewed, lasts, .. } = held else { return Ok(false) };
        let first = Some(Renewal { holder: holder.clone(), at: *renewed });
        let (begun, long) = (Instant::now(), (*lasts).min(LONGEST) / 2);
        let mut wait = Wait::new(format!("lease {name} to be renewed"), LONGEST, events);
        while begun.elapsed() < long {
            if self.lease(name).await?.as_ref().and_then(renewal) != first {
                return Ok(true);
            }
            wait.not_yet(Some(held.to_string())).await?;
        }
        Ok(false)
    }

    async fn lease(&self, name: &str) -> Result<Option<Lease>> {
        self.dynamic(ApiResource::erase::<Lease>(&())).get_opt(name).await?.map(parse).transpose()
    }

    async fn take(&self, name: &str, run: &str, host: &str, ttl: Duration, dead: Option<&Renewal>) -> Result<()> {
        let now = clock::now();
        let leases = self.here::<Lease>();
        let Some(mut lease) = self.lease(name).await? else {
            return leases.create(&fresh(name, run, host, ttl, now)).await.map(drop);
        };
        let renewal = renewal(&lease);
        let ours = renewal.as_ref().is_some_and(|renewal| renewal.holder == run);
        if !ours
            && renewal.as_ref() != dead
            && let Some(error) = held(&lease)
        {
            return Err(error);
        }
        let since = lease.spec.as_ref().and_then(|spec| spec.acquire_time.clone()).filter(|_| ours);
        let moves = moves_of(&lease, !ours);
        let new = fresh(name, run, host, ttl, now);
        lease.metadata.annotations.get_or_insert_default().extend(new.metadata.annotations.unwrap_or_default());
        lease.spec = new.spec.map(|spec| LeaseSpec {
            acquire_time: since.or(spec.acquire_time),
            lease_transitions: Some(moves),
            ..spec
        });
        leases.replace(&lease).await.map(drop)
    }

    /// Renews until the lease is lost, and says how. `tell` hears of each time.
    async fn keep_renewing(
        &self,
        name: &str,
        run: &str,
        ttl: Duration,
        tell: &watch::Sender<HeldLease>,
    ) -> ClusterError {
        let mut renewed = Instant::now();
        let mut tick = tokio::time::interval(ttl / 3);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        tick.tick().await;
        loop {
            tick.tick().await;
            match self.renew(name, run).await {
                Ok(()) => {
                    renewed = Instant::now();
                    tell.send_replace(HeldLease::Renewed(renewed));
                }
                Err(error) if error.is_conflict() || error.is_transient() => {
                    if renewed.elapsed() >= ttl {
                        return error;
                    }
                }
                Err(error) => return error,
            }
        }
    }

    async fn renew(&self, name: &str, run: &str) -> Result<()> {
        let leases = self.here::<Lease>();
        let mut lease = self.lease(name).await?.unwrap_or_default();
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(run) {
            return Err(
                held(&lease).unwrap_or_else(|| ClusterError::NotFound { ask: Box::new(leases.ask("get", Some(name))) })
            );
        }
        spec.renew_time = Some(MicroTime(clock::now()));
        leases.replace(&lease).await.map(drop)
    }
}

impl LeaseGuard {
    /// Why the lease was lost, if it was: before each irreversible act a run must find `None` here.
    pub fn lost(&self) -> Option<String> {
        match &*self.sight.0.borrow() {
            HeldLease::Renewed(_) => None,
            HeldLease::Lost(why) => Some(why.clone()),
        }
    }

    /// What sees the lease go while other work is waited for.
    pub fn sight(&self) -> LeaseSight {
        self.sight.clone()
    }

    /// Gives the lease up, so that the next run need not wait. A lease that is no longer ours is left alone.
    ///
    /// # Errors
    /// It may not be read or deleted; it then runs out by itself.
    pub async fn release(self) -> Result<()> {
        self.task.abort();
        let leases = self.cluster.here::<Lease>();
        let mut tries = 1;
        loop {
            let Some(lease) = self.cluster.lease(&self.name).await? else { return Ok(()) };
            if lease.spec.and_then(|spec| spec.holder_identity).as_deref() != Some(&self.run) {
                return Ok(());
            }
            // Only the version that we saw is deleted: never one that somebody has taken over since. A renewal that was on
            // its way may come in between: then it is ours still.
            let preconditions =
                Preconditions { resource_version: lease.metadata.resource_version, uid: lease.metadata.uid };
            match leases.delete(&self.name, &DeleteParams::default().preconditions(preconditions)).await {
                Err(ClusterError::Conflict { .. }) if tries < TRIES => tries += 1,
                deleted => return deleted.map(drop),
            }
        }
    }
}

impl Drop for LeaseGuard {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn fresh(name: &str, run: &str, host: &str, ttl: Duration, now: Timestamp) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([(MANAGED_BY.to_owned(), MANAGER.to_owned())].into()),
            annotations: Some([(HOST.to_owned(), host.to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(run.to_owned()),
            lease_duration_seconds: Some(i32::try_from(ttl.as_secs().max(1)).unwrap_or(i32::MAX)),
            acquire_time: Some(MicroTime(now)),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(0),
            ..LeaseSpec::default()
        }),
    }
}

/// A lease, whatever stands in its times: the API server takes years that are none here, and who has written one holds
/// the lease all the same.
fn parse(object: DynamicObject) -> Result<Lease> {
    let odd =
        |error: serde_json::Error| ClusterError::Unexpected { act: "read a lease".into(), cause: error.to_string() };
    let mut lease = serde_json::to_value(object).map_err(odd)?;
    for time in ["acquireTime", "renewTime"] {
        let is_time = |value: &Value| serde_json::from_value::<MicroTime>(value.clone()).is_ok();
        if let Some(value) = lease.pointer_mut(&format!("/spec/{time}")).filter(|value| !is_time(value)) {
            *value = Value::Null;
        }
    }
    // Whoever may write a lease writes the names that messages then tell: they stay on their line.
    for name in [format!("/metadata/annotations/{}", HOST.replace('/', "~1")), "/spec/holderIdentity".to_owned()] {
        if let Some(Value::String(text)) = lease.pointer_mut(&name) {
            *text = text.chars().map(|c| if c.is_control() { '?' } else { c }).take(LONGEST_NAME).collect();
        }
    }
    serde_json::from_value(lease).map_err(odd)
}

/// How often the lease has changed hands, with this time. Anybody may have written any number there.
fn moves_of(lease: &Lease, changes_hands: bool) -> i32 {
    let so_far = lease.spec.as_ref().and_then(|spec| spec.lease_transitions).unwrap_or_default();
    so_far.max(0).saturating_add(i32::from(changes_hands))
}

/// The last renewal of a lease; `None` when nobody holds it.
fn renewal(lease: &Lease) -> Option<Renewal> {
    let spec = lease.spec.as_ref()?;
    let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty())?;
    let at = spec.renew_time.as_ref().or(spec.acquire_time.as_ref());
    Some(Renewal { holder, at: at.map_or(Timestamp::UNIX_EPOCH, |time| time.0) })
}

fn held(lease: &Lease) -> Option<ClusterError> {
    let Renewal { holder, at } = renewal(lease)?;
    let spec = lease.spec.as_ref()?;
    let host = lease.metadata.annotations.as_ref().and_then(|annotations| annotations.get(HOST));
    let lasts = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|s| *s > 0);
    Some(ClusterError::Held {
        lease: format!("lease {}", lease.metadata.name.as_deref().unwrap_or_default()).into(),
        holder,
        host: host.map_or("an unknown host", String::as_str).into(),
        since: spec.acquire_time.as_ref().or(spec.renew_time.as_ref()).map(|time| time.0),
        renewed: at,
        lasts: lasts.map_or(TTL, Duration::from_secs).min(LONGEST),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn lease() -> Lease {
        fresh("dr-opschain", "20261123-080000-ab12", "ops1", Duration::from_secs(60), at("2026-11-23T08:00:00Z"))
    }

    #[test]
    fn a_holder_is_dead_when_nothing_was_renewed_in_the_time_that_passes_here() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        // The clock of its host is years behind, or ahead: it is never read.
        for clock in ["2001-01-01T00:00:00Z", "2099-01-01T00:00:00Z"] {
            let seen = Renewal { holder: "create-1".into(), at: at(clock) };
            let mut watch = LeaseWatch::default();
            assert_eq!(watch.see(&seen, TTL, after(0)), Watched::NotYet);
            assert_eq!(watch.see(&seen, TTL, after(59)), Watched::NotYet);
            assert_eq!(watch.see(&seen, TTL, after(60)), Watched::Dead);
            let renewed = Renewal { at: at("2026-11-23T08:00:00Z"), ..seen.clone() };
            let other = Renewal { holder: "create-2".into(), ..seen.clone() };
            for alive in [renewed, other] {
                let mut watch = LeaseWatch::default();
                watch.see(&seen, TTL, after(0));
                assert_eq!(watch.see(&alive, TTL, after(20)), Watched::Alive);
            }
        }
    }

    #[test]
    fn what_others_write_into_a_lease_ends_nothing_and_breaks_no_line() {
        let object = serde_json::json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "dr-opschain", "annotations": {HOST: "x\ny"}},
            "spec": {"holderIdentity": "restore-1; rm\n\u{1b}[31m", "leaseTransitions": i32::MAX, "renewTime": "9999"}});
        let lease = parse(serde_json::from_value(object).unwrap()).unwrap();
        assert_eq!(moves_of(&lease, true), i32::MAX);
        let Some(ClusterError::Held { holder, host, .. }) = held(&lease) else { panic!("{lease:?}") };
        assert_eq!((holder.as_str(), &*host), ("restore-1; rm??[31m", "x?y"));
        assert_eq!(renewal(&lease).unwrap().holder, holder, "or nobody could ever take it over");
    }

    #[test]
    fn a_lease_that_nobody_holds_is_free() {
        let mut lease = lease();
        lease.spec.as_mut().unwrap().holder_identity = Some(String::new());
        assert!(held(&lease).is_none());
        assert!(held(&Lease::default()).is_none());
    }

    #[test]
    fn a_held_lease_names_run_host_and_since_when() {
        let text = held(&lease()).unwrap().to_string();
        assert_eq!(text, "20261123-080000-ab12 on ops1 holds lease dr-opschain since 2026-11-23T08:00:00Z");
    }

    #[test]
    fn a_lease_whose_times_cannot_be_read_is_held_and_says_so() {
        let mut object = serde_json::to_value(lease()).unwrap();
        for time in ["acquireTime", "renewTime"] {
            object["spec"][time] = "9999-12-31T23:59:59.000000Z".into();
        }
        let lease = parse(serde_json::from_value(object).unwrap()).unwrap();
        let text = held(&lease).unwrap().to_string();
        assert_eq!(text, "20261123-080000-ab12 on ops1 holds lease dr-opschain since a time that cannot be read");
        assert_eq!(renewal(&lease).unwrap().at, Timestamp::UNIX_EPOCH);
    }
}
