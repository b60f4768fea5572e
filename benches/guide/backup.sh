# shellcheck shell=bash disable=SC2044,SC2154
# The manual guide's backup, step by step, as a careful operator types it. Sourced by ../guide-vs-dr, which has
# `phase NAME COMMAND...` (runs and times it), $NAMESPACE, $CLUSTER, $IMAGE, $WORK.
#
# Two waits are added that the guide leaves to the eye: for the backup pod to run before it is entered, and in the end for
# the API to serve. Replica counts are those of the values, as the guide says to look up.

# guide_backup FOLDER: leaves base.tar.gz, pg_wal.tar.gz and backup_manifest in a folder below it.
guide_backup() {
    rm -rf "$1"
    phase "1 stop API and workers" guide_stop
    phase "2 start the backup pod" guide_pod
    phase "3 pg_basebackup" guide_basebackup
    phase "4 kubectl cp to the host" guide_copy "$1"
    phase "4 delete the backup pod" kubectl delete pod backup-helper -n "$NAMESPACE"
    phase "5 start API and workers" guide_start
    phase "5 wait until they serve" serving
}

guide_stop() {
    kubectl scale deployment opschain-api --replicas=0 -n "$NAMESPACE"
    kubectl scale deployment opschain-api-worker --replicas=0 -n "$NAMESPACE"
}

guide_pod() {
    sed "s|IMAGE|$IMAGE|; s|CLUSTER|$CLUSTER|" "$BENCH_DIR/guide/backup-helper.yaml" >"$WORK/backup-helper.yaml"
    kubectl apply -f "$WORK/backup-helper.yaml" -n "$NAMESPACE"
    kubectl wait pod/backup-helper --for=condition=Ready --timeout=300s -n "$NAMESPACE"
}

# What is typed in the pod, in one shell, as the variables demand.
guide_basebackup() {
    kubectl exec -i pod/backup-helper -n "$NAMESPACE" -- /bin/bash -e <<IN_THE_POD
mkdir -p /opt/backup
BACKUP_DATE=\$(date +%Y%m%d_%H%M%S)
BACKUP_DIR="/opt/backup/\${BACKUP_DATE}"
pg_basebackup -h $CLUSTER-rw -U streaming_replica -D "\$BACKUP_DIR" -Ft -z --compress=6 -P -v --wal-method=stream --checkpoint=fast --max-rate=100M
ls -lah "\$BACKUP_DIR"
for file in backup_manifest base.tar.gz pg_wal.tar.gz; do test -s "\$BACKUP_DIR/\$file"; done
IN_THE_POD
}

guide_copy() {
    mkdir -p "$1"
    kubectl cp backup-helper:/opt/backup -n "$NAMESPACE" "$1/"
    ls -lahR "$1"
}

guide_start() {
    kubectl scale deployment opschain-api --replicas="$API" -n "$NAMESPACE"
    kubectl scale deployment opschain-api-worker --replicas="$WORKERS" -n "$NAMESPACE"
}
