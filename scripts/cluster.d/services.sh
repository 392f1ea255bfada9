# The services of a cluster: how each is started, and who it is then. Each has a script under DIR/services, by which it can be
# started again, its pid and start in DIR/services/NAME.pid, and what it says in DIR/log/NAME. None is watched: a test may end one.
# shellcheck shell=bash

service_names=(etcd kube-apiserver kube-controller-manager kube-scheduler kube-proxy containerd kubelet)

# define NAME COMMAND...: writes down how it is started.
define() {
    local name=$1
    shift
    {
        echo '#!/bin/bash'
        echo "# Starts $name in the cluster's cgroups and namespaces."
        # shellcheck disable=SC2016
        printf 'for procs in %s; do echo $$ >"$procs"; done\n' "$(hierarchies | sed "s|\$|/$group/services/cgroup.procs|" | tr '\n' ' ')"
        printf 'export PATH=%q HOME=%q\n' "$PATH" "$dir/host"
        printf 'exec nsenter --target %q --net --mount --uts -- %s\n' "$holder" "$(printf '%q ' "$@")"
    } >"$dir/services/$name"
}

start() { # start NAME
    setsid bash "$dir/services/$1" </dev/null >>"$dir/log/$1" 2>&1 7>&- 9>&- &
    who $! >"$dir/services/$1.pid"
    disown # its end is nothing that the shell has to tell
}

# lives NAME: does the very process that was started live?
lives() { is "$(cat "$dir/services/$1.pid" 2>/dev/null)"; }

# ready SECONDS NAME WHAT COMMAND...: waits for the service; one that ends instead is told with its last lines.
ready() {
    local patience=$1 name=$2 what=$3 deadline
    shift 3
    deadline=$((SECONDS + patience))
    until "$@" >/dev/null 2>&1; do
        if [ "$SECONDS" -ge "$deadline" ] || ! lives "$name"; then
            tail -n 15 "$dir/log/$name" >&2
            say "$what: not so within $patience s, or $name ended (its last lines are above)"
            return 1
        fi
        sleep 0.1
    done
}

define_api() { # define_api AUDIT_LOG AUDIT_WEBHOOK AUDIT_POLICY
    local etcd=${KUBEBUILDER_ASSETS:-}/etcd audit=()
    [ -x "$etcd" ] || etcd=$(command -v etcd)
    local address=http://127.0.0.1:2379
    # Nothing here has to outlive a loss of power.
    define etcd "$etcd" --data-dir="$dir/etcd" --listen-client-urls=$address --advertise-client-urls=$address \
        --listen-peer-urls=http://127.0.0.1:2380 --unsafe-no-fsync --log-level=warn
    [ -z "$1$2" ] || audit+=("--audit-policy-file=$3")
    [ -z "$1" ] || audit+=("--audit-log-path=$1")
    # Told at once: a test waits for each request.
    [ -z "$2" ] || audit+=("--audit-webhook-config-file=$2" --audit-webhook-mode=batch --audit-webhook-batch-max-wait=100ms --audit-webhook-initial-backoff=500ms)
    define kube-apiserver "$(program kube-apiserver)" --etcd-servers=$address --bind-address=0.0.0.0 --advertise-address="$node_address" --secure-port=6443 \
        --tls-cert-file="$dir/keys/apiserver.crt" --tls-private-key-file="$dir/keys/apiserver.key" --client-ca-file="$dir/keys/ca.crt" \
        --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$dir/keys/sa.pub" \
        --service-account-signing-key-file="$dir/keys/sa.key" --service-cluster-ip-range=10.96.0.0/16 \
        --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
        --kubelet-client-certificate="$dir/keys/admin.crt" --kubelet-client-key="$dir/keys/admin.key" \
        --kubelet-certificate-authority="$dir/keys/ca.crt" --kubelet-preferred-address-types=InternalIP --profiling=false "${audit[@]}"
    [ -z "$(program kube-controller-manager)" ] ||
        define kube-controller-manager "$(program kube-controller-manager)" --kubeconfig="$dir/keys/kube-controller-manager.kubeconfig" \
            --use-service-account-credentials --service-account-private-key-file="$dir/keys/sa.key" --root-ca-file="$dir/keys/ca.crt" \
            --cluster-signing-cert-file="$dir/keys/ca.crt" --cluster-signing-key-file="$dir/keys/ca.key" \
            --leader-elect=false --bind-address=127.0.0.1 --profiling=false --kube-api-qps=200 --kube-api-burst=400
}

