//! Blocks that Kubernetes, PostgreSQL and PgBouncer define, wherever a chart takes them: names in them that are written
//! almost like one that is known. The chart leaves most of them empty, so its own values do not tell.

use std::collections::HashSet;

use super::finding::{LintFinding, finding};
use super::key_tree::Context;
use super::names::{SETTINGS, VOLUME};
use super::near::KnownNames;
use crate::yaml::{Entry, Node, NodeKind, Path, Segment, Tree};

/// A block by the names that it goes by, and the names in it.
struct Block {
    names: &'static [&'static str],
    keys: &'static [&'static str],
    /// Whether nothing else may stand in it. Charts put keys of their own into some.
    is_closed: bool,
    /// Whether only a list of this name holds it: a map of it has names of its own.
    is_listed: bool,
}

const fn block(names: &'static [&'static str], keys: &'static [&'static str]) -> Block {
    Block { names, keys, is_closed: false, is_listed: false }
}

const fn closed(names: &'static [&'static str], keys: &'static [&'static str]) -> Block {
    Block { names, keys, is_closed: true, is_listed: false }
}

const fn listed(names: &'static [&'static str], keys: &'static [&'static str]) -> Block {
    Block { names, keys, is_closed: true, is_listed: true }
}

const BLOCKS: &[Block] = &[
    block(&["resources"], &["requests", "limits", "claims"]),
    block(&["requests", "limits"], &["cpu", "memory", "ephemeral-storage", "storage"]),
    block(
        &["securityContext", "podSecurityContext", "containerSecurityContext"],
        &[
            "runAsUser",
            "runAsGroup",
            "runAsNonRoot",
            "fsGroup",
            "fsGroupChangePolicy",
            "supplementalGroups",
            "supplementalGroupsPolicy",
            "seccompProfile",
            "seLinuxOptions",
            "sysctls",
            "capabilities",
            "privileged",
            "allowPrivilegeEscalation",
            "readOnlyRootFilesystem",
            "procMount",
            "appArmorProfile",
            "windowsOptions",
        ],
    ),
    closed(&["capabilities"], &["add", "drop"]),
    closed(&["seccompProfile", "appArmorProfile"], &["type", "localhostProfile"]),
    block(
        &["livenessProbe", "readinessProbe", "startupProbe"],
        &[
            "httpGet",
            "tcpSocket",
            "exec",
            "grpc",
            "initialDelaySeconds",
            "periodSeconds",
            "timeoutSeconds",
            "failureThreshold",
            "successThreshold",
            "terminationGracePeriodSeconds",
        ],
    ),
    closed(&["httpGet"], &["path", "port", "host", "scheme", "httpHeaders"]),
    closed(&["tolerations"], &["key", "operator", "value", "effect", "tolerationSeconds"]),
    block(&["affinity"], &["nodeAffinity", "podAffinity", "podAntiAffinity"]),
    block(
        &["nodeAffinity", "podAffinity", "podAntiAffinity"],
        &["requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"],
    ),
    block(
        &[
            "requiredDuringSchedulingIgnoredDuringExecution",
            "preferredDuringSchedulingIgnoredDuringExecution",
            "podAffinityTerm",
        ],
        &[
            "nodeSelectorTerms",
            "weight",
            "preference",
            "podAffinityTerm",
            "labelSelector",
            "topologyKey",
            "namespaces",
            "namespaceSelector",
            "matchLabelKeys",
            "mismatchLabelKeys",
        ],
    ),
    closed(&["nodeSelectorTerms", "preference"], &["matchExpressions", "matchFields"]),
    closed(&["labelSelector", "namespaceSelector"], &["matchLabels", "matchExpressions"]),
    closed(&["matchExpressions", "matchFields"], &["key", "operator", "values"]),
    closed(
        &["topologySpreadConstraints"],
        &[
            "maxSkew",
            "topologyKey",
            "whenUnsatisfiable",
            "labelSelector",
            "minDomains",
            "nodeAffinityPolicy",
            "nodeTaintsPolicy",
            "matchLabelKeys",
        ],
    ),
    closed(&["rollingUpdate"], &["maxSurge", "maxUnavailable", "partition"]),
    closed(&["valueFrom"], &["secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef", "fileKeyRef"]),
    closed(&["secretKeyRef", "configMapKeyRef"], &["name", "key", "optional"]),
    closed(&["imagePullSecrets"], &["name"]),
    listed(&["env", "envVars", "extraEnv", "extraEnvVars"], &["name", "value", "valueFrom"]),
    listed(&["envFrom"], &["prefix", "configMapRef", "secretRef"]),
    listed(&["volumes", "extraVolumes"], VOLUME),
    listed(
        &["extraVolumeMounts"],
        &["name", "mountPath", "subPath", "subPathExpr", "readOnly", "mountPropagation", "recursiveReadOnly"],
    ),
    closed(&["hostAliases"], &["ip", "hostnames"]),
    closed(
        &["volumeMounts"],
        &["name", "mountPath", "subPath", "subPathExpr", "readOnly", "mountPropagation", "recursiveReadOnly"],
    ),
    block(&["parameters"], SETTINGS),
];

