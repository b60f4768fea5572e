# The layers of the lab's images: root file systems of Debian packages and of the lab's own programs, without Docker.
# A layer is a part (cache.sh) that holds layer.tar.zst, its OCI descriptor (descriptor.json) and diff_id.

# Layer files of one image must not differ between builds of equal content, so times, owners and order are fixed.
LAYER_TAR=(tar --numeric-owner --sort=name --mtime=@0 --format=posix
    '--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime')

# seal_layer: turns ./layer.tar of the current folder into a layer.
seal_layer() {
    sha256sum layer.tar | sed 's/^\([0-9a-f]*\).*/sha256:\1/' >diff_id
    zstd --quiet --rm -T0 -3 layer.tar -o layer.tar.zst
    jq -n --arg digest "sha256:$(sha256sum layer.tar.zst | cut -d' ' -f1)" --argjson size "$(stat -c %s layer.tar.zst)" \
        '{mediaType: "application/vnd.oci.image.layer.v1.tar+zstd", $digest, $size}' >descriptor.json
}

# seal_tree: makes ./tree of the current folder into a layer.
seal_tree() {
    "${LAYER_TAR[@]}" -C tree -cf layer.tar .
    rm -rf tree
    seal_layer
}

# debian_sources: sources.list lines for $DEBIAN, from the mirrors that this machine's own apt uses.
debian_sources() {
    local origin label site suite signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(SITE)' 'Created-By: Packages' | sort -u |
        while IFS='|' read -r origin label site; do
            case $origin/$label in
                Debian/Debian) for suite in "$DEBIAN" "$DEBIAN-updates"; do echo "deb $signed $site $suite main"; done ;;
                Debian/Debian-Security) echo "deb $signed $site $DEBIAN-security main" ;;
            esac
        done
}

# debian PACKAGES MMDEBSTRAP_OPTION...: ./layer.tar with a small Debian ($DEBIAN) that holds the packages.
# No service is started while they are set up, and what only people read is left out. A mirror may be a copy of some weeks
# ago, which the archive no longer vouches for as the newest; what it holds is signed all the same.
debian() {
    local packages=$1 http_proxy=${http_proxy:-}
    shift
    [ -n "$http_proxy" ] || eval "$(apt-config shell http_proxy Acquire::http::Proxy)"
    [ -z "$http_proxy" ] || export http_proxy
    debian_sources >sources.list
    [ -s sources.list ] || die 4 "this machine's apt names no Debian mirror to build the images from"
    mmdebstrap --mode=root --variant=minbase --include="$packages" --skip=output/dev \
        --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Check-Valid-Until "false"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$@" "$DEBIAN" layer.tar - <sources.list
    rm sources.list
}

# PostgreSQL as CloudNativePG wants it: user and group postgres are 26:26. Debian has given gid 26 to `tape`, so that
# one moves first; both are made before the package can choose its own numbers. The operator makes the database, so
# the one that the package made goes. Writes the version that was installed, e.g. 15.20, to ./version.
build_layer_db() {
    local DEBIAN=$1 release=$2
    # shellcheck disable=SC2016
    debian "postgresql-$release,postgresql-client-$release,locales,ca-certificates,procps,openssl,zstd,lz4" \
        --essential-hook='sed -i "s/^tape:x:26:/tape:x:1026:/" "$1/etc/group"' \
        --essential-hook='echo "postgres:x:26:" >>"$1/etc/group"' \
        --essential-hook='echo "postgres:x:26:26:PostgreSQL:/var/lib/postgresql:/bin/bash" >>"$1/etc/passwd"' \
        --essential-hook='echo "postgres:*:19000:0:99999:7:::" >>"$1/etc/shadow"' \
        --customize-hook='chroot "$1" localedef -i en_US -f UTF-8 en_US.UTF-8' \
        --customize-hook="rm -rf \"\$1/var/lib/postgresql/$release\" \"\$1/etc/postgresql/$release\"" \
        --customize-hook='install -d -o 26 -g 26 -m 0700 "$1/var/lib/postgresql/data"' \
        --customize-hook="chroot \"\$1\" dpkg-query -f '\${Version}' -W postgresql-$release >'$PWD/package-version'"
    sed 's/[^0-9.].*//' package-version >version
    rm package-version
    grep -qx "$release\.[0-9]*" version
    seal_layer
}

# OpenLDAP without a database: whoever uses the image makes his own.
build_layer_slapd() {
    # shellcheck disable=SC2016
    debian slapd,ldap-utils,ca-certificates \
        --essential-hook='echo slapd slapd/no_configuration boolean true | chroot "$1" debconf-set-selections'
    seal_layer
}

# The least that a static program expects: users, /tmp, authorities.
build_layer_scratch() {
    mkdir -p tree/etc/ssl/certs tree/tmp
    chmod 1777 tree/tmp
    printf '%s\n' root:x:0:0:root:/:/sbin/nologin nonroot:x:65532:65532:nonroot:/:/sbin/nologin >tree/etc/passwd
    printf '%s\n' root:x:0: nonroot:x:65532: >tree/etc/group
    cp -L /etc/ssl/certs/ca-certificates.crt tree/etc/ssl/certs/
    seal_tree
}

# build_layer_file SOURCE TARGET [LINK]: one program, and a link to it.
build_layer_file() {
    install -D -m 0755 "$1" "tree/$2"
    [ $# -lt 3 ] || ln -s "$2" "tree/$3"
    seal_tree
}

# build_layer_tree FOLDER: a copy of the folder, owned by root.
build_layer_tree() {
    cp -r "$1" tree
    chown -R 0:0 tree
    seal_tree
}

# build_layer_text FILE TEXT
build_layer_text() {
    mkdir -p "tree/$(dirname "$1")"
    echo "$2" >"tree/$1"
    seal_tree
}

# layer NAME BUILDER ARGUMENT...: the layer's folder.
layer() {
    local name=$1 builder=$2 RECIPE
    RECIPE="${LAYER_TAR[*]} $(declare -f debian seal_layer seal_tree)"
    shift 2
    part "layer-$name" "build_layer_$builder" "$@"
}
