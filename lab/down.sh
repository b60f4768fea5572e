# Taking a site away: its processes, then everything that they leave behind.

# Everything that runs in the site's namespace or control group is the site's; then what they leave is taken away.
node_down() {
    local folder
    rm -f "$KUBECONFIG_FILE"
    # The kubelet first, or it would start again what is being stopped; then pods get their time to end well.
    end_daemon kubelet
    stop_pods
    end_processes
    for folder in "$STATE" "$RUN"; do
        mounts_under "$folder" | xargs -r -d '\n' -n1 umount -l
    done
    ! netns_exists || ip netns delete "$NETNS"
    rm -f "/run/netns/$NETNS"
    until_true 20 "the site's control groups are removed" remove_cgroups
    rm -rf --one-file-system "$RUN"
    restore_kernel_settings
    rmdir --ignore-fail-on-non-empty /run/dr-lab /run/containerd/s /run/containerd 2>/dev/null || true
}

end_daemon() {
    local pid
    pid=$(pid_of "$1") || return 0
    kill "$pid" 2>/dev/null || true
    until_true 20 "$1 has ended" daemon_is_gone "$1"
}

# Asked by name, not by pid: an ended process may wait long to be reaped, but it has left the namespace.
daemon_is_gone() { ! pid_of "$1" >/dev/null; }

# Databases are told to stop and get ten seconds; pods are not deleted, they come back with the next `up`.
stop_pods() {
    local ctr=(in_netns ctr --address "$RUN/containerd.sock" --namespace k8s.io) task
    pid_of containerd >/dev/null || return 0
    for task in $("${ctr[@]}" tasks list --quiet); do
        "${ctr[@]}" tasks kill --signal SIGTERM "$task" >/dev/null 2>&1 || true
    done
    poll 10 no_running_task "${ctr[@]}" || true
}

no_running_task() { ! "$@" tasks list | grep -q RUNNING; }

# restore_kernel_settings: when no other site needs them.
restore_kernel_settings() {
    local others=(/run/netns/dr-lab-*)
    [ ! -e "${others[0]}" ] && [ -e "$KERNEL_SETTINGS_BEFORE" ] || return 0
    sysctl -q -p "$KERNEL_SETTINGS_BEFORE"
    rm "$KERNEL_SETTINGS_BEFORE"
}

# poll SECONDS COMMAND...: true as soon as the command is, false when time is up.
poll() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt "$deadline" ] || return 1
        sleep 0.2
    done
}

# site_pids: processes in the namespace, and those of pods (which have namespaces of their own).
site_pids() {
    { if netns_exists; then ip netns pids "$NETNS"; fi
        cgroup_folders | while read -r folder; do
            [ ! -d "$folder" ] || find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null || true
        done; } | sort -un
}

no_site_pids() { [ -z "$(site_pids)" ]; }

end_processes() {
    # The API server would wait ten seconds for its watchers; all that lasts is etcd's, which ends in one.
    site_pids | xargs -r kill 2>/dev/null || true
    poll 3 no_site_pids || site_pids | xargs -r kill -KILL 2>/dev/null || true
    until_true 20 "every process of the site has ended" no_site_pids
}

# A group stays busy until the kernel is done with the last process that was in it.
remove_cgroups() {
    local folder failed=0
    for folder in $(cgroup_folders); do
        [ ! -d "$folder" ] || find "$folder" -depth -type d -exec rmdir {} + || failed=1
    done
    return $failed
}
