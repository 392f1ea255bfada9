/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The kernel's hands, a CO-RE object of their own: who is marked, and who descends from one who is, dies at the next
 * fork, exec or system call. Decides nothing: user space marks, every mark expires by the kernel's own clock, and a pause
 * flag ends it all at once. The hook at calls is in only while a mark lives: it would cost every call of the machine.
 * Helpers and patterns are those that Linux 5.8 has and that 6.1's verifier accepts.
 *
 *   fork ──▶ node(child) = {maker, lineage of the maker}, births[pid mod size]   the maker is searched for a mark
 *   exec ──▶ a lineage of its own
 *   call ──▶ only the process's own marks: what its birth said of it, its number, its lineage
 *
 * bpf_send_signal reaches the current process only, and a child is there before the hook of its fork runs: so the maker
 * dies at the fork, and the child, doomed by its node, at its first call. A chain of forks ends with it.
 */
#include "../kernel.h"
#include "../pause.h"

enum { BPF_F_MMAPABLE = 1 << 10 }; /* 5.5 */
#define SIGKILL 9
#define PF_KTHREAD 0x00200000
/* Ancestors that are asked for a mark, the dead among them. */
#define GENERATIONS 64
/* A mark on a process; anything else in its place is the exec that began a lineage. */
#define WHOLE 0xffffffffU
/* src/hands/births.rs holds the same numbers. */
#define BIRTHS 65536
#define BLOCK 256

static long (*bpf_send_signal)(u32 sig) = (void *)109; /* 5.3 */

/* A process, or the lineage that its exec began. */
struct key {
	u64 start;
	u32 tgid;
	u32 exec;
};

struct node {
	struct key parent;
	struct key lineage; /* all zero: it began before these hands did */
	u64 doomed;         /* until when, on the boot clock */
};

struct birth {
	u64 start; /* written last, and 0 while the rest is written */
	u32 tgid;
	u32 ended;
	u64 parent_start;
	u32 parent_tgid;
	u32 lineage_tgid;
	u64 lineage_start;
	u32 lineage_exec;
	u32 pad;
};

/* Nodes outlive their processes until as many newer ones were used. */
struct {
	MAP_UINT(type, BPF_MAP_LRU_HASH);
	MAP_UINT(max_entries, 65536);
	MAP_TYPE(key, struct key);
	MAP_TYPE(value, struct node);
} NODES SEC(".maps");

/* Written by user space alone; the value is the boot time at which the mark ends. */
struct {
	MAP_UINT(type, BPF_MAP_HASH);
	MAP_UINT(max_entries, 16384);
	MAP_TYPE(key, struct key);
	MAP_TYPE(value, u64);
} MARKS SEC(".maps");

/* Every fork, for a reader that must be faster than a chain of forks: user space maps it. */
struct {
	MAP_UINT(type, BPF_MAP_ARRAY);
	MAP_UINT(max_entries, BIRTHS);
	MAP_UINT(map_flags, BPF_F_MMAPABLE);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct birth);
} BIRTHS_SEEN SEC(".maps");

/* When somebody of a block of births was last noted: the reader passes over those where nobody was since. Numbers are
 * given out upwards, so that whoever came lately is in few of them. */
struct {
	MAP_UINT(type, BPF_MAP_ARRAY);
	MAP_UINT(max_entries, BIRTHS / BLOCK);
	MAP_UINT(map_flags, BPF_F_MMAPABLE);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
} BIRTHS_LATEST SEC(".maps");

/* [0] the end of the last mark. [1] the process that is never struck. [2] how many were. */
enum { C_UNTIL = 0, C_OWN = 1, C_STRUCK = 2, C_MAX = 3 };
struct {
	MAP_UINT(type, BPF_MAP_ARRAY);
	MAP_UINT(max_entries, C_MAX);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
} HAND_CONTROL SEC(".maps");

INLINE u64 control(u32 index)
{
	u64 *value = bpf_map_lookup_elem(&HAND_CONTROL, &index);
	return value ? *value : 0;
}

