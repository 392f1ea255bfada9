# Where things are, and how things are told: the cache, the tools, the words on stderr, and the names of one cluster. Touches nothing.
# shellcheck shell=bash disable=SC2034

module=$(cd "$here/../../tests/cluster/kubernetes" && pwd)
version=$(awk '$1 == "k8s.io/kubernetes" && $2 ~ /^v/ { print $2; exit }' "$module/go.mod")
cache=${QUELL_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/quell}
built=$cache/kubernetes-${version#v}
unpacked=$cache/tools/cluster # by scripts/setup cluster

# What is installed goes before what was only unpacked; iptables is not on everybody's path.
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin:$unpacked/usr/bin:$unpacked/usr/sbin

# A file for each cluster that stands: its directory, and who starts it, keeps it and owns it.
marks=/run/quell-kube

began=$EPOCHREALTIME
say() { echo "cluster: $*" >&2; }
seconds() { # seconds SINCE: how long ago that was
    awk -v now="$EPOCHREALTIME" -v then="$1" 'BEGIN { printf "%.1f s", now - then }'
}
has() { command -v "$1" >/dev/null 2>&1; }
fail() { say "$*"; exit 1; }
missing() { say "$*"; exit 4; } # something is not to be had here: whoever asked decides what that means
wrong() { say "$*"; exit 2; }

# until_so SECONDS WHAT COMMAND...: waits until the command succeeds; fails with what was waited for.
until_so() {
    local patience=$1 what=$2 deadline
    shift 2
    deadline=$((SECONDS + patience))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || { say "$what: not so within $patience s"; return 1; }
        sleep 0.05
    done
}

# program NAME: where a part of Kubernetes is; nothing where it is not.
program() {
    if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ -x "$KUBEBUILDER_ASSETS/$1" ]; then
        echo "$KUBEBUILDER_ASSETS/$1"
    elif [ -x "$built/$1" ]; then
        echo "$built/$1"
    fi
}

# who PID: a process by its pid and when it began, in ticks since boot; nothing once it has ended.
who() { sed -n "s/.*) \\([^ZX]\\) /\\1 /p" "/proc/$1/stat" 2>/dev/null | cut -d" " -f20 | sed "s/^/$1 /" || true; }
# is WHO: does that very process live?
is() { [ -n "$1" ] && [ "$(who "${1% *}")" = "$1" ]; }

# The names of the cluster of a directory: unique to it, and known without any file of it.
names() { # names DIR
    dir=$(realpath -m -- "$1")
    id=$(printf %s "$dir" | sha256sum | cut -c1-6)
    group=quell-kube-$id  # the cgroup, below the root of every hierarchy
    link=quell-$id        # this machine's end of the veth; an interface's name has 15 bytes
    mark=$marks/$id
}

# marked NAME: a line of the mark.
marked() { sed -n "s/^$1=//p" "$mark" 2>/dev/null || true; }

# The roots of all hierarchies of cgroups; the unified one, if there is one, is first.
hierarchies() {
    awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts
    awk '$3 == "cgroup" { print $2 }' /proc/self/mounts
}
