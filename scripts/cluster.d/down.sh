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

# Whoever is still starting it goes first, or would go on. A keeper that is at this here is left alone.
end_starter() {
    local pid start
    read -r pid start 2>/dev/null <"$dir/starter" || return 0
    [ "$pid" != "$$" ] && [ -n "$start" ] && [ "$(started "$pid")" = "$start" ] || return 0
    kill -TERM "$pid" 2>/dev/null || return 0
    until_so 10 "the one who starts it ends" eval "[ \"\$(started $pid)\" != $start ]" || kill -KILL "$pid" 2>/dev/null || true
}

down() {
    [ $# = 1 ] || wrong "expected: down DIR"
    [ "$(id -u)" = 0 ] || missing "only root may end a cluster"
    names "$1"
    end_starter
    take_down
}

# take_down: what `down` does to the names that are set.
take_down() {
    local since=$EPOCHREALTIME bad=0 lock
    exec 7<&- # where this interrupts who holds the same lock
    exec {lock}</run # one at a time, whoever they are
    flock "$lock"
    local stood=
    [ ! -e "$mark" ] && [ ! -e "$dir/env" ] || stood=1
    until_so 30 "every process of $group has ended" end_processes || bad=1
    until_so 30 "the cgroups of $group are gone" end_cgroups || bad=1
    ip link del "$link" 2>/dev/null || true
    # Its directory is known by what `up` wrote there first.
    if [ "$(cat "$dir/.quell-cluster" 2>/dev/null)" = "$id" ]; then
        find "$dir" -mindepth 1 -maxdepth 1 ! -name log ! -name .quell-cluster -exec rm -rf --one-file-system -- {} + || bad=1
        rm -f "$dir/.quell-cluster"
    fi
    rm -f "$mark"
    rmdir "$marks" 2>/dev/null || true
    exec {lock}<&-
    [ -z "$stood" ] || say "ended, and nothing left: $(seconds "$since")"
    [ "$bad" = 0 ] || fail "something of $group was left; hint: scripts/cluster down $dir"
}

# The subcommand: a cluster whose owner has ended is being ended by its keeper, who is waited for; where the keeper was
# killed too, it is ended from here. Whatever has an owner, or was started to stay, is left alone.
sweep() {
    local each where keeper start owner since
    for each in "$marks"/*; do
        { read -r where; read -r keeper start; read -r owner since; } 2>/dev/null <"$each" || continue
        if [ "$(started "$keeper")" = "$start" ]; then
            [ "$(started "$owner")" != "$since" ] || continue
            until_so 60 "the cluster in $where has ended" [ ! -e "$each" ] && continue
        fi
        [ -e "$each" ] || continue
        say "the keeper of the cluster in $where was killed: ending it"
        (names "$where" && take_down) || true
    done
}
