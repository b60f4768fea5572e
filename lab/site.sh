# What a site is: its name, addresses, folders, and the processes that are its own.
# Sourced by lab/lab; sets variables and functions, does nothing.

. "$LAB_DIR/versions"

say() { printf '%(%H:%M:%S)T lab: %s\n' -1 "$*" >&2; }

# die STATUS MESSAGE
die() {
    printf 'lab: %s\n' "$2" >&2
    exit "$1"
}

SITE=${DR_LAB_SITE:-a}
# f is the last letter whose pod range (10.249) stays clear of the node addresses (10.250).
[[ $SITE =~ ^[a-f]$ ]] || die 2 "DR_LAB_SITE must be one letter from a to f, not '$SITE'"
SITE_NUMBER=$(($(printf '%d' "'$SITE") - 97))

CNPG=${DR_LAB_CNPG:-$CNPG_DEFAULT}
[ -e "$LAB_DIR/cnpg-$CNPG/go.mod" ] ||
    die 2 "DR_LAB_CNPG=$CNPG: the lab knows $(cd "$LAB_DIR" && echo cnpg-*/ | sed 's,cnpg-\|/,,g')"

FIXTURES=$(realpath -m "${DR_LAB_FIXTURES:-$LAB_DIR/../fixtures}")
CACHE=${DR_LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dr-lab}
STATE_ROOT=${DR_LAB_STATE:-/var/tmp/dr-lab}
STATE=$STATE_ROOT/$SITE

PKI=$STATE/pki                  # keys and certificates
CONF=$STATE/conf                # rendered configuration
LOGS=$STATE/log
RUN=/run/dr-lab/$SITE           # sockets and mounts: a reboot empties /run, as it should
KUBECONFIG_FILE=$STATE/kubeconfig   # exists only while the lab is up

NETNS=dr-lab-$SITE
CGROUP=dr-lab-$SITE
NODE=lab-$SITE
NODE_IP=10.250.$SITE_NUMBER.1
POD_CIDR=10.$((244 + SITE_NUMBER)).0.0/16
SERVICE_CIDR=10.96.0.0/16
API_SERVICE_IP=10.96.0.1
DNS_IP=10.96.0.10
REGISTRY_ADDRESS=$NODE_IP:5000

# Only one up, down or wipe of a site at a time; a second one waits for the first.
hold_site() {
    [ "$(id -u)" = 0 ] || die 4 "the lab makes network namespaces and mounts: run it as root"
    ! in_site || die 2 "this shell is inside the lab, which would be stopped under it: leave it first"
    mkdir -p "$STATE_ROOT"
    exec 9>"$STATE_ROOT/$SITE.lock"
    flock -n 9 || { say "waiting for another lab command on site $SITE"; flock 9; }
}

# --- processes -------------------------------------------------------------------------------------------
# There are no pid files: a daemon is a process in the site's network namespace whose argv[0] is dr-lab:<name>.
# So a pid that was recycled, or a daemon whose `up` was killed before noting it, cannot be mistaken.

# A file without a namespace mounted on it is what a killed `ip netns add` leaves.
netns_exists() { [ "$(stat -f -c %t "/run/netns/$NETNS" 2>/dev/null)" = 6e736673 ]; }

in_site() {
    netns_exists && [ "$(stat -Lc %i /proc/self/ns/net)" = "$(stat -Lc %i "/run/netns/$NETNS")" ]
}

in_netns() { nsenter --net="/run/netns/$NETNS" -- "$@"; }

# pid_of NAME: prints the daemon's pid, or fails when it does not run.
pid_of() {
    local pid argv0
    netns_exists || return 1
    for pid in $(ip netns pids "$NETNS" 2>/dev/null); do
        IFS= read -r -d '' argv0 2>/dev/null <"/proc/$pid/cmdline" || continue
        [ "$argv0" != "dr-lab:$1" ] || { echo "$pid"; return 0; }
    done
    return 1
}

# What a daemon is started by. It keeps nothing open of the one that starts it: a lock of a caller's would never be free.
# shellcheck disable=SC2016  # expanded by the shell that it is given to
DAEMON='for fd in /proc/self/fd/*; do fd=${fd##*/}; [ "$fd" -le 2 ] || eval "exec $fd>&-"; done; exec -a "$0" "$@"'

# start NAME PROGRAM ARGUMENTS...: unless it runs. Its output goes to log/NAME.log.
start() {
    local name=$1 program=$2
    shift 2
    ! pid_of "$name" >/dev/null || return 0
    setsid nsenter --net="/run/netns/$NETNS" -- bash -c "$DAEMON" "dr-lab:$name" "$program" "$@" \
        >>"$LOGS/$name.log" 2>&1 </dev/null &
}

# until_true SECONDS WHAT COMMAND...: polls the command; its last output is the reason when time is up.
until_true() {
    local seconds=$1 what=$2 deadline=$((SECONDS + $1)) output
    shift 2
    until output=$("$@" 2>&1); do
        [ $SECONDS -lt "$deadline" ] ||
            die 1 "$what: not so after $seconds s (logs: $LOGS)${output:+; last answer: $(tail -n1 <<<"$output")}"
        sleep 0.2
    done
}

# put FILE: writes stdin there in one step, and only when it differs: kube-proxy exits when its file is written.
put() {
    cat >"$1.new"
    if cmp -s "$1.new" "$1"; then rm "$1.new"; else mv "$1.new" "$1"; fi
}
