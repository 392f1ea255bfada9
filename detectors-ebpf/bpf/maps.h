/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Maps, and the one way a record leaves: emit_process for what floods must not push out, emit_other for files and network,
 * which have a budget for each cgroup. Nothing is dropped without being counted in `lost`.
 */
#pragma once

#include "kernel.h"
#include "record.h"

struct {
	MAP_UINT(type, BPF_MAP_RINGBUF);
	MAP_UINT(max_entries, 8 * 1024 * 1024);
} PROCESS_RING SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_RINGBUF);
	MAP_UINT(max_entries, 8 * 1024 * 1024);
} OTHER_RING SEC(".maps");

/* CONTROL[0]: 1 while the reader polls by itself and needs no wakeup. [1]: records a cgroup may send in a second.
 * [2]: bit n set = some watched name has n bytes (63: or more). */
enum { C_READER_POLLS = 0, C_BUDGET = 1, C_WATCH_LENGTHS = 2, C_MAX = 4 };
struct {
	MAP_UINT(type, BPF_MAP_ARRAY);
	MAP_UINT(max_entries, C_MAX);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
} CONTROL SEC(".maps");

struct lost_key {
	u32 kind;
	u32 why;
	u64 cgroup;
};
enum { L_RING_FULL = 0, L_BUDGET = 1 };
struct {
	MAP_UINT(type, BPF_MAP_HASH);
	MAP_UINT(max_entries, 1024);
	MAP_TYPE(key, struct lost_key);
	MAP_TYPE(value, u64);
} LOST SEC(".maps");

struct budget {
	u64 second;
	u64 used;
};
struct {
	MAP_UINT(type, BPF_MAP_LRU_HASH);
	MAP_UINT(max_entries, 4096);
	MAP_TYPE(key, u64);
	MAP_TYPE(value, struct budget);
} BUDGETS SEC(".maps");

/* Processes whose file and network events are not wanted: the sensor's own. */
struct {
	MAP_UINT(type, BPF_MAP_HASH);
	MAP_UINT(max_entries, 64);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u8);
} IGNORED SEC(".maps");

/* Name components that make a read interesting; user space compares the whole path. */
#define WATCH_NAME 32
struct watch_name {
	char name[WATCH_NAME];
};
struct {
	MAP_UINT(type, BPF_MAP_HASH);
	MAP_UINT(max_entries, 1024);
	MAP_TYPE(key, struct watch_name);
	MAP_TYPE(value, u8);
} WATCHED SEC(".maps");

/* Build space. One for each context that can interrupt another: exec runs in a process, with preemption off. */
struct {
	MAP_UINT(type, BPF_MAP_PERCPU_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct exec);
} EXEC_SCRATCH SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_PERCPU_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct file_record);
} FILE_SCRATCH SEC(".maps");

INLINE u64 control(u32 index)
{
	u64 *value = bpf_map_lookup_elem(&CONTROL, &index);
	return value ? *value : 0;
}

INLINE void count_loss(u32 kind, u32 why, u64 cgroup)
{
	struct lost_key key = { .kind = kind, .why = why, .cgroup = cgroup };
	u64 *count = bpf_map_lookup_elem(&LOST, &key);
	if (!count) {
		u64 none = 0;
		bpf_map_update_elem(&LOST, &key, &none, MAP_NOEXIST);
		count = bpf_map_lookup_elem(&LOST, &key);
	}
	if (!count) {
		/* More cgroups lose at once than there are places: cgroup 0 stands for the rest. User space makes it. */
		key.cgroup = 0;
		count = bpf_map_lookup_elem(&LOST, &key);
	}
	if (count)
		__sync_fetch_and_add(count, 1);
}

/* Urgent wakes at once; otherwise a reader that polls needs no wakeup, and one that sleeps gets the kernel's own. */
INLINE u64 wakeup(struct head *head)
{
	if (head->flags & H_URGENT)
		return RB_FORCE_WAKEUP;
	return control(C_READER_POLLS) ? RB_NO_WAKEUP : 0;
}

INLINE void emit_process(struct head *head, u64 size)
{
	if (bpf_ringbuf_output(&PROCESS_RING, head, size, wakeup(head)))
		count_loss(head->kind, L_RING_FULL, head->cgroup);
}

/* False when this cgroup has had its share of the second; urgent records are not held. */
INLINE bool within_budget(struct head *head)
{
	u64 most = control(C_BUDGET);
	u64 second = head->at >> 30;
	u64 key = head->cgroup;
	struct budget *budget;
	if (!most || (head->flags & H_URGENT))
		return true;
	budget = bpf_map_lookup_elem(&BUDGETS, &key);
	if (!budget) {
		struct budget fresh = { .second = second, .used = 1 };
		bpf_map_update_elem(&BUDGETS, &key, &fresh, MAP_ANY);
		return true;
	}
	if (budget->second != second) {
		budget->second = second;
		budget->used = 0;
	}
	__sync_fetch_and_add(&budget->used, 1);
	return budget->used <= most;
}

INLINE bool ignored(u32 pid)
{
	return bpf_map_lookup_elem(&IGNORED, &pid) != NULL;
}

INLINE void emit_other(struct head *head, u64 size)
{
	if (!within_budget(head)) {
		count_loss(head->kind, L_BUDGET, head->cgroup);
		return;
	}
	if (bpf_ringbuf_output(&OTHER_RING, head, size, wakeup(head)))
		count_loss(head->kind, L_RING_FULL, head->cgroup);
}
