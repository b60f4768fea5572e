#!/bin/bash
# lab/lab load --gib N [--mix | --random]: fills OpsChain's database for benchmarks, always with the same bytes.
# Runs inside the lab. --mix (the default) is half incompressible, a quarter JSON, a quarter text; --random is all
# incompressible. LAB_NAMESPACE and LAB_CLUSTER name another install than opschain/opschain-db.
set -euo pipefail

die() {
    printf 'lab load: %s\n' "$2" >&2
    exit "$1"
}

main() {
    local gib='' shares=(0.5 0.25 0.25) namespace=${LAB_NAMESPACE:-opschain} cluster=${LAB_CLUSTER:-opschain-db} pod
    while [ $# -gt 0 ]; do
        case $1 in
            --gib) gib=${2:-}; shift ;;
            --gib=*) gib=${1#*=} ;;
            --mix) shares=(0.5 0.25 0.25) ;;
            --random) shares=(1 0 0) ;;
            *) die 2 "unknown argument $1; usage: lab/lab load --gib N [--mix | --random]" ;;
        esac
        shift
    done
    [[ $gib =~ ^[0-9]+(\.[0-9]+)?$ ]] || die 2 "--gib takes a number, e.g. --gib 0.5"
    pod=$(kubectl -n "$namespace" get pods -o name -l "cnpg.io/cluster=$cluster,cnpg.io/instanceRole=primary")
    [ -n "$pod" ] || die 1 "no running primary of cluster $cluster in namespace $namespace; deploy OpsChain first"
    kubectl -n "$namespace" exec -i "$pod" -c postgres -- psql --no-psqlrc --quiet -d opschain -v gib="$gib" \
        -v random="${shares[0]}" -v json="${shares[1]}" -v text="${shares[2]}" <"$(dirname "${BASH_SOURCE[0]}")/load.sql"
}

main "$@"; exit