define_node() {
    define kube-scheduler "$(program kube-scheduler)" --kubeconfig="$dir/keys/kube-scheduler.kubeconfig" --leader-elect=false --bind-address=127.0.0.1
    # Limits on connections are the whole machine's: 0 leaves them alone.
    define kube-proxy "$(program kube-proxy)" --kubeconfig="$dir/keys/kube-proxy.kubeconfig" --hostname-override="$node" --proxy-mode=iptables \
        --cluster-cidr=10.244.0.0/24 --conntrack-max-per-core=0 --bind-address=127.0.0.1

    # Overlays do not stand on an overlay, as a directory in a container is.
    local snapshots=overlayfs plugins=/usr/lib/cni
    [ "$(stat -f -c %T "$dir")" != overlayfs ] || snapshots=native
    [ -x $plugins/bridge ] || plugins=$unpacked/usr/lib/cni
    mkdir -p "$dir/cni"
    # restrict_oom_score_adj: a root that lacks CAP_SYS_RESOURCE may not lower it, and without this no container starts.
    cat >"$dir/containerd.toml" <<TOML
version = 2
root = "$dir/containerd"
state = "/run/containerd"
[grpc]
  address = "$dir/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/quell-pause:1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "$snapshots"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "$plugins"
  conf_dir = "$dir/cni"
TOML
    cat >"$dir/cni/10-pods.conflist" <<JSON
{ "cniVersion": "0.4.0", "name": "pods", "plugins": [
  { "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
    "ipam": { "type": "host-local", "dataDir": "$dir/ipam", "ranges": [[{ "subnet": "10.244.0.0/24" }]], "routes": [{ "dst": "0.0.0.0/0" }] } },
  { "type": "portmap", "capabilities": { "portMappings": true } } ] }
JSON
    define containerd containerd --config "$dir/containerd.toml"
    cat >"$dir/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $node_address
authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: $dir/keys/ca.crt } }
authorization: { mode: Webhook }
tlsCertFile: $dir/keys/kubelet.crt
tlsPrivateKeyFile: $dir/keys/kubelet.key
containerRuntimeEndpoint: unix://$dir/containerd.sock
cgroupDriver: cgroupfs
cgroupRoot: /$group
protectKernelDefaults: true
makeIPTablesUtilChains: false
failSwapOn: false
failCgroupV1: false
resolvConf: ""
volumePluginDir: $dir/volplugins
healthzPort: 0
imageGCHighThresholdPercent: 100
evictionHard: { memory.available: 50Mi, nodefs.available: 1%, imagefs.available: 1% }
YAML
    define kubelet "$(program kubelet)" --config="$dir/kubelet.yaml" --kubeconfig="$dir/keys/kubelet.kubeconfig" \
        --hostname-override="$node" --node-ip="$node_address" --cert-dir="$dir/keys/kubelet"
}

# The subcommand: ends, stops, or starts again one service of a cluster that stands.
service() {
    [ $# = 3 ] || wrong "expected: service DIR NAME stop|start|pause|go-on"
    names "$1"
    local name=$2 pid
    [ -e "$dir/services/$name" ] || wrong "no service \`$name\` in $dir; expected one of: ${service_names[*]}"
    read -r pid _ <"$dir/services/$name.pid"
    case $3 in
    start) lives "$name" || start "$name" ;;
    stop)
        ! lives "$name" || kill -KILL "$pid"
        until_so 20 "$name has ended" eval '! lives "$name"'
        ;;
    pause | go-on)
        lives "$name" || fail "$name does not run; hint: scripts/cluster service $dir $name start"
        if [ "$3" = pause ]; then kill -STOP "$pid"; else kill -CONT "$pid"; fi
        ;;
    *) wrong "unknown word \`$3\`; expected stop, start, pause or go-on" ;;
    esac
}
