//! What the quotas and limit ranges of a namespace ask of a pod's claims, and claims that satisfy them.

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Value, json};

use super::error::Result;
use super::kube::Cluster;
use crate::quantity;

/// What one container claims of its node, and may use at most. CPUs, and bytes of memory.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PodClaims {
    pub cpu: f64,
    /// Where it must be limited.
    pub cpu_limit: Option<f64>,
    pub memory: f64,
    pub memory_limit: f64,
}

/// What a namespace asks of the claims of a pod of one container.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PodRules {
    cpu: Rule,
    memory: Rule,
}

/// The rules on one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Rule {
    /// Whether there must be a limit.
    limited: bool,
    /// The highest limit.
    most: Option<f64>,
    /// The lowest claim.
    least: Option<f64>,
    /// How many times its claim a limit may be.
    ratio: Option<f64>,
}

/// The limit on CPUs where there has to be one: more than the copy of a database has been seen to use.
const CPU_LIMIT: f64 = 2.0;
/// Less would starve it: where there is no room for as much, the API server is to say so.
const CPU_FLOOR: f64 = 0.1;

impl PodClaims {
    /// The claims as the rules want them. A memory limit is lowered to no less than `memory_floor`: below it the pod could
    /// not work, and the API server's refusal says more than its death.
    #[must_use]
    pub fn under(self, rules: &PodRules, memory_floor: f64) -> Self {
        let most = |rule: Rule, wanted: f64| rule.most.map_or(wanted, |most| wanted.min(most));
        let memory_limit = most(rules.memory, self.memory_limit).max(memory_floor);
        let limited = rules.cpu.limited || rules.cpu.most.is_some();
        let cpu_limit =
            self.cpu_limit.or_else(|| limited.then(|| most(rules.cpu, CPU_LIMIT.max(self.cpu)).max(CPU_FLOOR)));
        Self {
            cpu: rules.cpu.claim(self.cpu, cpu_limit),
            cpu_limit,
            memory: rules.memory.claim(self.memory, Some(memory_limit)),
            memory_limit,
        }
    }

    /// As a container has them.
    pub(super) fn resources(&self) -> Value {
        let cpu = |cpus: f64| format!("{}m", (cpus * 1000.0).ceil());
        let memory = |bytes: f64| format!("{}Mi", (bytes / MIB).floor());
        let mut limits = json!({"memory": memory(self.memory_limit)});
        if let Some(limit) = self.cpu_limit {
            limits["cpu"] = cpu(limit).into();
        }
        json!({"requests": {"cpu": cpu(self.cpu), "memory": memory(self.memory)}, "limits": limits})
    }
}

/// A mebibyte.
pub(super) const MIB: f64 = 1_048_576.0;

impl Rule {
    fn claim(self, wanted: f64, limit: Option<f64>) -> f64 {
        let by_ratio = limit.zip(self.ratio).map_or(0.0, |(limit, ratio)| limit / ratio);
        let least = wanted.max(self.least.unwrap_or_default()).max(by_ratio);
        limit.map_or(least, |limit| least.min(limit))
    }

    fn cap(&mut self, most: Option<f64>) {
        self.most = [self.most, most].into_iter().flatten().reduce(f64::min);
    }
}

impl PodRules {
    fn add_quota(&mut self, quota: &ResourceQuota) {
        if !counts_helpers(quota) {
            return;
        }
        let of = |map: Option<&std::collections::BTreeMap<String, Quantity>>, name: &str| amount(map?.get(name)?);
        let (hard, used) = (
            quota.spec.as_ref().and_then(|spec| spec.hard.as_ref()),
            quota.status.as_ref().and_then(|status| status.used.as_ref()),
        );
        for (rule, name) in [(&mut self.cpu, "limits.cpu"), (&mut self.memory, "limits.memory")] {
            let Some(hard) = of(hard, name) else { continue };
            rule.limited = true;
            rule.cap(Some((hard - of(used, name).unwrap_or_default()).max(0.0)));
        }
    }

    fn add_range(&mut self, range: &LimitRangeItem) {
        if !matches!(range.type_.as_str(), "Container" | "Pod") {
            return;
        }
        type Part = Option<std::collections::BTreeMap<String, Quantity>>;
        let of = |part: &Part, name: &str| amount(part.as_ref()?.get(name)?);
        for (rule, name) in [(&mut self.cpu, "cpu"), (&mut self.memory, "memory")] {
            rule.cap(of(&range.max, name));
            // A limit that is given to who has none may be less than what is claimed.
            rule.limited |= of(&range.default, name).is_some();
            rule.least = [rule.least, of(&range.min, name)].into_iter().flatten().reduce(f64::max);
            rule.ratio = [rule.ratio, of(&range.max_limit_request_ratio, name)].into_iter().flatten().reduce(f64::min);
        }
    }
}

