# The images and charts that the site's registry serves. Nodes pull every image from it, the lab's own too.

# build_layers: makes what images_up puts together. Sets LAYER_*, PG_VERSION and PG_NEXT_VERSION.
build_layers() {
    LAYER_DB=$(layer db db "$DEBIAN" "$POSTGRESQL")
    LAYER_DB_NEXT=$(layer db-next db "$DEBIAN_NEXT" "$POSTGRESQL_NEXT")
    LAYER_SLAPD=$(layer slapd slapd "$DEBIAN")
    LAYER_SCRATCH=$(layer scratch scratch)
    LAYER_PAUSE=$(layer pause file "$KUBE/pause" pause)
    LAYER_OPERATOR=$(layer operator file "$OPERATOR/manager" operator/manager_amd64 manager)
    PG_VERSION=$(cat "$LAYER_DB/version")
    PG_NEXT_VERSION=$(cat "$LAYER_DB_NEXT/version")
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

# image_config USER ENTRYPOINT CMD [NAME=VALUE...]: ENTRYPOINT and CMD are JSON.
image_config() {
    local environment=''
    [ $# -le 3 ] || printf -v environment ',"%s"' "${@:4}"
    echo "{\"User\":\"$1\",\"Entrypoint\":$2,\"Cmd\":$3,\"Env\":[${environment:1}],\"WorkingDir\":\"/\"}"
}

# served_digest REPOSITORY TAG: nothing when the registry does not have it.
served_digest() {
    registry_call --head -o /dev/null -w '%header{docker-content-digest}' \
        -H 'Accept: application/vnd.oci.image.manifest.v1+json' "$1/manifests/$2" 2>/dev/null || true
}

# push_image REPOSITORY:TAG CONFIG LAYER...: CONFIG is the JSON of the image's `config` object, LAYER a layer's folder.
# What was pushed under a tag is noted beside the registry's data, and believed when the registry says the same.
push_image() {
    local repository=${1%:*} tag=${1##*:} config=$2 made="$*" note=$STATE/registry/pushed/${1//\//_} served noted manifest
    shift 2
    served=$(served_digest "$repository" "$tag")
    if [ -n "$served" ] && [ -e "$note" ]; then
        noted=$(<"$note")
        [ "$noted" != "$served $made" ] || return 0
    fi
    image_files "$config" "$@"
    for folder; do
        push_layer "$repository" "$folder"
    done
    upload "$repository" "" "$(jq -r .config.digest "$RUN/image/manifest.json")" "$RUN/image/config.json"
    registry_call -o /dev/null -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' \
        -T "$RUN/image/manifest.json" "$repository/manifests/$tag"
    manifest=sha256:$(sha256sum "$RUN/image/manifest.json" | cut -d' ' -f1)
    # A tag that has moved must be pulled anew, also by a pod that pulls only what is not present.
    [ -z "$served" ] || [ "$served" = "$manifest" ] || in_netns ctr --address "$RUN/containerd.sock" \
        --namespace k8s.io images rm "docker.io/$repository:$tag" >/dev/null 2>&1
    mkdir -p "$STATE/registry/pushed"
    echo "$manifest $made" | put "$note"
}

# image_files CONFIG LAYER...: the image's own two files, $RUN/image/config.json and manifest.json.
image_files() {
    local config=$1 digest
    shift
    mkdir -p "$RUN/image"
    jq -n --argjson config "$config" --rawfile ids <(cat "${@/%//diff_id}") \
        '{architecture: "amd64", os: "linux", $config, rootfs: {type: "layers", diff_ids: ($ids | rtrimstr("\n") / "\n")}}' \
        >"$RUN/image/config.json"
    digest=sha256:$(sha256sum "$RUN/image/config.json" | cut -d' ' -f1)
    jq -s --arg digest "$digest" --argjson size "$(stat -c %s "$RUN/image/config.json")" \
        '{schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json",
          config: {mediaType: "application/vnd.oci.image.config.v1+json", $digest, $size}, layers: .}' \
        "${@/%//descriptor.json}" >"$RUN/image/manifest.json"
}

BIN_PATH=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# database_environment MAJOR: what the programs of its image expect, a line each.
database_environment() {
    printf '%s\n' "${BIN_PATH/=/=/usr/lib/postgresql/$1/bin:}" LANG=en_US.UTF-8 "PG_MAJOR=$1" PGDATA=/var/lib/postgresql/data
}

images_up() {
    local database next
    mapfile -t database < <(database_environment "$POSTGRESQL")
    mapfile -t next < <(database_environment "$POSTGRESQL_NEXT")
    push_image "lab/pause:$PAUSE" "$(image_config 65532 '["/pause"]' null)" "$LAYER_PAUSE"
    push_image "cloudnative-pg/cloudnative-pg:$CNPG" "$(image_config 65532:65532 '["/manager"]' null)" \
        "$LAYER_SCRATCH" "$LAYER_OPERATOR"
    push_image "limepoint/opschain-db:$PG_VERSION" "$(image_config 26 null '["bash"]' "${database[@]}")" "$LAYER_DB"
    push_image "limepoint/opschain-db:$PG_NEXT_VERSION" "$(image_config 26 null '["bash"]' "${next[@]}")" "$LAYER_DB_NEXT"
    if [ -n "${STANDIN:-}" ]; then standin_images "${database[@]}"; fi
}

# standin_images DATABASE_ENVIRONMENT...: every image of the stand-in's table at every release. Only the topmost layer,
# a file with the release's name, differs between releases.
standin_images() {
    local release repository base user entrypoint program extra layers environment
    local -A release_layer=()
    program=$(layer standin file "$STANDIN/standin" standin)
    while read -r release; do
        release_layer[$release]=$(layer "release-$release" text etc/opschain-version "$release")
    done < <(table "$FIXTURES/standin/releases")
    while read -r repository base user entrypoint; do
        environment=("$BIN_PATH")
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
        for release in "${!release_layer[@]}"; do
            push_image "limepoint/$repository:$release" \
                "$(image_config "$user" "$entrypoint" null "${environment[@]}")" "${layers[@]}" "${release_layer[$release]}"
        done
    done < <(table "$FIXTURES/standin/images")
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
