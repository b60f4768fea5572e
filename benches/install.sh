# The install that the benchmarks measure: deployed by dr into a namespace of its own, with a database that is always the
# same. Sourced; wants BENCH_DIR, ROOT and dr on PATH.

FIXTURES=${DR_LAB_FIXTURES:-$ROOT/fixtures}
GIB=${GIB:-1}
NAMESPACE=opschain-bench   # the benchmark's own: removed at the start and at the end
CLUSTER=opschain-db
VERSION=2026-08-20
VAULTS=1   # as in fixtures/values

say() { printf '%(%H:%M:%S)T bench: %s\n' -1 "$*" >&2; }
die() { printf 'bench: %s\n' "$*" >&2; exit 1; }

# since TIME: seconds from then to now, in milliseconds' precision.
since() { jq -n --arg from "$1" --arg to "$EPOCHREALTIME" '($to | tonumber) - ($from | tonumber) | . * 1000 | round / 1000'; }

# logged COMMAND...: its words go to the log; a failure shows the end of it. A subshell, as `set -e` does not reach into
# a function that stands in a condition.
logged() {
    local status
    set +e
    (set -e; "$@") >>"$LOG" 2>&1 </dev/null
    status=$?
    set -e
    [ $status = 0 ] || die "'$*' failed ($status): $(tail -n 8 "$LOG")"
}

sql() { kubectl -n "$NAMESPACE" exec "$CLUSTER-1" -c postgres -- psql --no-psqlrc -d opschain -Atc "$1"; }
last_row() { sql 'select coalesce(max(id), 0) from ledger'; }

# Vault, LDAP, API and workers have all their pods ready.
serving() {
    local workload
    # The vault's pods are not replaced on an update, so there is no rollout to ask for.
    kubectl -n "$NAMESPACE" wait statefulset/opschain-secret-vault --for=jsonpath='{.status.readyReplicas}'="$VAULTS" --timeout=600s
    for workload in opschain-ldap opschain-api opschain-api-worker; do
        kubectl -n "$NAMESPACE" rollout status "deployment/$workload" --timeout=600s
    done
}

# until_writing: the application has added five rows.
until_writing() {
    local deadline=$((SECONDS + 120)) from
    from=$(last_row)
    until [ "$(last_row)" -ge $((from + 5)) ]; do
        [ $SECONDS -lt $deadline ] || die "the application does not write"
        sleep 0.5
    done
}

remove_install() {
    helm uninstall opschain -n "$NAMESPACE" --ignore-not-found
    kubectl delete namespace "$NAMESPACE" --ignore-not-found --timeout=300s
}

newest_bundle() {
    # shellcheck disable=SC2012
    ls -t "$HOME"/.local/share/dr/bundles/*/*.tar | head -n1
}

# deploy_by_dr: also after the guide's restore, as dr bundles only what it has deployed or restored itself.
deploy_by_dr() {
    logged dr --yes deploy -f "$WORK/values.yaml" --version "$VERSION" --chart "$CHART"
    logged serving
    until_writing
}

prepare() {
    [ -n "${LAB_REGISTRY:-}" ] || die "this runs inside the lab: lab/lab run -- benches/${0##*/}"
    command -v dr >/dev/null || die "there is no dr: cargo build --release"
    CHART=oci://$LAB_REGISTRY/limepoint/opschain
    WORK=$(mktemp -d /var/tmp/dr-bench.XXXXXX)
    LOG=$WORK/log
    export HOME=$WORK/home
    unset XDG_CONFIG_HOME XDG_DATA_HOME XDG_STATE_HOME
    mkdir -m 700 "$HOME"
    trap clean_up EXIT
    umask 077
    logged remove_install
    say "deploying OpsChain $VERSION and loading $GIB GiB"
    "$FIXTURES/values/make" "$VERSION" "$LAB_PG_VERSION" bench |
        sed "s/^\( *OPSCHAIN_KUBERNETES_NAMESPACE:\).*/\1 $NAMESPACE/" >"$WORK/values.yaml"
    logged dr init -n "$NAMESPACE"
    sed -i "s/^# straight = true/straight = ${STRAIGHT:-true}/" "$HOME/.config/dr/dr.toml"
    deploy_by_dr
    LAB_NAMESPACE=$NAMESPACE logged "$ROOT/lab/load.sh" --gib "$GIB" --mix
}

clean_up() {
    local status=$?
    trap - EXIT
    cd /
    if [ "$status" = 0 ]; then
        (remove_install) >/dev/null 2>&1 || true
        rm -rf "$WORK"
    else
        say "kept for a look: $WORK and namespace $NAMESPACE; the next run removes the namespace"
    fi
    exit "$status"
}