/* The time, when some mark is in force; 0 when none is. */
INLINE u64 in_force(void)
{
	u64 until = control(C_UNTIL), now;
	if (!until || paused())
		return 0;
	now = bpf_ktime_get_boot_ns();
	return until > now ? now : 0;
}

INLINE void strike(u32 tgid)
{
	u32 index = C_STRUCK;
	u64 *struck;
	if (tgid <= 1 || tgid == control(C_OWN))
		return;
	if (bpf_send_signal(SIGKILL))
		return;
	struck = bpf_map_lookup_elem(&HAND_CONTROL, &index);
	if (struck)
		__sync_fetch_and_add(struck, 1);
}

INLINE void key_of(struct key *key, struct task_struct *leader)
{
	key->start = KREAD(leader, start_boottime);
	key->tgid = KREAD(leader, tgid);
	key->exec = WHOLE;
}

INLINE struct node *node_of(struct key *own, struct task_struct *leader)
{
	struct node *node = bpf_map_lookup_elem(&NODES, own);
	struct node fresh = {};
	struct task_struct *parent;
	if (node)
		return node;
	parent = KREAD(leader, real_parent);
	key_of(&fresh.parent, KREAD(parent, group_leader));
	bpf_map_update_elem(&NODES, own, &fresh, MAP_NOEXIST);
	return bpf_map_lookup_elem(&NODES, own);
}

INLINE u64 mark_on(struct key *key, u64 now)
{
	u64 *until = bpf_map_lookup_elem(&MARKS, key);
	return until && *until > now ? *until : 0;
}

/* Until when this process is doomed by itself or by one whom it descends from; 0 when it is not. */
INLINE u64 search(struct key *own, u64 now)
{
	struct key at = *own;
	for (u32 i = 0; i < GENERATIONS; i++) {
		u64 until = mark_on(&at, now);
		struct node *node;
		if (until)
			return until;
		node = bpf_map_lookup_elem(&NODES, &at);
		if (!node)
			return 0;
		if (node->doomed > now)
			return node->doomed;
		until = mark_on(&node->lineage, now);
		if (until)
			return until;
		at = node->parent;
	}
	return 0;
}

INLINE struct birth *birth_of(u32 tgid)
{
	u32 index = tgid % BIRTHS;
	return bpf_map_lookup_elem(&BIRTHS_SEEN, &index);
}

INLINE void note_birth(struct key *own, struct node *node)
{
	volatile struct birth *birth = birth_of(own->tgid);
	u32 block = own->tgid % BIRTHS / BLOCK;
	volatile u64 *latest = bpf_map_lookup_elem(&BIRTHS_LATEST, &block);
	u64 now;
	if (!birth || !latest)
		return;
	birth->start = 0;
	birth->tgid = own->tgid;
	birth->ended = 0;
	birth->parent_start = node->parent.start;
	birth->parent_tgid = node->parent.tgid;
	birth->lineage_tgid = node->lineage.tgid;
	birth->lineage_start = node->lineage.start;
	birth->lineage_exec = node->lineage.exec;
	birth->start = own->start;
	/* Last: whoever sees this time finds the birth whole. x86 keeps stores in their order; where they may pass each other,
	 * a birth that is not whole yet is known by its start, and found at the next reading. Never backwards: another
	 * processor may have been later. */
	now = bpf_ktime_get_boot_ns();
	if (*latest < now)
		*latest = now;
}

