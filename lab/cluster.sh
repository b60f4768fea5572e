# What runs in the cluster before OpsChain: DNS, volumes, the operator.

admin() {
    KUBECACHEDIR=$STATE/kube-cache in_netns "$CLIENTS/kubectl" --kubeconfig "$CONF/admin.kubeconfig" "$@"
}

cluster_up() {
    local operator=deployment/cnpg-controller-manager
    render manifests/base.yaml | admin apply -f - >/dev/null
    # Server-side: the Cluster's definition is larger than what a client-side apply may note on an object.
    admin apply --server-side --force-conflicts -f "$OPERATOR/operator.yaml" >/dev/null
    until_true 120 "node $NODE is Ready" admin wait --for=condition=Ready "node/$NODE" --timeout=1s
    until_true 120 "CoreDNS answers" in_netns curl -sSf http://127.0.0.1:8181/ready
    admin -n cnpg-system rollout status $operator --timeout=300s >/dev/null ||
        die 1 "the operator does not become ready; see: lab/lab run -- kubectl -n cnpg-system describe $operator"
    until_true 120 "the operator's webhooks answer" admin create --dry-run=server -f "$LAB_DIR/manifests/probe.yaml"
    charts_up
}
