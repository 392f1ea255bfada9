/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Who a task is: identity, credentials, cgroup. Reads kernel memory only. */
#pragma once

#include "maps.h"

/*
 * The v2 cgroup's id; 1 is the v2 root, where everything lives that only v1 moved: then the v1 freezer's id.
 * Either equals the inode of the cgroup's directory.
 */
INLINE u64 cgroup_of(struct task_struct *task, bool typed)
{
	struct css_set *set = READ(typed, task, cgroups);
	struct cgroup *group = READ(typed, set, dfl_cgrp);
	struct kernfs_node *node = READ(typed, group, kn);
	u64 id = READ(typed, node, id);
	if (id <= 1 && ENUM_EXISTS(enum cgroup_subsys_id, freezer_cgrp_id)) {
		u64 index = ENUM_VALUE(enum cgroup_subsys_id, freezer_cgrp_id);
		struct cgroup_subsys_state *state = NULL;
		bpf_probe_read_kernel(&state, sizeof(state), (char *)&set->subsys + index * sizeof(void *));
		if (state) {
			struct cgroup *older_group = KREAD(state, cgroup);
			struct kernfs_node *older_node = KREAD(older_group, kn);
			u64 older = KREAD(older_node, id);
			if (older > 1)
				id = older;
		}
	}
	return id;
}

/* Read as bytes: its one field has had two names. */
INLINE u64 capabilities(void *at)
{
	u64 bits = 0;
	bpf_probe_read_kernel(&bits, sizeof(bits), at);
	return bits;
}

INLINE void fill_head_of(struct head *head, struct task_struct *task, u8 kind, bool typed)
{
	struct task_struct *leader = READ(typed, task, group_leader);
	struct task_struct *parent = READ(typed, task, real_parent);
	struct task_struct *parent_leader = READ(typed, parent, group_leader);
	struct cred *cred = READ(typed, task, cred);
	struct nsproxy *spaces = READ(typed, task, nsproxy);

	head->kind = kind;
	head->flags = 0;
	head->sub = 0;
	head->pad = 0;
	head->at = bpf_ktime_get_boot_ns();
	head->pid = READ(typed, task, tgid);
	head->tid = READ(typed, task, pid);
	head->start = READ(typed, leader, start_boottime);
	head->exec_id = READ(typed, task, self_exec_id);
	head->ppid = READ(typed, parent, tgid);
	head->parent_start = READ(typed, parent_leader, start_boottime);
	head->uid = READ(typed, cred, uid.val);
	head->gid = READ(typed, cred, gid.val);
	head->euid = READ(typed, cred, euid.val);
	head->egid = READ(typed, cred, egid.val);
	head->mnt_ns = 0;
	/* A process that exits has let go of its namespaces. */
	if (spaces) {
		struct mnt_namespace *mounts = READ(typed, spaces, mnt_ns);
		head->mnt_ns = READ(typed, mounts, ns.inum);
	}
	head->cgroup = cgroup_of(task, typed);
	KREAD_INTO(&head->comm, task, comm);
}

/* Of a task by its bare address. */
INLINE void fill_head(struct head *head, struct task_struct *task, u8 kind)
{
	fill_head_of(head, task, kind, false);
}

/* The open file behind an fd of a task, or NULL. */
INLINE struct file *file_of(struct task_struct *task, u32 fd)
{
	struct files_struct *files = KREAD(task, files);
	struct fdtable *table = KREAD(files, fdt);
	struct file **fds = KREAD(table, fd);
	struct file *file = NULL;
	if (!files || fd >= KREAD(table, max_fds))
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), fds + fd);
	return file;
}
