# The node: its certificates, configuration and network, and the daemons in the order in which they need each other.

# --- certificates ----------------------------------------------------------------------------------------

# authority NAME COMMON_NAME
authority() {
    [ ! -e "$PKI/$1.crt" ] || return 0
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=$2" \
        -addext keyUsage=critical,keyCertSign,cRLSign -keyout "$PKI/$1.key" -out "$PKI/$1.crt.new" 2>/dev/null
    mv "$PKI/$1.crt.new" "$PKI/$1.crt"
}

# certificate NAME SUBJECT AUTHORITY [ALTERNATIVE_NAMES]: the certificate appears last, so a killed one is made anew.
certificate() {
    [ ! -e "$PKI/$1.crt" ] || return 0
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$2" -keyout "$PKI/$1.key" 2>/dev/null |
        openssl x509 -req -CA "$PKI/$3.crt" -CAkey "$PKI/$3.key" -CAcreateserial -days 3650 -out "$PKI/$1.crt.new" \
            -extfile <(printf '%s\n' keyUsage=critical,digitalSignature extendedKeyUsage=clientAuth,serverAuth \
                "${4:+subjectAltName=$4}") 2>/dev/null
    mv "$PKI/$1.crt.new" "$PKI/$1.crt"
}

# kubeconfig NAME FILE: certificates inside, so that the file stands alone.
kubeconfig() {
    USER_NAME=$1 CA=$(base64 -w0 "$PKI/ca.crt") CERTIFICATE=$(base64 -w0 "$PKI/$1.crt") KEY=$(base64 -w0 "$PKI/$1.key") \
        render conf/kubeconfig | put "$2"
}

make_pki() {
    local name kubernetes=DNS:kubernetes.default.svc
    mkdir -p "$PKI" "$CONF"
    chmod 700 "$PKI" "$CONF"
    authority ca "dr-lab-$SITE"
    authority front-proxy-ca "dr-lab-$SITE front proxy"
    certificate kube-apiserver /CN=kube-apiserver ca \
        "DNS:kubernetes,DNS:kubernetes.default,$kubernetes,$kubernetes.cluster.local,IP:$NODE_IP,IP:$API_SERVICE_IP"
    certificate registry /CN=registry ca "IP:$NODE_IP"
    certificate front-proxy /CN=front-proxy front-proxy-ca
    certificate admin /O=system:masters/CN=admin ca
    certificate kubelet "/O=system:nodes/CN=system:node:$NODE" ca
    for name in kube-controller-manager kube-scheduler kube-proxy; do
        certificate $name "/CN=system:$name" ca
    done
    certificate coredns /CN=system:coredns ca
    certificate volumes /CN=lab:volumes ca
    for name in admin kubelet kube-controller-manager kube-scheduler kube-proxy coredns volumes; do
        kubeconfig $name "$CONF/$name.kubeconfig"
    done
    # Key of the tokens of service accounts.
    [ -e "$PKI/tokens.pub" ] || {
        openssl genpkey -algorithm RSA -out "$PKI/tokens.key" 2>/dev/null
        openssl pkey -in "$PKI/tokens.key" -pubout -out "$PKI/tokens.pub.new"
        mv "$PKI/tokens.pub.new" "$PKI/tokens.pub"
    }
    # What `lab run` gives as SSL_CERT_FILE: the machine's authorities, and the lab's.
    cat /etc/ssl/certs/ca-certificates.crt "$PKI/ca.crt" | put "$STATE/authorities.crt"
}

# --- configuration ---------------------------------------------------------------------------------------

# render FILE: FILE of this folder with every ${VARIABLE} filled in.
render() {
    export STATE RUN CONF PKI LOGS CGROUP NODE NODE_IP POD_CIDR DNS_IP REGISTRY_ADDRESS PAUSE SITE
    envsubst <"$LAB_DIR/$1"
}

make_configuration() {
    local name
    mkdir -p "$CONF/cni" "$CONF/registries/_default" "$LOGS" "$RUN"
    for name in containerd.toml kubelet.yaml kube-proxy.yaml Corefile registry.yaml; do
        render "conf/$name" | put "$CONF/$name"
    done
    render conf/cni.conflist | put "$CONF/cni/10-dr-lab.conflist"
    render conf/registries.toml | put "$CONF/registries/_default/hosts.toml"
    : | put "$CONF/resolv.conf"
}

# --- network and control groups --------------------------------------------------------------------------

# A bridge that leads nowhere carries the node's address. Service addresses need a route before kube-proxy's rules
# translate them; anything else has none, so what is not the lab is unreachable at once.
make_network() {
    netns_exists || { rm -f "/run/netns/$NETNS"; ip netns add "$NETNS"; }
    ip -n "$NETNS" link set lo up
    ip -n "$NETNS" link show node0 >/dev/null 2>&1 || ip -n "$NETNS" link add node0 type bridge
    ip -n "$NETNS" address replace "$NODE_IP/32" dev node0
    ip -n "$NETNS" link set node0 up
    ip -n "$NETNS" route replace "$SERVICE_CIDR" dev node0
    in_netns sysctl -qw net.ipv4.ip_forward=1
}

cgroup_v2() { [ -e /sys/fs/cgroup/cgroup.controllers ]; }

