# A cluster that somebody already has: the one of KUBECONFIG goes before one of our own, if it says itself that it is for
# this, by a namespace `quell-tests`. Without that nothing is ever asked of it but whether it has that namespace: a shell often has the
# KUBECONFIG of a cluster that people live by, and tests cut pods off and delete them.
# shellcheck shell=bash

# existing: is there one? Sets the kubectl that it is asked with.
existing() {
    [ -n "${KUBECONFIG:-}" ] || return 1
    existing_kubectl=$(program kubectl)
    [ -n "$existing_kubectl" ] || existing_kubectl=$(type -P kubectl) || { # not the function of that name
        say "there is a KUBECONFIG and no \`kubectl\` to ask it with: one of our own is started"
        return 1
    }
    timeout 10 "$existing_kubectl" get namespace quell-tests >/dev/null 2>&1 || {
        say "the cluster of KUBECONFIG has no namespace \`quell-tests\`, or does not answer: it is left alone, and one of our own is started"
        return 1
    }
}

# take_existing UNTIL_EOF: its kubeconfig and facts, where those of a cluster of our own would be.
take_existing() {
    mkdir -p "$dir"
    [ -z "$(find "$dir" -mindepth 1 -maxdepth 1 ! -name log -print -quit)" ] || wrong "\`$dir\` is not empty; hint: name a directory that is, or none"
    (umask 077 && "$existing_kubectl" config view --raw --flatten --minify >"$dir/admin.kubeconfig")
    printf '%s\n' EXISTING=1 "NODE=$("$existing_kubectl" get nodes -o name | sed -n '1s|^node/||p')" \
        "API=$("$existing_kubectl" config view --minify -o 'jsonpath={.clusters[0].cluster.server}')" \
        "KUBECONFIG=$dir/admin.kubeconfig" "KUBECTL=$existing_kubectl" >"$dir/env"
    say "the cluster of KUBECONFIG is for tests, and taken; nothing is started"
    echo "$dir/admin.kubeconfig"
    if [ -n "$1" ]; then
        cat >/dev/null
        rm -f "$dir/env" "$dir/admin.kubeconfig"
        rmdir "$dir" 2>/dev/null || true
    fi
}
