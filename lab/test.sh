#!/bin/bash
# Proves the lab: `lab/test.sh quick` on the site in use (brought up when it is down, nothing of it is destroyed),
# `lab/test.sh all` also the life cycle, on a site of its own that is gone afterwards.
# A line for each outcome, `ok` or `FAILED`; exits 1 when one failed. Every wait has a bound and ends with its condition.
set -uo pipefail
LAB_DIR=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
LAB=$LAB_DIR/lab
SPARE_SITE=${DR_LAB_TEST_SITE:-f}
export DR_LAB_SITE=${DR_LAB_SITE:-a}
FAILURES=0
OUTPUT=$(mktemp)
trap 'rm -f "$OUTPUT" "$OUTPUT.err"' EXIT

# expect OUTCOME COMMAND...: the command must succeed within five minutes; `up` of a cold lab has its own bound.
expect() {
    local outcome=$1 began=$SECONDS
    shift
    if "$@" >"$OUTPUT" 2>&1; then
        echo "ok      $outcome ($((SECONDS - began)) s)"
    else
        echo "FAILED  $outcome"
        sed 's/^/        /' "$OUTPUT" | tail -n 20
        FAILURES=$((FAILURES + 1))
    fi
}

# poll SECONDS COMMAND...
poll() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.3
    done
}

kube() { "$LAB" run -- kubectl --request-timeout=30s "$@"; }
in_pod() { kube exec lab-test -- bash -c "$1"; }

# --- quick: the cluster works -----------------------------------------------------------------------------

versions_agree() {
    . "$LAB_DIR/versions"
    grep -q "k8s.io/kubernetes v$KUBERNETES$" "$LAB_DIR/kube/go.mod" &&
        grep -q "distribution/v3 v$REGISTRY\b" "$LAB_DIR/registry/go.mod" &&
        grep -q "cloudnative-pg v$CNPG_DEFAULT\b" "$LAB_DIR/cnpg-$CNPG_DEFAULT/go.mod" &&
        grep -q "helm.sh/helm/v3 v$HELM3\b" "$LAB_DIR/helm3/go.mod" &&
        grep -q "versity/versitygw v$VERSITYGW\b" "$LAB_DIR/versitygw/go.mod" &&
        grep -q "prometheus/prometheus v$PROMTOOL\b" "$LAB_DIR/promtool/go.mod"
}

pod_starts() {
    kube delete pod,pvc --ignore-not-found lab-test --now >/dev/null
    "$LAB" run -- bash -c 'sed "s/VERSION/$LAB_PG_VERSION/" | kubectl create -f -' <<'MANIFEST' || return 1
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: lab-test}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 10Mi}}
---
apiVersion: v1
kind: Pod
metadata: {name: lab-test}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: shell
      image: limepoint/opschain-db:VERSION
      imagePullPolicy: Always
      command: [bash, -c, "echo hello from $(id -u); exec sleep infinity"]
      volumeMounts: [{name: data, mountPath: /data}]
  securityContext: {fsGroup: 26}
  volumes: [{name: data, persistentVolumeClaim: {claimName: lab-test}}]
MANIFEST
    kube wait --for=condition=Ready pod/lab-test --timeout=90s --request-timeout=100s
}

has_log() { kube logs lab-test | grep -q 'hello from 26'; }

# The digest that the pod runs is the one that the registry gives for the tag.
image_is_from_registry() {
    local running served
    running=$(kube get pod lab-test -o 'jsonpath={.status.containerStatuses[0].imageID}') || return 1
    served=$("$LAB" run -- bash -c 'curl -sS --cacert "$SSL_CERT_FILE" -I -o /dev/null -w "%header{docker-content-digest}" \
        -H "Accept: application/vnd.oci.image.manifest.v1+json" \
        "https://$LAB_REGISTRY/v2/limepoint/opschain-db/manifests/$LAB_PG_VERSION"') || return 1
    echo "running $running, served $served"
    [ -n "$served" ] && [ "${running#*@}" = "$served" ]
}

dns_answers() { in_pod 'getent hosts kubernetes.default.svc.cluster.local'; }

# TLS up to the certificate of the API server, through the service's address and kube-proxy's rules.
service_answers() {
    in_pod 'openssl s_client -connect kubernetes.default.svc:443 -CAfile /run/secrets/kubernetes.io/serviceaccount/ca.crt \
        -verify_return_error -verify_hostname kubernetes.default.svc </dev/null'
}

volume_keeps() {
    in_pod 'echo kept >/data/file && sync && test "$(cat /data/file)" = kept' &&
        [ "$(kube get pvc lab-test -o 'jsonpath={.spec.storageClassName} {.status.phase}')" = "folder Bound" ]
}

