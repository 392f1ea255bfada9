# Builds Kubernetes from the Go module proxy into the cache: each program appears there whole or not at all, and of two who
# build at once one waits. Writes nowhere else but into Go's own caches.
# shellcheck shell=bash

api_programs=(kube-apiserver kube-controller-manager kubectl)
node_programs=(kube-scheduler kubelet kube-proxy)

build() {
    local programs=("${api_programs[@]}" "${node_programs[@]}") name lacking=() part
    case ${1:-} in
    '') ;;
    --api-only) programs=("${api_programs[@]}") ;;
    *) wrong "unknown option \`$1\`; expected --api-only" ;;
    esac
    for name in "${programs[@]}"; do
        [ -n "$(program "$name")" ] || lacking+=("$name")
    done
    [ ${#lacking[@]} -gt 0 ] || return 0
    [ "$(uname -s)" = Linux ] || missing "the cluster runs on Linux only"
    if ! has go && [ "${lacking[*]}" = kube-controller-manager ] && [ "${1:-}" = --api-only ]; then
        say "no controllers: there is no \`go\` to build them with; the API server alone is what there is"
        return 0
    fi
    has go || missing "no Kubernetes here: neither \`go\` to build ${lacking[*]} with, nor KUBEBUILDER_ASSETS that has them"
    # A Go that is too old, and may not fetch a newer one, says so.
    part=$(cd "$module" && GOWORK=off go list -m 2>&1) || missing "this Go cannot build Kubernetes $version: $part"

    mkdir -p "$built"
    exec 8>"$built/.lock"
    if ! flock -n 8; then
        say "somebody else is building Kubernetes; waiting"
        flock 8
    fi
    # Whoever was waited for has built them.
    local waiting=("${lacking[@]}")
    lacking=()
    for name in "${waiting[@]}"; do
        [ -x "$built/$name" ] || lacking+=("$name")
    done
    [ ${#lacking[@]} -gt 0 ] || { exec 8>&-; return 0; }

    say "building Kubernetes $version into $built, once: ${lacking[*]}; from nothing a quarter of an hour on two quiet cores"
    local number=0 since flags
    flags="-s -w -X k8s.io/component-base/version.gitVersion=$version"
    flags+=" -X k8s.io/component-base/version.gitMajor=$(cut -d. -f1 <<<"${version#v}") -X k8s.io/component-base/version.gitMinor=$(cut -d. -f2 <<<"$version")"
    for name in "${lacking[@]}"; do
        number=$((number + 1)) since=$EPOCHREALTIME
        say "building $name ($number of ${#lacking[@]})"
        # One that was killed may have left its own, and its Go may still be writing there: no name is used again.
        rm -f "$built/.$name".*
        # -p bounds the memory: a package of the API's types takes a gigabyte.
        (cd "$module" && CGO_ENABLED=0 GOWORK=off GOFLAGS="-mod=readonly -buildvcs=false" \
            go build -p 2 -trimpath -ldflags "$flags" -o "$built/.$name.$$" "k8s.io/kubernetes/cmd/$name") 8>&- >"$built/log" 2>&1 || {
            tail -n 20 "$built/log" >&2
            fail "$name could not be built (the last lines are above)"
        }
        mv "$built/.$name.$$" "$built/$name"
        say "built $name: $(seconds "$since")"
    done
    rm -f "$built/log"
    exec 8>&-
}
