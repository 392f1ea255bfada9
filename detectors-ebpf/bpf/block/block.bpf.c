/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Images that may not start: who execs one dies before its first instruction, or is refused the exec where the kernel
 * lets BPF decide on it. Decides nothing: user space enters the images, each entry ends by the kernel's own clock and by
 * its budget, and a pause flag holds it all. It takes Linux 5.12 (the fetched value of an atomic add), and patterns
 * that 6.1's verifier accepts. Two processors at once may pass the budget by one.
 *
 *   exec ──▶ (device, inode, generation) of the image ──▶ an entry of the host, or of a cgroup around it? ──▶ SIGKILL
 *                                                             └─ budget ─ ledger: what fired, also while nobody reads
 *
 * SIGKILL sent by the current task to itself is pending when the tracepoint returns; the exec is past its point of no
 * return then, and the way back to user mode ends in the signal (fs/exec.c exec_binprm, kernel/signal.c: 5.8-6.18).
 */
#include "../kernel.h"
#include "../pause.h"

#define SIGKILL 9
#define EPERM 1
#define PF_KTHREAD 0x00200000
/* Different depths at which cgroups with entries may lie. */
#define LEVELS 32
/* src/block/ledger.rs holds the same numbers. */
#define LEDGER 4096
#define NAME 64
#define LABEL 128
#define OWNER 64

static long (*bpf_send_signal)(u32 sig) = (void *)109; /* 5.3 */

/* What `group` is a number of. */
enum { OF_HOST = 0, OF_V1 = 1, OF_V2 = 2 };

struct image {
	u64 device; /* super_block.s_dev */
	u64 inode;
	u64 group; /* the inode of the cgroup's directory; 0: all of the host */
	u32 generation;
	u32 kind;
};

struct block {
	u64 id;
	u64 until;  /* on the boot clock */
	u64 within; /* a window of the budget, in ns */
	u64 began;  /* this window */
	u64 struck; /* since it was entered */
	u64 last;   /* the exec that was struck last: two programs may be hooked in while one takes over from the other */
	u64 start;  /* and when its process began */
	u32 most;   /* in a window */
	u32 count;  /* in this window */
	u32 spent;  /* the budget is used up: it strikes no more */
	u32 missed; /* execs that the signal could not be sent to */
	u32 level;  /* how deep its cgroup lies, the root at 0 */
	u32 pad;
	char label[LABEL]; /* for people; not looked at here */
	char owner[OWNER]; /* as well */
};

/* Written by user space alone; the kernel counts in it. */
struct {
	MAP_UINT(type, BPF_MAP_HASH);
	MAP_UINT(max_entries, 4096);
	MAP_TYPE(key, struct image);
	MAP_TYPE(value, struct block);
} BLOCK_ENTRIES SEC(".maps");

/* The depths at which cgroups with entries lie, in no order; 0 is an empty place. Written by user space alone, a word at a
 * time, so that whoever looks meanwhile misses none that stands. */
struct levels {
	u32 level[LEVELS];
};
struct {
	MAP_UINT(type, BPF_MAP_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct levels);
} BLOCK_LEVELS SEC(".maps");

/* What fired; the oldest is written over. `number` is written last, and 0 while the rest is written. */
struct firing {
	u64 number; /* from 1 */
	u64 id;
	u64 at; /* on the boot clock */
	u64 start;
	u64 group; /* the process's own cgroup */
	u32 tgid;
	u32 parent;
	u32 uid;
	u32 what;
	char name[NAME]; /* what the exec asked for */
};
enum { W_KILLED = 0, W_DENIED = 1, W_SPENT = 2, W_MISSED = 3 };

struct {
	MAP_UINT(type, BPF_MAP_ARRAY);
	MAP_UINT(max_entries, LEDGER);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct firing);
} BLOCK_LEDGER SEC(".maps");

/* [0] the number of the last firing. User space's: [1] the last one that a journal has, [2] when this ledger was begun. */
enum { C_FIRED = 0, C_READ = 1, C_BEGUN = 2, C_MAX = 3 };
struct {
	MAP_UINT(type, BPF_MAP_ARRAY);
	MAP_UINT(max_entries, C_MAX);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
} BLOCK_CONTROL SEC(".maps");

INLINE u64 *control(u32 index)
{
	return bpf_map_lookup_elem(&BLOCK_CONTROL, &index);
}

INLINE void identify(struct image *image, struct inode *inode)
{
	struct super_block *sb = KREAD(inode, i_sb);
	image->device = KREAD(sb, s_dev);
	image->inode = KREAD(inode, i_ino);
	image->generation = KREAD(inode, i_generation);
}

INLINE bool stands(struct block *block)
{
	return block && !block->spent && block->until > bpf_ktime_get_boot_ns();
}