# 198.51.100.1 is an address for documentation. It must be refused for want of a route, not by silence.
no_way_out() {
    local answer
    answer=$(in_pod 'timeout 5 bash -c "echo >/dev/tcp/198.51.100.1/80" 2>&1')
    echo "from a pod: $answer"
    grep -qi 'unreachable\|no route' <<<"$answer" || return 1
    ! "$LAB" run -- ip route get 198.51.100.1
}

operator_validates() {
    local answer
    answer=$(sed 's/instances: 1/instances: 0/' "$LAB_DIR/manifests/probe.yaml" | kube create --dry-run=server -f - 2>&1)
    echo "$answer"
    grep -q 'instances' <<<"$answer" && kube create --dry-run=server -f "$LAB_DIR/manifests/probe.yaml"
}

chart_pulls() {
    local release fixtures=${DR_LAB_FIXTURES:-$LAB_DIR/../fixtures} folder dots
    release=$(sed '/^[[:space:]]*\(#\|$\)/d' "$fixtures/standin/releases" | head -n1) || return 1
    dots=${release//-/.}
    folder=$(mktemp -d)
    "$LAB" run -- bash -c 'cd "$1" && helm pull "oci://$LAB_REGISTRY/limepoint/opschain" --version "$2"' - "$folder" \
        "${dots//.0/.}" && tar -tzf "$folder"/*.tgz opschain/Chart.yaml
    local status=$?
    rm -rf "$folder"
    return "$status"
}

warm_up_is_quick() {
    local began=$SECONDS
    "$LAB" up && [ $((SECONDS - began)) -le 60 ]
}

# A site that was never up: exit 3, within two seconds, and the command was not run.
down_lab_refuses() {
    local began=$SECONDS status proof
    proof=$(mktemp -u)
    DR_LAB_SITE=$SPARE_SITE "$LAB" run -- touch "$proof"
    status=$?
    [ "$status" = 3 ] && [ $((SECONDS - began)) -le 2 ] && [ ! -e "$proof" ]
}

wrong_words_are_refused() {
    local status
    "$LAB" fly; status=$?
    [ "$status" = 2 ] || return 1
    DR_LAB_SITE=zz "$LAB" status; status=$?
    [ "$status" = 2 ] || return 1
    DR_LAB_CNPG=0.1 "$LAB" status; status=$?
    [ "$status" = 2 ]
}

# Root without the rights over networks and mounts, as in an unprivileged container.
unfit_machine_is_refused() {
    local status
    DR_LAB_SITE=$SPARE_SITE setpriv --bounding-set=-sys_admin,-net_admin --inh-caps=-all "$LAB" up 2>"$OUTPUT.err"
    status=$?
    cat "$OUTPUT.err"
    [ "$status" = 4 ] && grep -q CAP_SYS_ADMIN "$OUTPUT.err" && [ ! -e "/run/netns/dr-lab-$SPARE_SITE" ]
}

quick() {
    expect "versions are the ones of the go.mod files" versions_agree
    expect "up" "$LAB" up
    expect "status says that all runs" "$LAB" status
    expect "a pod starts, as user 26, on a volume made for it" pod_starts
    expect "its log is read" poll 10 has_log
    expect "its image is pulled from the lab's registry" image_is_from_registry
    expect "exec, and DNS of a service" dns_answers
    expect "a service's address leads to its server" service_answers
    expect "the volume is of the default class and keeps a file" volume_keeps
    expect "nothing inside reaches out" no_way_out
    expect "the operator's webhooks let right through and refuse wrong" operator_validates
    expect "the chart is pulled by version, with no flags" chart_pulls
    expect "up again is quick" warm_up_is_quick
    expect "run against a down lab fails at once and runs nothing" down_lab_refuses
    expect "wrong words are refused" wrong_words_are_refused
    expect "a machine that does not fit is refused, with the reason" unfit_machine_is_refused
    kube delete pod,pvc lab-test --now >/dev/null 2>&1
}

# --- all: the life of a site ------------------------------------------------------------------------------

site_pids() {
    { ip netns pids "dr-lab-$SPARE_SITE"
        find /sys/fs/cgroup -path "*/dr-lab-$SPARE_SITE*" -name cgroup.procs -exec cat {} +; } 2>/dev/null | sort -un
}

# The least database that `load` can fill: the operator's, named as OpsChain's.
database_is_made() {
    kube create namespace opschain || return 1
    "$LAB" run -- bash -c 'sed "s/VERSION/$LAB_PG_VERSION/" | kubectl create -f -' <<'MANIFEST' || return 1
apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: opschain-db, namespace: opschain}
spec:
  instances: 1
  imageName: limepoint/opschain-db:VERSION
  bootstrap: {initdb: {database: opschain, owner: opschain}}
  storage: {size: 1Gi}
MANIFEST
    kube -n opschain wait --for=condition=Ready cluster/opschain-db --timeout=240s --request-timeout=250s
}