# cgroup_folders: where the site's control group is, or is to be: one folder, or one under each v1 controller.
cgroup_folders() {
    local controller
    if cgroup_v2; then
        echo "/sys/fs/cgroup/$CGROUP"
    else
        for controller in /sys/fs/cgroup/*/; do
            [ -L "${controller%/}" ] || echo "$controller$CGROUP"
        done
    fi
}

make_cgroups() {
    local controller
    if cgroup_v2; then
        for controller in $(</sys/fs/cgroup/cgroup.controllers); do
            # One that cannot be had here is the kubelet's to complain of.
            echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || true
        done
    fi
    cgroup_folders | xargs mkdir -p
}

# The kubelet sets these for the whole machine; the last site that goes down puts them back.
KERNEL_SETTINGS=(vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops
    kernel.keys.root_maxkeys kernel.keys.root_maxbytes)
KERNEL_SETTINGS_BEFORE=/run/dr-lab/kernel-settings

keep_kernel_settings() {
    [ -e "$KERNEL_SETTINGS_BEFORE" ] || sysctl "${KERNEL_SETTINGS[@]}" | put "$KERNEL_SETTINGS_BEFORE"
}

# --- daemons ---------------------------------------------------------------------------------------------

# etcd without fsync: losing a lab's state to a power cut costs a minute, fsync on every write costs more.
start_etcd() {
    start etcd "$KUBE/kubelab" etcd --name lab --data-dir "$STATE/etcd" --unsafe-no-fsync --log-level warn \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
        --listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
        --initial-cluster lab=http://127.0.0.1:2380
}

start_apiserver() {
    local issuer=https://kubernetes.default.svc.cluster.local
    start kube-apiserver "$KUBE/kubelab" kube-apiserver --etcd-servers http://127.0.0.1:2379 \
        --bind-address "$NODE_IP" --advertise-address "$NODE_IP" --secure-port 6443 \
        --service-cluster-ip-range "$SERVICE_CIDR" --allow-privileged \
        --authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction --client-ca-file "$PKI/ca.crt" \
        --tls-cert-file "$PKI/kube-apiserver.crt" --tls-private-key-file "$PKI/kube-apiserver.key" \
        --kubelet-client-certificate "$PKI/admin.crt" --kubelet-client-key "$PKI/admin.key" \
        --kubelet-preferred-address-types InternalIP \
        --service-account-issuer $issuer --service-account-key-file "$PKI/tokens.pub" \
        --service-account-signing-key-file "$PKI/tokens.key" \
        --requestheader-client-ca-file "$PKI/front-proxy-ca.crt" --requestheader-allowed-names front-proxy \
        --requestheader-username-headers X-Remote-User --requestheader-group-headers X-Remote-Group \
        --requestheader-extra-headers-prefix X-Remote-Extra- \
        --proxy-client-cert-file "$PKI/front-proxy.crt" --proxy-client-key-file "$PKI/front-proxy.key"
}

# One of each, so there is no leader to elect and no lease of a killed one to wait for.
start_controllers() {
    local name
    for name in kube-controller-manager kube-scheduler; do
        local auth=(--kubeconfig "$CONF/$name.kubeconfig" --authentication-kubeconfig "$CONF/$name.kubeconfig"
            --authorization-kubeconfig "$CONF/$name.kubeconfig" --bind-address 127.0.0.1 --leader-elect=false)
        case $name in
            kube-scheduler) start $name "$KUBE/kubelab" $name "${auth[@]}" ;;
            *) start $name "$KUBE/kubelab" $name "${auth[@]}" --use-service-account-credentials \
                --service-account-private-key-file "$PKI/tokens.key" --root-ca-file "$PKI/ca.crt" \
                --cluster-signing-cert-file "$PKI/ca.crt" --cluster-signing-key-file "$PKI/ca.key" ;;
        esac
    done
}

start_node() {
    start kubelet "$KUBE/kubelab" kubelet --config "$CONF/kubelet.yaml" --kubeconfig "$CONF/kubelet.kubeconfig" \
        --hostname-override "$NODE" --node-ip "$NODE_IP" --root-dir "$STATE/kubelet" --cert-dir "$STATE/kubelet-pki"
    start kube-proxy "$KUBE/kubelab" kube-proxy --config "$CONF/kube-proxy.yaml"
    start coredns "$KUBE/kubelab" coredns -conf "$CONF/Corefile"
    start volumes "$KUBE/kubelab" volumes --kubeconfig "$CONF/volumes.kubeconfig" --root "$STATE/volumes"
}

DAEMONS="etcd registry containerd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy coredns volumes"

node_up() {
    make_pki
    make_configuration
    make_network
    make_cgroups
    keep_kernel_settings
    say "starting the node"
    start_etcd
    OTEL_TRACES_EXPORTER=none start registry "$REGISTRY/registry" serve "$CONF/registry.yaml"
    start containerd containerd --config "$CONF/containerd.toml"
    start_apiserver
    until_true 180 "the API server is ready" admin get --raw /readyz
    start_controllers
    until_true 60 "the registry answers" registry_call ""
    until_true 60 "containerd answers" in_netns ctr --address "$RUN/containerd.sock" version
    start_node
}
