# The images and charts that the site's registry serves. Nodes pull every image from it, the lab's own too.

# build_layers: makes what images_up puts together. Sets LAYER_* and PG_VERSION.
build_layers() {
    LAYER_DB=$(layer db db "$DEBIAN" "$POSTGRESQL")
    LAYER_SLAPD=$(layer slapd slapd "$DEBIAN")
    LAYER_SCRATCH=$(layer scratch scratch)
    LAYER_BUSYBOX=$(layer busybox busybox /bin/busybox)
    LAYER_PAUSE=$(layer pause file "$KUBE/pause" pause)
    LAYER_LOCAL_PATH=$(layer local-path file "$KUBE/local-path-provisioner" usr/bin/local-path-provisioner)
    LAYER_OPERATOR=$(layer operator file "$OPERATOR/manager" operator/manager_amd64 manager)
    PG_VERSION=$(cat "$LAYER_DB/version")
    [ ! -e "$FIXTURES/standin/go.mod" ] || STANDIN=$(go_part standin build_standin "$FIXTURES/standin")
}

build_standin() {
    local here=$PWD
    cd "$1"
    "${GO_BUILD[@]}" '-s -w' -o "$here/standin" .
}

# registry_call CURL_ARGUMENT... PATH: the registry's HTTP API.
registry_call() {
    local arguments=("${@:1:$#-1}")
    in_netns curl --silent --show-error --fail --cacert "$PKI/ca.crt" "${arguments[@]}" "https://$REGISTRY_ADDRESS/v2/${*: -1}"
}

# upload REPOSITORY QUERY DIGEST FILE: sends a blob, unless the registry has it already from the repository of QUERY.
upload() {
    local url
    url=$(registry_call -o /dev/null -X POST -w '%{http_code} %header{location}' "$1/blobs/uploads/$2" | sed -n 's/^202 //p')
    [ -z "$url" ] || in_netns curl --silent --show-error --fail --cacert "$PKI/ca.crt" -o /dev/null \
        -H 'Content-Type: application/octet-stream' -T "$4" "$url&digest=$3"
}

# push_layer REPOSITORY FOLDER: by way of the repository `lab/layers`, so that each layer is sent once.
declare -A LAYERS_SERVED
push_layer() {
    local digest
    digest=$(jq -r .digest "$2/descriptor.json")
    if [ -z "${LAYERS_SERVED[$digest]:-}" ]; then
        registry_call --head -o /dev/null "lab/layers/blobs/$digest" 2>/dev/null ||
            upload lab/layers "" "$digest" "$2/layer.tar.zst"
        LAYERS_SERVED[$digest]=yes
    fi
    upload "$1" "?mount=$digest&from=lab/layers" "$digest" "$2/layer.tar.zst"
}

# push_image REPOSITORY:TAG CONFIG LAYER...: CONFIG is the JSON of the image's `config` object, LAYER a layer's folder.
push_image() {
    local repository=${1%:*} tag=${1##*:} config=$2 folder layers digest served scratch
    shift 2
    scratch=$RUN/image
    mkdir -p "$scratch"
    layers=("${@/%//descriptor.json}")
    jq -n --argjson config "$config" --rawfile ids <(cat "${@/%//diff_id}") \
        '{architecture: "amd64", os: "linux", $config, rootfs: {type: "layers", diff_ids: ($ids | rtrimstr("\n") / "\n")}}' \
        >"$scratch/config.json"
    digest=sha256:$(sha256sum "$scratch/config.json" | cut -d' ' -f1)
    jq -s --arg digest "$digest" --argjson size "$(stat -c %s "$scratch/config.json")" \
        '{schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
          config: {mediaType: "application/vnd.oci.image.config.v1+json", $digest, $size}, layers: .}' \
        "${layers[@]}" >"$scratch/manifest.json"

    served=$(registry_call --head -o /dev/null -w '%header{docker-content-digest}' \
        -H 'Accept: application/vnd.oci.image.manifest.v1+json' "$repository/manifests/$tag" 2>/dev/null) || served=
    [ "$served" != "sha256:$(sha256sum "$scratch/manifest.json" | cut -d' ' -f1)" ] || return 0
    for folder; do
        push_layer "$repository" "$folder"
    done
    upload "$repository" "" "$digest" "$scratch/config.json"
    registry_call -o /dev/null -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        -T "$scratch/manifest.json" "$repository/manifests/$tag"
    # A tag that has moved must be pulled anew, also by a pod that pulls only what is not present.
    [ -z "$served" ] || in_netns ctr --address "$RUN/containerd.sock" --namespace k8s.io images rm \
        "docker.io/$repository:$tag" >/dev/null 2>&1
}