/// Whether the quota counts pods that have a deadline and claims. One for certain priorities says nothing by its scope
/// alone, and is left to the API server.
fn counts_helpers(quota: &ResourceQuota) -> bool {
    let spec = quota.spec.as_ref();
    let scopes = spec.and_then(|spec| spec.scopes.as_ref());
    let by_terms = spec.is_some_and(|spec| spec.scope_selector.is_some());
    !by_terms && scopes.into_iter().flatten().all(|scope| matches!(scope.as_str(), "Terminating" | "NotBestEffort"))
}

fn amount(quantity: &Quantity) -> Option<f64> {
    quantity::parse_text(&quantity.0)
}

impl Cluster {
    /// What the namespace asks of a pod's claims. What may not be read asks nothing: the API server will say.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub async fn pod_rules(&self) -> Result<PodRules> {
        let mut rules = PodRules::default();
        for quota in readable(self.here::<ResourceQuota>().list(None).await)? {
            rules.add_quota(&quota);
        }
        for range in readable(self.here::<LimitRange>().list(None).await)? {
            range.spec.iter().flat_map(|spec| &spec.limits).for_each(|item| rules.add_range(item));
        }
        Ok(rules)
    }
}

fn readable<T>(listed: Result<Vec<T>>) -> Result<Vec<T>> {
    match listed {
        Err(error) if error.is_forbidden() => Ok(Vec::new()),
        listed => listed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: PodClaims = PodClaims { cpu: 0.1, cpu_limit: None, memory: 128.0 * MIB, memory_limit: 1792.0 * MIB };
    const FLOOR: f64 = 256.0 * MIB;

    fn rules(quotas: &[Value], ranges: &[Value]) -> PodRules {
        let mut rules = PodRules::default();
        for quota in quotas {
            rules.add_quota(&serde_json::from_value(quota.clone()).unwrap());
        }
        for range in ranges {
            rules.add_range(&serde_json::from_value(range.clone()).unwrap());
        }
        rules
    }

    fn claims(quotas: &[Value], ranges: &[Value]) -> Value {
        WANTED.under(&rules(quotas, ranges), FLOOR).resources()
    }

    #[test]
    fn without_rules_little_is_claimed_and_no_cpu_is_limited() {
        let free = json!({"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "1792Mi"}});
        assert_eq!(claims(&[], &[]), free);
        let other_priority = json!({"spec": {"hard": {"limits.cpu": "1"}, "scopes": ["BestEffort"]}});
        assert_eq!(claims(&[other_priority], &[]), free);
    }

    #[test]
    fn a_quota_gets_the_limits_that_it_asks_for_within_the_room_that_it_has() {
        let quota = json!({
            "spec": {"hard": {"limits.cpu": "4", "limits.memory": "8Gi", "pods": "20"}},
            "status": {"used": {"limits.cpu": "2500m", "limits.memory": "7Gi"}},
        });
        let seen = claims(&[quota], &[]);
        assert_eq!(seen["limits"], json!({"cpu": "1500m", "memory": "1024Mi"}));
        let full = json!({
            "spec": {"hard": {"limits.memory": "1Gi"}},
            "status": {"used": {"limits.memory": "1Gi"}},
        });
        assert_eq!(claims(&[full], &[])["limits"]["memory"], "256Mi", "less would not do: the quota is to say so");
    }

    #[test]
    fn a_limit_range_is_kept_from_both_sides_and_in_its_ratio() {
        let range = json!({
            "type": "Container",
            "max": {"cpu": "1", "memory": "1Gi"},
            "min": {"cpu": "200m", "memory": "64Mi"},
            "maxLimitRequestRatio": {"memory": "4"},
        });
        let seen = claims(&[], &[range]);
        let wanted =
            json!({"requests": {"cpu": "200m", "memory": "256Mi"}, "limits": {"cpu": "1000m", "memory": "1024Mi"}});
        assert_eq!(seen, wanted);
        let small_default = json!({"type": "Container", "default": {"cpu": "50m"}});
        assert_eq!(
            claims(&[], &[small_default])["limits"]["cpu"],
            "2000m",
            "and not 50m, which is less than is claimed"
        );
        let claims_of_volumes = json!({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}});
        assert_eq!(rules(&[], &[claims_of_volumes]), PodRules::default());
    }
}