INLINE struct cgroup *v2_of(struct task_struct *task)
{
	struct css_set *set = KREAD(task, cgroups);
	return KREAD(set, dfl_cgrp);
}

INLINE struct cgroup *freezer_of(struct task_struct *task)
{
	struct css_set *set = KREAD(task, cgroups);
	struct cgroup_subsys_state *state = NULL;
	u64 index;
	if (!ENUM_EXISTS(enum cgroup_subsys_id, freezer_cgrp_id))
		return NULL;
	index = ENUM_VALUE(enum cgroup_subsys_id, freezer_cgrp_id);
	bpf_probe_read_kernel(&state, sizeof(state), (char *)&set->subsys + index * sizeof(void *));
	return state ? KREAD(state, cgroup) : NULL;
}

INLINE u64 id_of(struct cgroup *group)
{
	struct kernfs_node *node = KREAD(group, kn);
	return KREAD(node, id);
}

/* Before 6.1 a cgroup has the numbers of those around it, since then the cgroups themselves. */
INLINE u64 id_at(struct cgroup *group, u32 level)
{
	u64 id = 0;
	if (FIELD_EXISTS(struct cgroup, ancestors)) {
		struct cgroup *above = NULL;
		u64 at = FIELD_OFFSET(struct cgroup, ancestors) + level * sizeof(above);
		bpf_probe_read_kernel(&above, sizeof(above), (char *)group + at);
		return above ? id_of(above) : 0;
	}
	if (FIELD_EXISTS(struct cgroup___older, ancestor_ids)) {
		u64 at = FIELD_OFFSET(struct cgroup___older, ancestor_ids) + level * sizeof(id);
		bpf_probe_read_kernel(&id, sizeof(id), (char *)group + at);
	}
	return id;
}

/* The entry in force for the image itself in one of its cgroups, the innermost, of one hierarchy: one look a depth at which
 * entries stand, however deep the process lies. */
INLINE struct block *around(struct image *image, struct cgroup *group, u32 kind)
{
	struct block *found = NULL;
	struct levels *levels;
	u32 zero = 0, own, best = 0;
	levels = bpf_map_lookup_elem(&BLOCK_LEVELS, &zero);
	if (!levels || !group)
		return NULL;
	own = KREAD(group, level);
	image->kind = kind;
	for (u32 i = 0; i < LEVELS; i++) {
		u32 level = levels->level[i];
		struct block *block;
		if (!level || level > own || level < best)
			continue;
		image->group = id_at(group, level);
		block = bpf_map_lookup_elem(&BLOCK_ENTRIES, image);
		if (!stands(block))
			continue;
		found = block;
		best = level;
	}
	return found;
}

/* The entry that this image meets here, when one is in force. */
INLINE struct block *met(struct task_struct *task, struct file *file)
{
	struct image image = {};
	struct block *block;

	if (!file || bpf_get_current_pid_tgid() >> 32 <= 1 || (KREAD(task, flags) & PF_KTHREAD))
		return NULL;
	identify(&image, KREAD(file, f_inode));
	block = bpf_map_lookup_elem(&BLOCK_ENTRIES, &image);
	if (stands(block))
		return block;
	block = around(&image, v2_of(task), OF_V2);
	if (block)
		return block;
	return around(&image, freezer_of(task), OF_V1);
}

INLINE void write_down(struct block *block, struct task_struct *task, const char *name, u32 what)
{
	struct task_struct *leader = KREAD(task, group_leader), *parent = KREAD(leader, real_parent);
	volatile struct firing *firing;
	struct cred *cred = KREAD(task, cred);
	u64 *fired = control(C_FIRED), number, group;
	u32 index;
	/* The trial of a start is nobody's. */
	if (!fired || !block->id)
		return;
	number = __sync_fetch_and_add(fired, 1) + 1;
	index = number % LEDGER;
	firing = bpf_map_lookup_elem(&BLOCK_LEDGER, &index);
	if (!firing)
		return;
	firing->number = 0;
	firing->id = block->id;
	firing->at = bpf_ktime_get_boot_ns();
	firing->start = KREAD(leader, start_boottime);
	group = id_of(v2_of(task));
	if (group <= 1) {
		struct cgroup *older = freezer_of(task);
		if (older)
			group = id_of(older);
	}
	firing->group = group;
	firing->tgid = KREAD(leader, tgid);
	firing->parent = KREAD(parent, tgid);
	firing->uid = KREAD(cred, uid.val);
	firing->what = what;
	if (bpf_probe_read_kernel_str((void *)firing->name, NAME, name) < 0)
		firing->name[0] = 0;
	firing->number = number;
}

/* Whether the budget allows one more; writes down that it is used up when it does not. */
INLINE bool afford(struct block *block, struct task_struct *task, const char *name)
{
	u64 now = bpf_ktime_get_boot_ns();
	if (now - block->began >= block->within) {
		block->began = now;
		block->count = 0;
	}
	if (block->count < block->most) {
		__sync_fetch_and_add(&block->count, 1);
		return true;
	}
	block->spent = 1;
	write_down(block, task, name, W_SPENT);
	return false;
}

