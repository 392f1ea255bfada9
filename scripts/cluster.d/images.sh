# Images without a registry: a directory becomes an image by pack.py, and containerd takes it as a file. Two come with every
# cluster: `localhost/quell-pause:1`, which holds a pod's namespaces, and `localhost/quell-bb:1`, busybox.
# shellcheck shell=bash

pack() {
    [ $# -ge 3 ] || wrong "expected: pack NAME ROOT CMD... > TAR"
    [ -d "$2" ] || wrong "no directory \`$2\`"
    [ ! -t 1 ] || wrong "an image is no text; hint: write it to a file"
    has python3 || missing "no \`python3\` to pack images with; hint: scripts/setup cluster"
    python3 "$here/pack.py" "$@"
}

import() { # import TAR...
    local tar
    for tar in "$@"; do
        ctr --address "$dir/containerd.sock" --namespace k8s.io images import "$tar" >>"$dir/log/images" 2>&1 || {
            tail -n 5 "$dir/log/images" >&2
            say "containerd did not take \`$tar\` (its words are above)"
            return 1
        }
    done
}

# The subcommand.
image() {
    [ $# -ge 2 ] || wrong "expected: image DIR TAR..."
    names "$1"
    shift
    [ -S "$dir/containerd.sock" ] || fail "no node stands in $dir; hint: scripts/cluster up $dir"
    import "$@"
}

pack_own_images() {
    local root=$dir/root busybox applet
    busybox=$(command -v busybox)
    mkdir -p "$root"/{bin,etc,proc,sys,dev,tmp,root}
    cp "$busybox" "$root/bin/busybox"
    for applet in $("$busybox" --list); do
        [ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"
    done
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$root/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
    chmod 1777 "$root/tmp"
    pack localhost/quell-pause:1 "$root" /bin/sleep infinity >"$dir/pause.tar"
    pack localhost/quell-bb:1 "$root" /bin/sh >"$dir/bb.tar"
    rm -rf "$root"
}