# image_config USER ENTRYPOINT [NAME=VALUE...]
image_config() {
    jq -nc --arg user "$1" --argjson entrypoint "$2" '{User: $user, Entrypoint: $entrypoint, Env: $ARGS.positional,
        WorkingDir: "/"}' --args "${@:3}"
}

BIN_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

images_up() {
    local database=("PATH=/usr/lib/postgresql/$POSTGRESQL/bin:$BIN_PATH" LANG=en_US.UTF-8 "PG_MAJOR=$POSTGRESQL"
        PGDATA=/var/lib/postgresql/data)
    push_image "lab/pause:$PAUSE" "$(image_config 65532 '["/pause"]')" "$LAYER_PAUSE"
    push_image library/busybox:latest "$(image_config 0 null "PATH=$BIN_PATH" | jq -c '.Cmd = ["sh"]')" "$LAYER_BUSYBOX"
    push_image "rancher/local-path-provisioner:v$LOCAL_PATH" \
        "$(image_config 0 '["/usr/bin/local-path-provisioner"]' "PATH=$BIN_PATH")" "$LAYER_LOCAL_PATH"
    push_image "cloudnative-pg/cloudnative-pg:$CNPG" "$(image_config 65532:65532 '["/manager"]')" \
        "$LAYER_SCRATCH" "$LAYER_OPERATOR"
    push_image "limepoint/opschain-db:$PG_VERSION" \
        "$(image_config 26 null "${database[@]}" | jq -c '.Cmd = ["bash"]')" "$LAYER_DB"
    if [ -n "${STANDIN:-}" ]; then standin_images "${database[@]}"; fi
}

# standin_images DATABASE_ENVIRONMENT...: every image of the stand-in's table at every release. Only the topmost layer,
# a file with the release's name, differs between releases.
standin_images() {
    local release repository base user entrypoint program extra layers environment
    program=$(layer standin file "$STANDIN/standin" standin)
    while read -r release; do
        while read -r repository base user entrypoint; do
            environment=("PATH=$BIN_PATH")
            case $base in
                scratch) layers=("$LAYER_SCRATCH") ;;
                slapd) layers=("$LAYER_SLAPD") ;;
                db) layers=("$LAYER_DB") environment=("$@") ;;
                *) die 1 "$FIXTURES/standin/images: base '$base' of $repository is none of scratch, slapd, db" ;;
            esac
            layers+=("$program")
            if [ -d "$FIXTURES/standin/rootfs/$repository" ]; then
                extra=$(layer "rootfs-$repository" tree "$FIXTURES/standin/rootfs/$repository")
                layers+=("$extra")
            fi
            extra=$(layer "release-$release" text etc/opschain-version "$release")
            layers+=("$extra")
            push_image "limepoint/$repository:$release" "$(image_config "$user" "$entrypoint" "${environment[@]}")" \
                "${layers[@]}"
        done < <(table "$FIXTURES/standin/images")
    done < <(table "$FIXTURES/standin/releases")
}

# table FILE: its lines without comments and blank ones.
table() { sed '/^[[:space:]]*\(#\|$\)/d' "$1"; }

# chart_version RELEASE: 2026-08-20 is chart 2026.8.20, for a semantic version has no leading zeros.
chart_version() {
    local dots=${1//-/.}
    echo "${dots//.0/.}"
}

# charts_up: the chart of the stand-in, packaged once for each release, as oci://<registry>/limepoint/opschain.
# helm gives each push a new digest, so what was pushed is remembered beside the registry's own data.
charts_up() {
    local chart=$FIXTURES/charts/opschain stamp made out=$RUN/charts archive release
    [ -e "$chart/Chart.yaml" ] || { say "no chart at $chart: none is served"; return 0; }
    made=$(digest_of "$FIXTURES/charts" "$FIXTURES/standin/releases" "$PG_VERSION")
    stamp=$STATE/registry/charts-pushed
    [ "$made" != "$(cat "$stamp" 2>/dev/null)" ] || return 0
    rm -rf "$out"
    mkdir -p "$out"
    if [ -x "$FIXTURES/charts/package" ]; then
        client_env "$FIXTURES/charts/package" "$out"
    else
        while read -r release; do
            client_env helm package "$chart" --destination "$out" --app-version "$release" \
                --version "$(chart_version "$release")"
        done < <(table "$FIXTURES/standin/releases")
    fi >/dev/null
    for archive in "$out"/*.tgz; do
        client_env helm push "$archive" "oci://$REGISTRY_ADDRESS/limepoint" >/dev/null 2>&1 ||
            die 1 "helm cannot push $(basename "$archive") to the lab's registry"
        say "chart $(basename "$archive" .tgz) is at oci://$REGISTRY_ADDRESS/limepoint/opschain"
    done
    echo "$made" >"$stamp"
}
