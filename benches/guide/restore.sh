# shellcheck shell=bash disable=SC2044,SC2154
# The manual guide's recovery, step by step. Sourced by ../guide-vs-dr, like backup.sh.
#
# Where the guide says to watch, the soonest dependable condition is waited for; its "runs normally for a few minutes" is
# not. Its list of pods without a database is also what stands there before the operator has begun, so step 1 waits for the
# operator's own word, the condition cnpg.io/hibernation.

# guide_restore FOLDER: into an empty namespace.
guide_restore() {
    local archives
    archives=$(find "$1" -name base.tar.gz -printf '%h\n')
    phase "helm install, stopped and asleep" guide_deploy --set stopped=true --set stopDatabase=true
    phase "scale the secret vault to 0" kubectl scale statefulset opschain-secret-vault --replicas=0 -n "$NAMESPACE"
    phase "1 wait until the database is made and sleeps" guide_asleep
    phase "2 start the recovery pod" guide_recovery_pod
    phase "2 kubectl cp into it" guide_send "$archives"
    phase "3 clear, extract, chown" guide_extract
    phase "4 pg_controldata" guide_control
    phase "5 helm upgrade, database awake" guide_deploy --set stopped=true
    phase "5 wait until the database serves" guide_awake
    phase "6 helm upgrade, everything on" guide_deploy
    phase "6 secret vault back, wait until all serve" guide_serve
    phase "7 clean up" guide_clean
}

guide_deploy() {
    helm upgrade --install opschain "$CHART" --version "$CHART_VERSION" -n "$NAMESPACE" --create-namespace -f "$WORK/values.yaml" "$@"
}

guide_asleep() {
    # The Cluster is there as soon as helm returns; the condition comes when the operator has put it to sleep.
    kubectl wait "cluster.postgresql.cnpg.io/$CLUSTER" --for=condition=cnpg.io/hibernation --timeout=600s -n "$NAMESPACE"
}

# The guide keeps the shell of `kubectl run --rm -it` open for all of the recovery, and types into it. A script has no
# terminal: the same pod is started without being attached to, and each line goes in by exec.
guide_recovery_pod() {
    kubectl run restore-from-backup --restart=Never --image="$IMAGE" -n "$NAMESPACE" --overrides='{
      "spec": {
        "securityContext": {"runAsUser": 0, "runAsGroup": 0},
        "containers": [{
          "name": "restore", "image": "'"$IMAGE"'", "command": ["/bin/bash"], "stdin": true, "tty": true,
          "volumeMounts": [{"name": "pgdata", "mountPath": "/var/lib/postgresql/data"}]
        }],
        "volumes": [{"name": "pgdata", "persistentVolumeClaim": {"claimName": "'"$CLUSTER"'-1"}}]
      }
    }'
    kubectl wait pod/restore-from-backup --for=condition=Ready --timeout=300s -n "$NAMESPACE"
}

in_recovery_pod() { kubectl exec restore-from-backup -n "$NAMESPACE" -- /bin/bash -ec "$1"; }

guide_send() {
    local file
    for file in $(find "$1" -type f); do
        kubectl cp "$file" "restore-from-backup:/tmp/$(basename "$file")" -n "$NAMESPACE"
    done
    in_recovery_pod 'ls -lah /tmp'
}

guide_extract() {
    in_recovery_pod 'rm -rf /var/lib/postgresql/data/pgdata/*'
    in_recovery_pod 'tar xzvf /tmp/base.tar.gz -C /var/lib/postgresql/data/pgdata/'
    in_recovery_pod 'tar xzvf /tmp/pg_wal.tar.gz -C /var/lib/postgresql/data/pgdata/pg_wal'
    in_recovery_pod 'chown -R 26:26 /var/lib/postgresql/data/pgdata'
}

guide_control() {
    in_recovery_pod 'pg_controldata /var/lib/postgresql/data/pgdata/' | grep -E 'cluster state: +in production'
}

guide_awake() {
    kubectl wait "pod/$CLUSTER-1" --for=create --timeout=300s -n "$NAMESPACE"
    kubectl wait "pod/$CLUSTER-1" --for=condition=Ready --timeout=600s -n "$NAMESPACE"
    kubectl logs "pod/$CLUSTER-1" -n "$NAMESPACE" | grep 'database system is ready to accept connections'
}

guide_serve() {
    kubectl scale statefulset opschain-secret-vault --replicas="$VAULTS" -n "$NAMESPACE"
    serving
}

guide_clean() {
    in_recovery_pod 'rm -f /tmp/base.tar.gz /tmp/pg_wal.tar.gz /tmp/backup_manifest'
    kubectl delete pod restore-from-backup --now -n "$NAMESPACE"
}
