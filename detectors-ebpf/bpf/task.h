/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Who a task is: identity, credentials, cgroup. Reads kernel memory only. */
#pragma once

#include "maps.h"

/*
 * The v2 cgroup's id; 1 is the v2 root, where everything lives that only v1 moved: then the v1 freezer's id.
 * Either equals the inode of the cgroup's directory.
 */
INLINE u64 cgroup_of(struct task_struct *task)
{
	struct css_set *set = KREAD(task, cgroups);
	struct cgroup *group = KREAD(set, dfl_cgrp);
	struct kernfs_node *node = KREAD(group, kn);
	u64 id = KREAD(node, id);
	if (id <= 1 && ENUM_EXISTS(enum cgroup_subsys_id, freezer_cgrp_id)) {
		u64 index = ENUM_VALUE(enum cgroup_subsys_id, freezer_cgrp_id);
		struct cgroup_subsys_state *state = NULL;
		bpf_probe_read_kernel(&state, sizeof(state), (char *)&set->subsys + index * sizeof(void *));
		if (state) {
			u64 older;
			group = KREAD(state, cgroup);
			node = KREAD(group, kn);
			older = KREAD(node, id);
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

INLINE void fill_head(struct head *head, struct task_struct *task, u8 kind)
{
	struct task_struct *leader = KREAD(task, group_leader);
	struct task_struct *parent = KREAD(task, real_parent);
	struct task_struct *parent_leader = KREAD(parent, group_leader);
	struct cred *cred = KREAD(task, cred);
	struct nsproxy *spaces = KREAD(task, nsproxy);
	struct mnt_namespace *mounts = KREAD(spaces, mnt_ns);

	head->kind = kind;
	head->flags = 0;
	head->sub = 0;
	head->pad = 0;
	head->at = bpf_ktime_get_boot_ns();
	head->pid = KREAD(task, tgid);
	head->tid = KREAD(task, pid);
	head->start = KREAD(leader, start_boottime);
	head->exec_id = KREAD(task, self_exec_id);
	head->ppid = KREAD(parent, tgid);
	head->parent_start = KREAD(parent_leader, start_boottime);
	head->uid = KREAD(cred, uid.val);
	head->gid = KREAD(cred, gid.val);
	head->euid = KREAD(cred, euid.val);
	head->egid = KREAD(cred, egid.val);
	head->mnt_ns = KREAD(mounts, ns.inum);
	head->cgroup = cgroup_of(task);
	KREAD_INTO(&head->comm, task, comm);
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