SEC("tp_btf/sched_process_exec")
int block_exec(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct linux_binprm *binprm = (void *)ctx[2];
	struct task_struct *leader;
	struct block *block;
	const char *name;
	u64 exec, start;

	if (paused())
		return 0;
	block = met(task, KREAD(binprm, file));
	if (!block)
		return 0;
	name = KREAD(binprm, filename);
	leader = KREAD(task, group_leader);
	start = KREAD(leader, start_boottime);
	exec = ((u64)KREAD(task, tgid) << 32) | (KREAD(task, self_exec_id) & 0xffffffff);
	if (block->last == exec && block->start == start) {
		bpf_send_signal(SIGKILL);
		return 0;
	}
	if (!afford(block, task, name))
		return 0;
	block->start = start;
	block->last = exec;
	if (bpf_send_signal(SIGKILL)) {
		__sync_fetch_and_add(&block->count, -1);
		__sync_fetch_and_add(&block->missed, 1);
		write_down(block, task, name, W_MISSED);
		return 0;
	}
	__sync_fetch_and_add(&block->struck, 1);
	write_down(block, task, name, W_KILLED);
	return 0;
}

/* Where the kernel asks BPF before an exec (lsm=…,bpf): scripts are asked about here before their interpreters are. */
SEC("lsm/bprm_check_security")
int block_check(u64 *ctx)
{
	struct linux_binprm *binprm = (void *)ctx[0];
	int before = (int)ctx[1];
	struct task_struct *task = (void *)bpf_get_current_task();
	struct block *block;
	const char *name;

	if (before || paused())
		return before;
	block = met(task, KREAD(binprm, file));
	if (!block)
		return 0;
	name = KREAD(binprm, filename);
	if (!afford(block, task, name))
		return 0;
	__sync_fetch_and_add(&block->struck, 1);
	write_down(block, task, name, W_DENIED);
	return -EPERM;
}

/* What is asked with BPF_PROG_TEST_RUN, on the asker's own thread: which image the kernel sees behind an open file, or how
 * deep an open cgroup lies (`group`). */
struct {
	MAP_UINT(type, BPF_MAP_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct image);
} BLOCK_ANSWER SEC(".maps");

SEC("raw_tp/sched_process_exec")
int block_ask(u64 *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct files_struct *files = KREAD(task, files);
	struct fdtable *table = KREAD(files, fdt);
	struct file **fds = KREAD(table, fd), *file = NULL;
	struct image image = {};
	u32 fd = ctx[0], zero = 0;

	if (!files || fd >= KREAD(table, max_fds))
		return 1;
	bpf_probe_read_kernel(&file, sizeof(file), &fds[fd]);
	if (!file)
		return 1;
	if (ctx[1]) {
		/* A cgroup's directory: its inode's node is the cgroup's (fs/kernfs/inode.c, kernel/cgroup/cgroup.c: 5.8-6.18). */
		struct inode *inode = KREAD(file, f_inode);
		struct kernfs_node *node = KREAD(inode, i_private);
		struct cgroup *group = KREAD(node, priv);
		image.inode = KREAD(node, id);
		image.group = KREAD(group, level);
	} else {
		identify(&image, KREAD(file, f_inode));
	}
	return bpf_map_update_elem(&BLOCK_ANSWER, &zero, &image, MAP_ANY) != 0;
}

/* What user space struck (scripts), for the ledger: written down here, it outlives whoever struck. */
struct {
	MAP_UINT(type, BPF_MAP_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct firing);
} BLOCK_NOTE SEC(".maps");

SEC("raw_tp/sched_process_exec")
int block_note(u64 *ctx)
{
	u64 *fired = control(C_FIRED), number;
	volatile struct firing *firing;
	struct firing *note;
	u32 zero = 0, index;
	note = bpf_map_lookup_elem(&BLOCK_NOTE, &zero);
	if (!fired || !note)
		return 1;
	number = __sync_fetch_and_add(fired, 1) + 1;
	index = number % LEDGER;
	firing = bpf_map_lookup_elem(&BLOCK_LEDGER, &index);
	if (!firing)
		return 1;
	firing->number = 0;
	firing->id = note->id;
	firing->at = note->at;
	firing->start = note->start;
	firing->group = note->group;
	firing->tgid = note->tgid;
	firing->parent = note->parent;
	firing->uid = note->uid;
	firing->what = note->what;
	for (u32 i = 0; i < NAME; i++)
		firing->name[i] = note->name[i];
	firing->number = number;
	return 0;
}

/* The helpers that read kernel memory ask for it. */
char LICENSE[] SEC("license") = "GPL";
