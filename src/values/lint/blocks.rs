//! Blocks that Kubernetes, PostgreSQL and PgBouncer define, wherever a chart takes them: names in them that are written
//! almost like one that is known. The chart leaves most of them empty, so its own values do not tell.

use std::collections::HashSet;

use super::finding::{LintFinding, finding};
use super::key_tree::Context;
use super::near::KnownNames;
use crate::yaml::{Entry, Node, NodeKind, Path, Segment, Tree};

/// A block by the names that it goes by, and the names in it.
struct Block {
    names: &'static [&'static str],
    keys: &'static [&'static str],
    /// Whether nothing else may stand in it. Charts put keys of their own into some.
    is_closed: bool,
}

const fn block(names: &'static [&'static str], keys: &'static [&'static str]) -> Block {
    Block { names, keys, is_closed: false }
}

const fn closed(names: &'static [&'static str], keys: &'static [&'static str]) -> Block {
    Block { names, keys, is_closed: true }
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
    closed(&["hostAliases"], &["ip", "hostnames"]),
    closed(
        &["volumeMounts"],
        &["name", "mountPath", "subPath", "subPathExpr", "readOnly", "mountPropagation", "recursiveReadOnly"],
    ),
    block(&["parameters"], SETTINGS),
];

/// Settings of PostgreSQL and of PgBouncer that people set.
const SETTINGS: &[&str] = &[
    "max_connections",
    "superuser_reserved_connections",
    "shared_buffers",
    "work_mem",
    "hash_mem_multiplier",
    "maintenance_work_mem",
    "autovacuum_work_mem",
    "temp_buffers",
    "effective_cache_size",
    "effective_io_concurrency",
    "maintenance_io_concurrency",
    "random_page_cost",
    "seq_page_cost",
    "cpu_tuple_cost",
    "default_statistics_target",
    "max_worker_processes",
    "max_parallel_workers",
    "max_parallel_workers_per_gather",
    "max_parallel_maintenance_workers",
    "max_wal_size",
    "min_wal_size",
    "wal_buffers",
    "wal_compression",
    "wal_keep_size",
    "wal_level",
    "wal_log_hints",
    "wal_sender_timeout",
    "wal_receiver_timeout",
    "wal_writer_delay",
    "max_wal_senders",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "max_logical_replication_workers",
    "checkpoint_timeout",
    "checkpoint_completion_target",
    "checkpoint_warning",
    "archive_mode",
    "archive_timeout",
    "archive_command",
    "restore_command",
    "synchronous_commit",
    "synchronous_standby_names",
    "commit_delay",
    "commit_siblings",
    "full_page_writes",
    "fsync",
    "hot_standby",
    "hot_standby_feedback",
    "max_standby_streaming_delay",
    "max_standby_archive_delay",
    "autovacuum",
    "autovacuum_max_workers",
    "autovacuum_naptime",
    "autovacuum_vacuum_scale_factor",
    "autovacuum_vacuum_threshold",
    "autovacuum_analyze_scale_factor",
    "autovacuum_analyze_threshold",
    "autovacuum_vacuum_cost_delay",
    "autovacuum_vacuum_cost_limit",
    "autovacuum_freeze_max_age",
    "vacuum_cost_delay",
    "vacuum_cost_limit",
    "bgwriter_delay",
    "bgwriter_lru_maxpages",
    "bgwriter_lru_multiplier",
    "log_min_duration_statement",
    "log_min_messages",
    "log_min_error_statement",
    "log_statement",
    "log_duration",
    "log_connections",
    "log_disconnections",
    "log_lock_waits",
    "log_temp_files",
    "log_checkpoints",
    "log_autovacuum_min_duration",
    "log_line_prefix",
    "log_timezone",
    "log_destination",
    "log_directory",
    "log_filename",
    "log_rotation_age",
    "log_rotation_size",
    "logging_collector",
    "log_hostname",
    "log_error_verbosity",
    "track_activity_query_size",
    "track_io_timing",
    "track_functions",
    "track_counts",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
    "deadlock_timeout",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "tcp_keepalives_count",
    "tcp_user_timeout",
    "huge_pages",
    "dynamic_shared_memory_type",
    "shared_memory_type",
    "shared_preload_libraries",
    "max_locks_per_transaction",
    "max_pred_locks_per_transaction",
    "max_prepared_transactions",
    "max_files_per_process",
    "max_stack_depth",
    "password_encryption",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "ssl_ciphers",
    "jit",
    "timezone",
    "datestyle",
    "intervalstyle",
    "lc_messages",
    "default_text_search_config",
    "default_transaction_isolation",
    "search_path",
    "row_security",
    "event_source",
    "temp_file_limit",
    "default_toast_compression",
    // PgBouncer
    "default_pool_size",
    "min_pool_size",
    "reserve_pool_size",
    "reserve_pool_timeout",
    "max_client_conn",
    "max_db_connections",
    "max_user_connections",
    "pool_mode",
    "server_reset_query",
    "server_check_delay",
    "server_check_query",
    "server_lifetime",
    "server_idle_timeout",
    "server_connect_timeout",
    "server_login_retry",
    "server_round_robin",
    "client_login_timeout",
    "client_idle_timeout",
    "query_timeout",
    "query_wait_timeout",
    "cancel_wait_timeout",
    "idle_transaction_timeout",
    "suspend_timeout",
    "autodb_idle_timeout",
    "ignore_startup_parameters",
    "max_prepared_statements",
    "max_packet_size",
    "pkt_buf",
    "listen_backlog",
    "application_name_add_host",
    "disable_pqexec",
    "dns_max_ttl",
    "dns_nxdomain_ttl",
    "stats_period",
    "verbose",
    "tcp_keepalive",
    "tcp_keepcnt",
    "tcp_keepidle",
    "tcp_keepintvl",
    "log_pooler_errors",
    "log_stats",
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
                    let below = BLOCKS.iter().position(|block| block.names.contains(&entry.key.as_str()));
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
        let is_free = |name: &str| BLOCKS[block].is_closed || !beside.iter().any(|other| other.key == name);
        if let Some(near) = names.in_other_case(key).or_else(|| names.nearest(key, is_free)) {
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
        ] {
            assert_eq!(said(yaml, None), Vec::<String>::new(), "{yaml}");
        }
        assert!(
            said("api: {resources: {limit: 1}}", Some("api: {resources: {limit: 2}}")).is_empty(),
            "the chart's own"
        );
    }
}
