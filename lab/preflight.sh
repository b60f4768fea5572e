# Refuses, with the reason, a machine on which the lab cannot work; installs the Debian packages that it lacks.

# package: what is used of it
PACKAGES=(
    containerd runc containernetworking-plugins   # the node's runtime and network
    iproute2 iptables conntrack util-linux procps # namespaces, kube-proxy
    mmdebstrap debian-archive-keyring jq zstd # images
    ca-certificates curl openssl gettext-base unzip npm age  # registry, certificates, configuration, helm and kubectl
)

preflight() {
    machine_fits
    install_packages
    kernel_fits
    space_fits
    go_fits
}

machine_fits() {
    [ "$(id -u)" = 0 ] || die 4 "the lab makes network namespaces and mounts: run it as root"
    [ "$(uname -sm)" = "Linux x86_64" ] || die 4 "the lab runs on Linux x86_64 only, this is $(uname -sm)"
    mkdir -p "$STATE_ROOT" "$CACHE"
    command -v apt-get >/dev/null ||
        die 4 "the lab takes containerd, runc and its images from Debian packages: apt-get is missing"
}

install_packages() {
    local missing=() package services=()
    for package in "${PACKAGES[@]}"; do
        # npm may have come with a Node.js from elsewhere.
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            command -v "$package" >/dev/null || missing+=("$package")
    done
    # The images are built by this machine's lists of packages, so a machine without lists needs them too.
    [ ${#missing[@]} -gt 0 ] || [ -z "$(apt-get indextargets 'Created-By: Packages')" ] || return 0
    say "installing Debian packages: ${missing[*]:-only their lists are missing}"
    # A node's containerd is the lab's own process; the package must not start another one on the machine.
    [[ " ${missing[*]} " != *" containerd "* ]] || services=(containerd.service)
    {
        apt-get update -q &&
            DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends \
                "${missing[@]}"
    } >"$STATE_ROOT/apt.log" 2>&1 || die 4 "apt-get cannot install ${missing[*]}: $(tail -n 3 "$STATE_ROOT/apt.log")"
    if [ ${#services[@]} -gt 0 ] && [ -d /run/systemd/system ]; then systemctl disable --now --quiet "${services[@]}"; fi
}

# Tries what the node will do, instead of guessing from capabilities: namespaces, rules in one, an overlay mount.
kernel_fits() {
    local scratch
    unshare --net --mount --pid --ipc --uts --fork true 2>/dev/null ||
        die 4 "this root may not make namespaces (CAP_SYS_ADMIN, CAP_NET_ADMIN); a container needs to be privileged"
    unshare --net iptables -t nat -L >/dev/null 2>&1 ||
        die 4 "iptables has no nat table in a new network namespace: kube-proxy could not work"
    unshare --net sh -c 'ip link add probe0 type bridge && ip link add probe1 type veth peer name probe2' 2>/dev/null ||
        die 4 "the kernel lacks bridges or veth pairs"
    mkdir -p "$STATE"
    scratch=$(mktemp -d "$STATE/.overlay.XXXX")
    mkdir "$scratch/"{lower,upper,work,merged}
    unshare --mount mount -t overlay overlay -o "lowerdir=$scratch/lower,upperdir=$scratch/upper,workdir=$scratch/work" \
        "$scratch/merged" 2>/dev/null || {
        rm -rf "$scratch"
        die 4 "$STATE lies on a file system that overlayfs cannot stand on: set DR_LAB_STATE to another disk"
    }
    rm -rf "$scratch"
    cgroup_v2 || [ -d /sys/fs/cgroup/memory ] || die 4 "no control groups at /sys/fs/cgroup: the kubelet could not work"
    [ "$(swapon --noheadings | wc -l)" = 0 ] || say "swap is on: the kubelet accepts it, pods may be slow"
}

# space_fits: a running lab holds about 1.5 GiB of memory and 3 GiB of disk; linking its largest program takes 2.2 GiB.
space_fits() {
    local free need folder
    free=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
    is_up || [ "$free" -ge 3072 ] || die 4 "$free MiB of memory are free, the lab needs 3072"
    if compgen -G "$CACHE/kube-*/kubelab" >/dev/null; then need=4; else need=14; fi
    for folder in "$STATE_ROOT" "$CACHE"; do
        free=$(df --output=avail -BG "$folder" | tail -n1 | tr -dc 0-9)
        [ "$free" -ge $need ] || die 4 "$free GiB are free at $folder, the lab needs $need (a first build fills Go's cache too)"
    done
}

# go_fits: the newest Go that a module of the lab asks for. With GOTOOLCHAIN=auto an older Go fetches it itself.
go_fits() {
    local needed found
    needed=$(sed -n 's/^go //p' "$LAB_DIR"/{kube,registry,"cnpg-$CNPG"}/go.mod | sort -V | tail -n1)
    command -v go >/dev/null || die 4 "Go is missing: install Go $needed or newer (https://go.dev/dl) and put it on PATH"
    found=$(cd "$LAB_DIR/cnpg-$CNPG" && go env GOVERSION 2>/dev/null | sed 's/^go//') || found=too-old
    [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -n1)" = "$needed" ] ||
        die 4 "Go $needed or newer is needed to build the cluster, this is $(go env GOVERSION)"
}