/* A new thread of one who is doomed is stopped with it, but it is no birth. */
SEC("tp_btf/sched_process_fork")
int hand_fork(u64 *ctx)
{
	struct task_struct *maker = (void *)ctx[0], *child = (void *)ctx[1];
	struct task_struct *leader = KREAD(maker, group_leader);
	struct key own = {}, born = {};
	struct node fresh = {};
	struct node *node;
	u64 now = in_force(), until = 0;

	key_of(&own, leader);
	node = node_of(&own, leader);
	if (node)
		fresh.lineage = node->lineage;
	if (now)
		until = search(&own, now);
	if (KREAD(child, pid) == KREAD(child, tgid)) {
		/* Its maker, whomever clone(CLONE_PARENT) made its parent. */
		fresh.parent = own;
		fresh.doomed = until;
		key_of(&born, child);
		bpf_map_update_elem(&NODES, &born, &fresh, MAP_ANY);
		note_birth(&born, &fresh);
	}
	if (until)
		strike(own.tgid);
	return 0;
}

/* By now the number and the start are the leader's, whichever thread did it (fs/exec.c, de_thread: 5.8-6.18). */
SEC("tp_btf/sched_process_exec")
int hand_exec(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct task_struct *leader = KREAD(task, group_leader);
	volatile struct birth *birth;
	struct key own = {};
	struct node *node;
	u64 now = in_force(), until = 0;
	u32 exec = KREAD(task, self_exec_id);

	key_of(&own, leader);
	node = node_of(&own, leader);
	if (now)
		until = search(&own, now);
	if (exec == WHOLE)
		exec = 0;
	if (node) {
		if (until)
			node->doomed = until;
		node->lineage.start = own.start;
		node->lineage.tgid = own.tgid;
		node->lineage.exec = exec;
	}
	birth = birth_of(own.tgid);
	if (birth && birth->start == own.start && birth->tgid == own.tgid) {
		birth->lineage_tgid = own.tgid;
		birth->lineage_start = own.start;
		birth->lineage_exec = exec;
	}
	if (until)
		strike(own.tgid);
	return 0;
}

/* The process has ended with its last thread (signal->live was counted down before: 5.8-6.18). */
SEC("tp_btf/sched_process_exit")
int hand_exit(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct task_struct *leader = KREAD(task, group_leader);
	struct signal_struct *signal = KREAD(task, signal);
	volatile struct birth *birth;
	struct key own = {};
	if (KREAD(signal, live.counter) != 0)
		return 0;
	key_of(&own, leader);
	birth = birth_of(own.tgid);
	if (birth && birth->start == own.start && birth->tgid == own.tgid)
		birth->ended = 1;
	return 0;
}

/* Before the call: a fork that finds SIGKILL pending makes no child (kernel/fork.c, copy_process). */
SEC("tp_btf/sys_enter")
int hand_call(u64 *ctx)
{
	u64 now = in_force();
	struct task_struct *task, *leader;
	struct key own = {};
	struct node *node;
	u64 until;
	if (!now)
		return 0;
	task = (void *)bpf_get_current_task();
	leader = KREAD(task, group_leader);
	key_of(&own, leader);
	until = mark_on(&own, now);
	node = until ? NULL : bpf_map_lookup_elem(&NODES, &own);
	if (node)
		until = node->doomed > now ? node->doomed : mark_on(&node->lineage, now);
	if (until)
		strike(own.tgid);
	return 0;
}

/* Those who were there before; their lineages are not known. */
SEC("iter/task")
int hand_scan(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct signal_struct *signal;
	volatile struct birth *birth;
	struct key own = {};
	struct node *node;
	if (!task || (KREAD(task, flags) & PF_KTHREAD) || KREAD(task, pid) != KREAD(task, tgid))
		return 0;
	key_of(&own, task);
	node = node_of(&own, task);
	birth = birth_of(own.tgid);
	/* Unless whoever took its number has come since: that one was noted at its fork. */
	if (node && birth && (birth->tgid == own.tgid ? birth->start < own.start : birth->start != own.start))
		note_birth(&own, node);
	/* A zombie ended before these hands were there to see it. */
	signal = KREAD(task, signal);
	if (birth && birth->start == own.start && birth->tgid == own.tgid && !KREAD(signal, live.counter))
		birth->ended = 1;
	return 0;
}

/* The helpers that read kernel memory ask for it. */
char LICENSE[] SEC("license") = "GPL";
