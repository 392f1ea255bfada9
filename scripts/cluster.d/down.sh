# Takes every trace of a cluster away: who starts it, its processes, cgroups and veth, then its files but the logs. Goes by what
# stands in the kernel under the cluster's name, and needs no file of it; so it may be said twice, and after any death.
# shellcheck shell=bash

# Every process of the cluster, wherever it was moved to within one hierarchy.
members() {
    local root
    for root in $(hierarchies); do
        find "$root/$group" -name cgroup.procs -exec cat {} + 2>/dev/null
    done | sort -un | grep -vx 0
}

end_processes() {
    local root state
    for root in $(hierarchies); do
        [ ! -e "$root/$group/cgroup.kill" ] || echo 1 >"$root/$group/cgroup.kill"
        # Who is frozen (v1) does not die.
        find "$root/$group" -name freezer.state 2>/dev/null | while read -r state; do echo THAWED >"$state"; done
    done
    # shellcheck disable=SC2046
    kill -KILL $(members) 2>/dev/null || true
    [ -z "$(members)" ]
}

end_cgroups() {
    local root
    for root in $(hierarchies); do
        [ -e "$root/$group" ] || continue
        find "$root/$group" -depth -type d -exec rmdir {} + 2>/dev/null
        [ ! -e "$root/$group" ] || return 1
    done
}

# What a cluster wrote in its directory, but for what its services said; known by what `up` wrote there first.
clear_directory() {
    [ "$(cat "$dir/.quell-cluster" 2>/dev/null)" = "$id" ] || return 0
    find "$dir" -mindepth 1 -maxdepth 1 ! -name log ! -name .quell-cluster -exec rm -rf --one-file-system -- {} + &&
        rm -f "$dir/.quell-cluster"
}

# Whoever is still starting it goes first, or would go on.
end_starter() {
    local up
    up=$(marked up)
    [ ! -e "$dir/env" ] && is "$up" || return 0
    kill -TERM "${up% *}" 2>/dev/null || return 0
    until_so 10 "the one who starts it ends" eval "! is '$up'" || kill -KILL "${up% *}" 2>/dev/null || true
}

down() {
    [ $# = 1 ] || wrong "expected: down DIR"
    [ "$(id -u)" = 0 ] || missing "only root may end a cluster"
    names "$1"
    if grep -qsx EXISTING=1 "$dir/env"; then
        rm -f "$dir/env" "$dir/admin.kubeconfig"
        return
    fi
    end_starter
    take_down
}

# take_down [UP]: what `down` does, to the names that are set; with UP only what that very `up` started.
take_down() {
    local since=$EPOCHREALTIME bad=0 lock stood=
    exec 7<&- # where this interrupts who holds the same lock
    exec {lock}</run # one at a time, whoever they are
    flock "$lock"
    if [ -n "${1:-}" ] && [ "$(marked up)" != "$1" ]; then
        exec {lock}<&-
        return 0
    fi
    [ ! -e "$mark" ] || stood=1
    until_so 30 "every process of $group has ended" end_processes || bad=1
    until_so 30 "the cgroups of $group are gone" end_cgroups || bad=1
    ip link del "$link" 2>/dev/null || true
    clear_directory || bad=1
    rm -f "$mark"
    rmdir "$marks" 2>/dev/null || true
    exec {lock}<&-
    [ -z "$stood" ] || say "ended, and nothing left: $(seconds "$since")"
    [ "$bad" = 0 ] || fail "something of $group was left; hint: scripts/cluster down $dir"
}

# The subcommand: a cluster whose owner has ended is being ended by its keeper, who is waited for; where the keeper was
# killed too, it is ended from here. Whatever has an owner, or was started to stay, is left alone.
sweep() {
    local mark keeper
    for mark in "$marks"/*; do
        keeper=$(marked keeper)
        [ -n "$keeper" ] || continue
        if is "$keeper"; then
            ! is "$(marked owner)" || continue
            until_so 60 "the cluster in $(marked dir) has ended" [ ! -e "$mark" ] && continue
        fi
        [ -e "$mark" ] || continue
        say "the keeper of the cluster in $(marked dir) was killed: ending it"
        (names "$(marked dir)" && take_down) || true
    done
}
