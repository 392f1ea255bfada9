# What a cluster stands on: its cgroups, and one process that holds its network, mounts and host name. Nothing is mounted on
# the machine and no namespace is given a name there: when the last process ends, all of it is gone by itself.
# shellcheck shell=bash

# Where the kubelet and containerd write by fixed paths: there, the cluster has directories of its own.
own_directories=(/run /var/lib /var/log)

make_cgroups() {
    local root above value
    for root in $(hierarchies); do
        # A hierarchy that has controllers gives them on only where no process is (cgroup v2): hence two levels.
        mkdir -p "$root/$group"
        for value in $(cat "$root/cgroup.controllers" 2>/dev/null); do
            # Most are on at the root already; what cannot be is not missed by everybody.
            echo "+$value" >"$root/cgroup.subtree_control" || true
            echo "+$value" >"$root/$group/cgroup.subtree_control" || true
        done 2>/dev/null
        mkdir -p "$root/$group/services"
        # A new cpuset (v1) has no processors until it is told which.
        for above in "$root/$group" "$root/$group/services"; do
            for value in cpuset.cpus cpuset.mems; do
                [ ! -e "$root/cgroup.clone_children" ] || [ ! -e "$above/$value" ] || cat "$(dirname "$above")/$value" >"$above/$value"
            done
        done
    done
}

# Moves who calls into the cluster's cgroups: what is started from there can be found and ended, whoever has died.
enter_cgroups() {
    local root
    for root in $(hierarchies); do
        echo "$BASHPID" >"$root/$group/services/cgroup.procs"
    done
}

# The range that RFC 2544 sets aside for tests of networks: 256 networks of 256 addresses, one a cluster.
take_network() {
    local number first
    exec 7</run # one at a time: what is free is seen by what stands
    flock 7
    first=$((16#${id:0:2}))
    for number in $(seq "$first" 255) $(seq 0 "$first") none; do
        node_address=198.18.$number.1 host_address=198.18.$number.2
        [ "$number" != none ] || { say "no network of 198.18.0.0/16 is free"; return 1; }
        [ -n "$(ip -o route show root "198.18.$number.0/24"; ip -o route show match "$node_address" | grep -v ^default)" ] || break
    done
    ip link add "$link" type veth peer name node0 netns "$holder"
    ip addr add "$host_address/24" dev "$link"
    ip link set "$link" up
    exec 7<&-
    inside ip link set lo up
    inside ip addr add "$node_address/24" dev node0
    inside ip link set node0 up
    inside ip route add default via "$host_address"
    # Bridged frames pass iptables: without that no Service leads back to a pod of the same bridge.
    local setting
    for setting in net/ipv4/ip_forward net/bridge/bridge-nf-call-iptables; do
        # shellcheck disable=SC2016
        inside sh -c 'echo 1 >"/proc/sys/$1"' sh "$setting" 2>/dev/null || say "the kernel has no $setting: what depends on it will not work"
    done
}

inside() { nsenter --target "$holder" --net --mount --uts -- "$@"; }

make_stage() {
    local each
    mkdir -p "$marks" "$dir/log" "$dir/services" "$dir/sysctl"
    for each in "${own_directories[@]}"; do mkdir -p "$dir/host$each"; done
    make_cgroups
    printf '127.0.0.1 localhost %s\n' "$node" >"$dir/hosts" # its end is written once the addresses are known
    # What the kubelet wants of the machine's settings, and would otherwise set for the whole machine.
    for each in vm.overcommit_memory=1 vm.panic_on_oom=0 kernel.panic=10 kernel.panic_on_oops=1 kernel.keys.root_maxkeys=1000000 kernel.keys.root_maxbytes=25000000; do
        echo "${each#*=}" >"$dir/sysctl/${each%=*}"
    done
    (
        enter_cgroups
        exec setsid unshare --mount --net --uts --propagation private -- \
            bash "$here/hold" "$dir" "$node" "${own_directories[@]}" </dev/null >"$dir/log/hold" 2>&1 7>&- 9>&-
    ) &
    holder=$!
    disown
    until_so 30 "the cluster's namespaces stand" [ -e "$dir/held" ] || { cat "$dir/log/hold" >&2; return 1; }
    take_network
    printf '%s host.quell.test\n' "$host_address" >>"$dir/hosts"
}