/// What stands at a place where something was found already is not told again.
pub(super) fn check(tree: &Tree, context: &Context<'_>, findings: &mut Vec<LintFinding>) {
    let told: HashSet<(usize, usize)> = findings
        .iter()
        .filter(|finding| matches!(finding.id, "unknown-key" | "misplaced-key" | "deprecated-key"))
        .map(|finding| (finding.line, finding.column))
        .collect();
    let known = BLOCKS.iter().map(|block| KnownNames::new(block.keys.iter().copied())).collect();
    let mut walk = Walk { context, known, found: Vec::new() };
    walk.map(tree.root(), None, &mut Vec::new());
    findings.extend(walk.found.into_iter().filter(|finding| !told.contains(&(finding.line, finding.column))));
}

struct Walk<'a> {
    context: &'a Context<'a>,
    /// By the place of the block.
    known: Vec<KnownNames<'static>>,
    found: Vec<LintFinding>,
}

impl Walk<'_> {
    /// A map, or each of a list; `block` is the one that it is.
    fn map(&mut self, node: &Node, block: Option<usize>, path: &mut Vec<Segment>) {
        match &node.kind {
            NodeKind::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(Segment::Index(index));
                    self.map(item, block, path);
                    path.pop();
                }
            }
            NodeKind::Map(entries) => {
                for entry in entries.iter().filter(|entry| !entry.merged) {
                    path.push(Segment::Key(entry.key.clone()));
                    if let Some(block) = block {
                        self.key(entry, entries, block, path);
                    }
                    let is_list = matches!(entry.value.kind, NodeKind::List(_));
                    let below = BLOCKS
                        .iter()
                        .position(|block| block.names.contains(&entry.key.as_str()) && (is_list || !block.is_listed));
                    self.map(&entry.value, below, path);
                    path.pop();
                }
            }
            NodeKind::Scalar(_) => {}
        }
    }

    fn key(&mut self, entry: &Entry, beside: &[Entry], block: usize, path: &[Segment]) {
        let (key, names) = (entry.key.as_str(), &self.known[block]);
        if BLOCKS[block].keys.contains(&key) || self.is_the_charts(path) {
            return;
        }
        let mut tell = |id, reason: &str, fix: String| {
            let reason = reason.to_owned();
            self.found.push(LintFinding { reason, fix, ..finding(id, &entry.key_span, Some(&Path(path.to_vec()))) });
        };
        if let Some((first, rest)) = key.split_once('.')
            && BLOCKS[block].keys.contains(&first)
        {
            let reason = "a dot parts no keys in a values file: Helm reads one key that has this name";
            return tell(
                "misplaced-key",
                reason,
                format!("write it as maps, one within the other: {first}: {{{rest}: ...}}"),
            );
        }
        let is_resource = ["cpu", "memory", "ephemeral-storage"].contains(&key.to_ascii_lowercase().as_str());
        if BLOCKS[block].names == ["resources"] && is_resource {
            let fix = format!("it belongs at `requests.{0}` or `limits.{0}`", key.to_ascii_lowercase());
            return tell("misplaced-key", "nothing reads this key here", fix);
        }
        let is_free = |name: &str| {
            // Of a short name, the one that it must be is missing.
            let is_closed = BLOCKS[block].is_closed && key.len() > 3;
            is_closed || !beside.iter().any(|other| other.key == name)
        };
        let least = usize::from(BLOCKS[block].is_closed);
        if let Some(near) = names.in_other_case(key).or_else(|| names.nearest_within(key, least, is_free)) {
            let reason = "nothing reads this key, and one that is written almost like it is known here";
            tell("unknown-key", reason, format!("did you mean `{near}`?"));
        }
    }

    /// Whether the chart itself has this key.
    fn is_the_charts(&self, path: &[Segment]) -> bool {
        let keys: Vec<&str> = path
            .iter()
            .filter_map(|step| match step {
                Segment::Key(key) => Some(key.as_str()),
                _ => None,
            })
            .collect();
        self.context.defaults.is_some_and(|defaults| defaults.get(&keys).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::super::key_tree::KeyFacts;
    use super::*;

    fn said(yaml: &str, defaults: Option<&str>) -> Vec<String> {
        let tree = Tree::parse(yaml.as_bytes()).unwrap();
        let defaults = defaults.map(|text| Tree::parse(text.as_bytes()).unwrap());
        let mut findings = Vec::new();
        let context = Context { defaults: defaults.as_ref(), version: None, facts: &KeyFacts::NONE };
        check(&tree, &context, &mut findings);
        let text = |f: &LintFinding| format!("{} {} {}", f.id, f.path.as_ref().unwrap(), f.fix);
        findings.iter().map(text).collect()
    }

    #[test]
    fn a_near_miss_in_a_deeper_block_is_told_what_was_meant() {
        for (yaml, path, near) in [
            ("api: {resources: {limit: {cpu: 1}}}", "api.resources.limit", "limits"),
            ("api: {resources: {request: {cpu: 1}}}", "api.resources.request", "requests"),
            ("api: {resources: {Limits: {cpu: 1}}}", "api.resources.Limits", "limits"),
            ("api: {resources: {limits: {memmory: 1Gi}}}", "api.resources.limits.memmory", "memory"),
            ("api: {resources: {limits: {Memory: 1Gi}}}", "api.resources.limits.Memory", "memory"),
            (
                "api: {resources: {limits: {ephemeralStorage: 1Gi}}}",
                "api.resources.limits.ephemeralStorage",
                "ephemeral-storage",
            ),
            ("db: {parameters: {max_conections: 1}}", "db.parameters.max_conections", "max_connections"),
            ("db: {parameters: {max-connections: 1}}", "db.parameters.max-connections", "max_connections"),
            ("db: {parameters: {maxConnections: 1}}", "db.parameters.maxConnections", "max_connections"),
            ("db: {parameters: {share_buffers: 1}}", "db.parameters.share_buffers", "shared_buffers"),
            ("pool: {parameters: {default_poolsize: 1}}", "pool.parameters.default_poolsize", "default_pool_size"),
            ("x: {securityContext: {runAsUsr: 1}}", "x.securityContext.runAsUsr", "runAsUser"),
            ("x: {securityContext: {runAsNonroot: true}}", "x.securityContext.runAsNonroot", "runAsNonRoot"),
            (
                "x: {livenessProbe: {initialDelaySecond: 1}}",
                "x.livenessProbe.initialDelaySecond",
                "initialDelaySeconds",
            ),
            ("x: {livenessProbe: {httpget: {}}}", "x.livenessProbe.httpget", "httpGet"),
            ("x: {tolerations: [{key: a, efect: b}]}", "x.tolerations[0].efect", "effect"),
            ("x: {affinity: {nodeAffinty: {}}}", "x.affinity.nodeAffinty", "nodeAffinity"),
            (
                "x: {affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecutions: []}}}",
                "x.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecutions",
                "requiredDuringSchedulingIgnoredDuringExecution",
            ),
            ("x: {topologySpreadConstraints: [{maxskew: 1}]}", "x.topologySpreadConstraints[0].maxskew", "maxSkew"),
            ("env: [{name: A, vale: x}]", "env[0].vale", "value"),
            ("env: [{nmae: A, value: x}]", "env[0].nmae", "name"),
            ("env: [{Name: A, value: x}]", "env[0].Name", "name"),
            ("x: {volumes: [{nme: a, emptyDir: {}}]}", "x.volumes[0].nme", "name"),
            ("x: {volumes: [{name: a, configmap: {}}]}", "x.volumes[0].configmap", "configMap"),
            (
                "x: {extraEnv: [{valueFrom: {secretKeyRef: {nam: s}}}]}",
                "x.extraEnv[0].valueFrom.secretKeyRef.nam",
                "name",
            ),
            (
                "e: [{valueFrom: {secretRefKey: {}}}, {valueFrom: {secretKeyref: {}}}]",
                "e[1].valueFrom.secretKeyref",
                "secretKeyRef",
            ),
        ] {
            assert_eq!(said(yaml, None).last(), Some(&format!("unknown-key {path} did you mean `{near}`?")), "{yaml}");
        }
        let dotted = said("api: {resources: {limits.cpu: 1, memory: 1Gi}}", None);
        assert_eq!(
            dotted,
            [
                "misplaced-key api.resources.\"limits.cpu\" write it as maps, one within the other: limits: {cpu: ...}",
                "misplaced-key api.resources.memory it belongs at `requests.memory` or `limits.memory`"
            ]
        );
    }

    #[test]
    fn what_is_right_the_charts_own_or_somebodys_is_left_alone() {
        for yaml in [
            "api: {resources: {requests: {cpu: 1, memory: 1Gi, nvidia.com/gpu: 1, hugepages-2Mi: 1}, limits: {}}}",
            "db: {parameters: {max_connections: '1', pg_stat_statements.max: '1', auto_explain.log_min_duration: '1', cron.database_name: x}}",
            "x: {livenessProbe: {enabled: true, path: /x, httpGet: {path: /, port: 1}}}",
            "x: {podSecurityContext: {enabled: true, fsGroup: 1}}",
            "kong: {proxy: {parameters: [a, b]}, env: {limits: x, resources: y}}",
            "x: {tolerations: [{key: a, operator: Exists}], affinity: {}}",
            "limits: {maxUploads: 3, minWait: 1}\n",
            "env: {vale: x, nam: y}\nvolumes: {nme: 1Gi}\n",
            "env: [{name: A, value: x}]\nvolumes: [{name: a, pvc: b}]\n",
        ] {
            assert_eq!(said(yaml, None), Vec::<String>::new(), "{yaml}");
        }
        assert!(
            said("api: {resources: {limit: 1}}", Some("api: {resources: {limit: 2}}")).is_empty(),
            "the chart's own"
        );
    }
}
