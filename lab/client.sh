# The lab as its users see it: a command run inside, and what `status` says.

# make_clients: the folder of clients, as `up` found or built them; `run` builds nothing.
make_clients() {
    mkdir -p "$STATE/bin"
    ln -sfn "$CLIENTS/helm" "$STATE/bin/helm"
    ln -sfn "$CLIENTS/kubectl" "$STATE/bin/kubectl"
    echo "$PG_VERSION" | put "$STATE/pgversion"
    echo "$PG_NEXT_VERSION" | put "$STATE/pgversion-next"
    link_extras
}

# link_extras: the second helm and the S3 server are there for those who have built them.
link_extras() {
    local folder part
    for part in helm3 versitygw; do
        if [ -d "$STATE/bin" ] && folder=$(ONLY_CACHED=yes build_part $part); then
            ln -sfn "$folder/$part" "$STATE/bin/$part"
        fi
    done
}

# publish: the kubeconfig comes last and goes first: while it exists, the lab is up.
publish() {
    (umask 077; cp "$CONF/admin.kubeconfig" "$KUBECONFIG_FILE.new")
    mv "$KUBECONFIG_FILE.new" "$KUBECONFIG_FILE"
}

is_up() { [ -e "$KUBECONFIG_FILE" ] && pid_of kube-apiserver >/dev/null; }

# dr_folder: where the checkout's `dr` is: DR_BIN_DIR, or the newest one that cargo has built; nothing when there is none.
dr_folder() {
    local target=$LAB_DIR/../target newest
    [ -z "${DR_BIN_DIR:-}" ] || { echo "$DR_BIN_DIR"; return; }
    # shellcheck disable=SC2012  # cargo's names hold no blanks
    newest=$(ls -t "$target"/{*/,}{release,debug}/dr 2>/dev/null | head -n1) || true
    [ -z "$newest" ] || dirname "$(realpath "$newest")"
}

# client_env COMMAND...: runs the command inside, with everything set that it needs to find the cluster and registry.
client_env() {
    client_prefix
    "${CLIENT[@]}" "$@"
}

client_prefix() {
    local dr
    dr=$(dr_folder)
    CLIENT=(nsenter --net="/run/netns/$NETNS" -- env
        KUBECONFIG="$KUBECONFIG_FILE" PATH="$STATE/bin:${dr:+$dr:}$PATH"
        KUBECACHEDIR="$STATE/kube-cache" SSL_CERT_FILE="$STATE/authorities.crt"
        HELM_CONFIG_HOME="$STATE/helm/config" HELM_CACHE_HOME="$STATE/helm/cache" HELM_DATA_HOME="$STATE/helm/data"
        LAB_SITE="$SITE" LAB_REGISTRY="$REGISTRY_ADDRESS" LAB_PG_VERSION="$(cat "$STATE/pgversion")"
        LAB_PG_NEXT_VERSION="$(cat "$STATE/pgversion-next")")
}

# The command takes this process's place, so that a signal to `lab run` is a signal to it.
lab_run() {
    [ "${1:-}" != -- ] || shift
    [ $# -gt 0 ] || die 2 "name a command: lab/lab run -- kubectl get pods -A"
    [ "$(id -u)" = 0 ] || die 4 "entering the lab's network namespace takes root"
    is_up || die 3 "site $SITE is down, nothing was run; bring it up: lab/lab up"
    client_prefix
    exec "${CLIENT[@]}" "$@"
}

lab_status() {
    local name pid down=0
    if ! is_up; then
        say "site $SITE is down; bring it up: lab/lab up"
        exit 3
    fi
    printf 'site %s: API https://%s:6443, registry %s, PostgreSQL %s\n' "$SITE" "$NODE_IP" "$REGISTRY_ADDRESS" \
        "$(cat "$STATE/pgversion")"
    for name in $DAEMONS; do
        if pid=$(pid_of "$name"); then
            printf '%-24s pid %-8s %5d MiB\n' "$name" "$pid" "$(awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$pid/status")"
        else
            printf '%-24s DOWN (%s)\n' "$name" "$LOGS/$name.log"
            down=1
        fi
    done
    echo
    client_env kubectl get pods -A
    [ $down = 0 ] || die 3 "not all of site $SITE runs; fix it: lab/lab up"
}
