/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Maps, and the one way a record leaves: emit_process for what floods must not push out, emit_other for files and network,
 * which have a budget for each cgroup. In both rings no cgroup takes all: once a ring is half full, whoever has more than a
 * share of it waiting is held back, and the rest is for the others. Nothing is dropped without being counted in `LOST`, by
 * class, reason and cgroup.
 */
#pragma once

#include "kernel.h"
#include "record.h"

/* Power of two; src/load.rs may make rings of another size. */
#define RING_BYTES (8 * 1024 * 1024)

struct {
	MAP_UINT(type, BPF_MAP_RINGBUF);
	MAP_UINT(max_entries, RING_BYTES);
} PROCESS_RING SEC(".maps");

struct {
	MAP_UINT(type, BPF_MAP_RINGBUF);
	MAP_UINT(max_entries, RING_BYTES);
} OTHER_RING SEC(".maps");

/* CONTROL[0]: 1 while the reader polls by itself and needs no wakeup. [1]: records a cgroup may send in a second.
 * [2]: bit n set = some watched name has n bytes (63: or more). [3]: how many were lost in all, so that a reader need not
 * look through LOST while it stands still. */
enum { C_READER_POLLS = 0, C_BUDGET = 1, C_WATCH_LENGTHS = 2, C_LOSSES = 3, C_MAX = 4 };
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
enum { L_RING_FULL = 0, L_BUDGET = 1, L_SHARE = 2 };
struct {
	MAP_UINT(type, BPF_MAP_HASH);
	MAP_UINT(max_entries, 1024);
	MAP_TYPE(key, struct lost_key);
	MAP_TYPE(value, u64);
} LOST SEC(".maps");

/* Urgent records are counted apart: what else a cgroup does cannot use up their budget. */
struct budget {
	u64 second;
	u64 used;
	u64 urgent;
};
struct {
	MAP_UINT(type, BPF_MAP_LRU_HASH);
	MAP_UINT(max_entries, 4096);
	MAP_TYPE(key, u64);
	MAP_TYPE(value, struct budget);
} BUDGETS SEC(".maps");

/* What a cgroup has waiting in a ring, at most: its bytes since the reader last had read all that it sent; urgent ones apart. */
enum { R_PROCESS = 0, R_OTHER = 1 };
struct share_key {
	u64 cgroup;
	u64 ring;
};
struct share {
	u64 last; /* where its last record begins, or before */
	u64 bytes[2];
};
struct {
	MAP_UINT(type, BPF_MAP_LRU_HASH);
	MAP_UINT(max_entries, 4096);
	MAP_TYPE(key, struct share_key);
	MAP_TYPE(value, struct share);
} SHARES SEC(".maps");

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
	u32 index = C_LOSSES;
	u64 *all = bpf_map_lookup_elem(&CONTROL, &index);
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
	/* After the count itself: who sees this one sees the other. */
	if (all)
		__sync_fetch_and_add(all, 1);
}

/* Urgent wakes at once; otherwise a reader that polls needs no wakeup, and one that sleeps gets the kernel's own. */
INLINE u64 wakeup(struct head *head)
{
	if (head->flags & H_URGENT)
		return RB_FORCE_WAKEUP;
	return control(C_READER_POLLS) ? RB_NO_WAKEUP : 0;
}

/*
 * False when the ring is half full and this cgroup has more than an eighth of it waiting, urgent and other records each for
 * themselves. Below a quarter of the ring nothing is kept account of. Several CPUs may count one cgroup at once: the bound
 * is a rough one.
 */
INLINE bool within_share(void *ring, u64 which, struct head *head, u64 size)
{
	u64 waiting = bpf_ringbuf_query(ring, RB_AVAIL_DATA);
	struct share_key key = { .cgroup = head->cgroup, .ring = which };
	struct share *share;
	u64 whole, end;
	u64 *bytes;
	whole = bpf_ringbuf_query(ring, RB_RING_SIZE);
	if (waiting < whole / 4)
		return true;
	end = bpf_ringbuf_query(ring, RB_PROD_POS);
	share = bpf_map_lookup_elem(&SHARES, &key);
	if (!share) {
		struct share fresh = { .last = end };
		bpf_map_update_elem(&SHARES, &key, &fresh, MAP_ANY);
		return true;
	}
	if (bpf_ringbuf_query(ring, RB_CONS_POS) > share->last) {
		share->bytes[0] = 0;
		share->bytes[1] = 0;
	}
	bytes = head->flags & H_URGENT ? &share->bytes[1] : &share->bytes[0];
	if (waiting >= whole / 2 && *bytes >= whole / 8)
		return false;
	__sync_fetch_and_add(bytes, size);
	share->last = end;
	return true;
}

/* Into a ring, or into the count of what was lost. */
INLINE void emit(void *ring, u64 which, struct head *head, u64 size)
{
	if (!within_share(ring, which, head, size))
		count_loss(head->kind, L_SHARE, head->cgroup);
	else if (bpf_ringbuf_output(ring, head, size, wakeup(head)))
		count_loss(head->kind, L_RING_FULL, head->cgroup);
}

INLINE void emit_process(struct head *head, u64 size)
{
	emit(&PROCESS_RING, R_PROCESS, head, size);
}

/* False when this cgroup has had its share of the second: the same for what is urgent and for what is not. */
INLINE bool within_budget(struct head *head)
{
	u64 most = control(C_BUDGET);
	u64 second = head->at >> 30;
	u64 key = head->cgroup;
	bool urgent = head->flags & H_URGENT;
	struct budget *budget;
	if (!most)
		return true;
	budget = bpf_map_lookup_elem(&BUDGETS, &key);
	if (!budget) {
		struct budget fresh = { .second = second, .used = !urgent, .urgent = urgent };
		bpf_map_update_elem(&BUDGETS, &key, &fresh, MAP_ANY);
		return true;
	}
	if (budget->second != second) {
		budget->second = second;
		budget->used = 0;
		budget->urgent = 0;
	}
	if (urgent) {
		__sync_fetch_and_add(&budget->urgent, 1);
		return budget->urgent <= most;
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
	if (within_budget(head))
		emit(&OTHER_RING, R_OTHER, head, size);
	else
		count_loss(head->kind, L_BUDGET, head->cgroup);
}