# fingerprint: of every row that load made.
fingerprint() {
    kube -n opschain exec opschain-db-1 -c postgres -- psql -d opschain -qtA -c "select md5(string_agg(row, '' order by row))
        from (select md5(data) as row from load_random union all select md5(document::text) from load_json
        union all select md5(line) from load_text) rows"
}

load_is_repeatable() {
    "$LAB" load --gib 0.02 && LOADED=$(fingerprint) && "$LAB" load --gib 0.02 --mix || return 1
    echo "first $LOADED"
    [ -n "$LOADED" ] && [ "$LOADED" = "$(fingerprint)" ]
}

database_is_kept() { [ "$(fingerprint)" = "$LOADED" ]; }

# A power cut as seen by the site: every process is gone, nothing was told.
power_cut() {
    site_pids | xargs -r kill -KILL
    poll 20 no_pids
}

no_pids() { [ -z "$(site_pids)" ]; }

marker_is_kept() {
    [ "$(kube get configmap lab-marker -o 'jsonpath={.data.word}')" = kept ] && in_pod 'test "$(cat /data/file)" = kept'
}

# The pod of before is started again by the kubelet, on its volume.
recovers() {
    "$LAB" up && poll 60 marker_is_kept && poll 60 database_is_kept
}

# What daemons have open of the one that started them, he could never give away.
recovers_and_keeps_no_lock() {
    flock --nonblock "$OUTPUT.err" "$LAB" up && flock --nonblock "$OUTPUT.err" true && recovers
}

# Killed after 1, 3, 6, 10 s: each time somewhere else; the last one is let run.
killed_up_resumes() {
    local seconds
    for seconds in 1 3 6 10; do
        setsid --wait timeout --signal=KILL "$seconds" "$LAB" up
    done
    recovers
}

two_at_once() {
    "$LAB" up &
    local first=$!
    "$LAB" up && wait "$first" && "$LAB" status
}

# machine: what a site may not leave behind: interfaces, rules, namespaces, mounts, control groups, folders.
machine() {
    ip -o link | sed 's/:.*@/@/; s/<.*//'
    iptables-save | sed '/^#/d; s/\[.*//'
    ip netns list | grep "dr-lab-$SPARE_SITE"
    awk '{ print $5 }' /proc/self/mountinfo | grep "dr-lab[/-]$SPARE_SITE"
    find /sys/fs/cgroup -name "dr-lab-$SPARE_SITE"
    ls -d "/run/dr-lab/$SPARE_SITE" 2>/dev/null
}

leaves_nothing() {
    "$LAB" down && no_pids && diff <(echo "$BEFORE") <(machine | sort -u)
}

wipes() {
    "$LAB" wipe && [ ! -e "${DR_LAB_STATE:-/var/tmp/dr-lab}/$SPARE_SITE" ]
}

life() {
    export DR_LAB_SITE=$SPARE_SITE
    expect "a fresh site: wipe" "$LAB" wipe
    BEFORE=$(machine | sort -u)
    expect "two ups at once both succeed" two_at_once
    expect "a pod starts" pod_starts
    expect "the volume keeps a file" volume_keeps
    expect "a marker is set" kube create configmap lab-marker --from-literal=word=kept
    expect "the operator makes a database" database_is_made
    expect "load fills it with the same bytes each time" load_is_repeatable
    expect "every process is killed" power_cut
    expect "status and run say that it is down" refuses_after_cut
    expect "up recovers, with its objects, volume and database" recovers
    expect "down leaves nothing behind" leaves_nothing
    expect "run against it fails at once" down_lab_refuses
    expect "up brings the state back, and keeps no lock of its caller's" recovers_and_keeps_no_lock
    expect "down a second time" "$LAB" down
    expect "an up that is killed again and again is resumed" killed_up_resumes
    expect "wipe forgets" wipes
    expect "which leaves nothing either" leaves_nothing
}

refuses_after_cut() {
    local status
    "$LAB" status; status=$?
    [ "$status" = 3 ] && down_lab_refuses
}

main() {
    case ${1:-quick} in
        quick) quick ;;
        all) quick; life ;;
        life) life ;;
        *) echo "usage: lab/test.sh quick|life|all" >&2; exit 2 ;;
    esac
    [ $FAILURES = 0 ] || { echo "$FAILURES failed"; exit 1; }
    echo "the lab works"
}

main "$@"; exit
