# Starts a cluster, stage after stage, each told with its time, and watches over its life. With --until-eof a keeper is there
# before anything else: it waits for the end of standard input, and then ends all of it, also what was only half started.
#
#     owner ──stdin──▶ up ──▶ services           the owner dies: the keeper reads the end, ends `up`, then the cluster
#                       └──▶ keeper ◀──stdin     the keeper is killed: the next `up`, `down` or `sweep` does it
# shellcheck shell=bash

node=node1

check_tools() { # check_tools API_ONLY
    local lacking=() each
    [ "$(id -u)" = 0 ] || missing "only root may start a cluster; hint: sudo"
    for each in ip nsenter unshare flock openssl; do has "$each" || lacking+=("$each"); done
    has etcd || [ -x "${KUBEBUILDER_ASSETS:-}/etcd" ] || lacking+=(etcd)
    if [ -z "$1" ]; then
        for each in containerd ctr runc iptables busybox python3; do has "$each" || lacking+=("$each"); done
        [ -x /usr/lib/cni/bridge ] || [ -x "$unpacked/usr/lib/cni/bridge" ] || lacking+=("the CNI plugin bridge")
    fi
    [ ${#lacking[@]} -eq 0 ] || missing "missing here: ${lacking[*]}; hint: scripts/setup cluster"
    [ -n "$(hierarchies)" ] || missing "no hierarchy of cgroups is mounted"
}

# stage WHAT COMMAND...: does it, and tells how long it took.
stage() {
    local what=$1 since=$EPOCHREALTIME
    shift
    "$@"
    say "$what: $(seconds "$since")"
}

kubectl() { "$(program kubectl)" --kubeconfig "$dir/admin.kubeconfig" "$@"; }
api_ready() { [ "$(kubectl get --raw /readyz)" = ok ]; }
node_ready() { kubectl get node "$node" -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}' | grep -qx True; }
takes_pods() { kubectl get serviceaccount default; }

start_api() {
    start etcd
    start kube-apiserver
    ready 180 kube-apiserver "the API answers" api_ready
    [ ! -e "$dir/services/kube-controller-manager" ] || start kube-controller-manager
}

start_containerd() {
    pack_own_images
    start containerd
    ready 120 containerd "containerd answers" ctr --address "$dir/containerd.sock" version
    import "$dir/pause.tar" "$dir/bb.tar"
}

start_node() {
    start kube-scheduler
    start kubelet
    start kube-proxy
    ready 180 kubelet "the node is ready" node_ready
}

write_env() {
    local each
    {
        printf '%s\n' "ID=$id" "NODE=$node" "NODE_ADDRESS=$node_address" "HOST_ADDRESS=$host_address" HOST_NAME=host.quell.test \
            "API=https://$node_address:6443" "KUBECONFIG=$dir/admin.kubeconfig" "KUBECTL=$(program kubectl)" "CGROUP=/$group" \
            "HOLDER=$holder" "NETNS=/proc/$holder/ns/net" "ROOT=/proc/$holder/root" "LINK=$link"
        [ -e "$dir/services/kube-controller-manager" ] || echo API_ALONE=1
        [ ! -e "$dir/services/containerd" ] || printf '%s\n' "CONTAINERD=$dir/containerd.sock" "CTR=$(command -v ctr)"
        for each in "${service_names[@]}"; do
            [ ! -e "$dir/services/$each.pid" ] || echo "PID_${each//-/_}=$(cut -d' ' -f1 "$dir/services/$each.pid")"
        done
    } >"$dir/.env"
    mv "$dir/.env" "$dir/env"
}

# claim: takes the directory and the name for this very `up`. Whatever ends it from here on ends all that it started.
claim() {
    local lock
    exec {lock}</run
    flock "$lock"
    mkdir -p "$dir" "$marks"
    if [ -e "$mark" ] || [ -n "$(members)" ]; then
        wrong "a cluster stands in $dir, or stood there and was not ended; hint: scripts/cluster down $dir"
    fi
    clear_directory # of a cluster that a reboot ended
    if [ -n "$(find "$dir" -mindepth 1 -maxdepth 1 ! -name log -print -quit)" ]; then
        wrong "\`$dir\` is not empty and no cluster's; hint: name one that is, or none"
    fi
    me=$(who $$)
    trap give_up EXIT
    trap 'exit 143' TERM INT HUP
    echo "$id" >"$dir/.quell-cluster"
    printf 'dir=%s\nup=%s\n' "$dir" "$me" >"$mark"
    exec {lock}<&-
}
give_up() {
    trap - EXIT
    trap '' TERM INT HUP
    take_down "$me"
}

# keep DIR UP: the keeper; not for people.
keep() {
    names "$1"
    local up=$2
    # It goes on to the end of standard input, or until somebody else has ended the cluster.
    while read -r -t 1 || [ $? -gt 128 ]; do
        [ "$(marked up)" = "$up" ] || return 0
    done
    [ "$(marked up)" != "$up" ] || end_starter
    local stood=
    [ ! -e "$dir/env" ] || stood=1
    take_down "$up"
    # Nobody is left to read what a cluster said that had stood.
    [ -z "$stood" ] || rm -rf "$dir/log"
    rmdir "$dir" 2>/dev/null || true
}

up() {
    local fd
    # What a caller holds open is not for services to hold: it may be what somebody waits for the end of.
    for fd in /proc/$$/fd/*; do
        fd=${fd##*/}
        [ "$fd" -le 2 ] || [ "$fd" = 255 ] || exec {fd}>&-
    done
    local api_only='' until_eof='' log='' webhook='' policy=$here/../../deploy/kubernetes/audit-policy.yaml where='' keeper=''
    while [ $# -gt 0 ]; do
        case $1 in
        --api-only) api_only=--api-only ;;
        --until-eof) until_eof=1 ;;
        --audit-log | --audit-webhook | --audit-policy)
            [ -n "${2:-}" ] || wrong "$1 wants a file"
            case $1 in
            *-log) log=$(realpath -m -- "$2") ;;
            *-webhook) webhook=$(realpath -- "$2") ;;
            *) policy=$(realpath -- "$2") ;;
            esac
            shift
            ;;
        -*) wrong "unknown option \`$1\`; hint: scripts/cluster help" ;;
        *) [ -z "$where" ] && where=$1 || wrong "one directory, and not \`$1\` too" ;;
        esac
        shift
    done
    [ -n "$where" ] || wrong "expected: up DIR"
    names "$where"
    case $dir/ in /run/* | /var/run/* | /var/lib/* | /var/log/* | /proc/* | /sys/*) wrong "a cluster has a ${dir%/*} of its own, so its state cannot be there; hint: a directory below /tmp" ;; esac
    [ ${#dir} -le 80 ] || wrong "the path \`$dir\` is too long for sockets below it; at most 80 bytes"
    if [ -z "$log$webhook" ] && existing; then
        take_existing "$until_eof"
        return
    fi
    check_tools "$api_only"
    # shellcheck disable=SC2086
    build $api_only
    sweep

    claim
    if [ -n "$until_eof" ]; then
        exec 3<&0 # what runs in the background has no standard input but by name
        setsid "$here/../cluster" keep "$dir" "$me" <&3 3<&- >/dev/null &
        keeper=$(who $!)
        printf '%s\n' "keeper=$keeper" "owner=$(who "$PPID")" >>"$mark"
    fi
    exec </dev/null 3<&-

    stage "cgroups, namespaces and network of $group" make_stage
    stage "keys" make_keys
    define_api "$log" "$webhook" "$policy"
    if [ -n "$api_only" ]; then
        stage "etcd and the API server" start_api
    else
        define_node
        # The two need nothing of each other. In the cluster's cgroups, so that it ends with it.
        (
            enter_cgroups
            stage "containerd, with its images" start_containerd
        ) &
        local other=$!
        stage "etcd and the API server" start_api
        wait "$other"
        stage "the node" start_node
    fi
    # Without its account no pod is taken; the controllers make it, where there are any.
    [ -e "$dir/services/kube-controller-manager" ] || kubectl create serviceaccount default >/dev/null
    until_so 120 "pods are taken" takes_pods
    write_env
    say "ready after $(seconds "$began"): export KUBECONFIG=$dir/admin.kubeconfig"
    echo "$dir/admin.kubeconfig"
    if [ -z "$keeper" ]; then
        trap - EXIT
        return 0
    fi
    exec >/dev/null
    while is "$keeper"; do wait "${keeper% *}" || true; done
}
