/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* fork, exec, exit: the process ring. */
#pragma once

#include "path.h"
#include "stdio.h"

#define PFA_NO_NEW_PRIVS 0

/*
 * Whether an overlay's file has an upper part: struct ovl_inode has `__upperdentry` right behind its `vfs_inode` (4.13-6.18).
 * overlayfs may be a module, whose types vmlinux does not describe; the size of an inode it does.
 */
INLINE bool on_upper_layer(struct inode *inode)
{
	struct dentry *upper = NULL;
	bpf_probe_read_kernel(&upper, sizeof(upper), (char *)inode + TYPE_SIZE(struct inode));
	return upper != NULL;
}

/* A new thread is no new process: only thread group leaders are told. */
SEC("tp_btf/sched_process_fork")
int process_fork(u64 *ctx)
{
	struct task_struct *child = (void *)ctx[1];
	struct head head = {};
	if (child->pid != child->tgid)
		return 0;
	fill_head_of(&head, child, K_FORK, true);
	emit_process(&head, sizeof(head));
	return 0;
}

/* Fires for every thread; the process has ended with the last of them (signal->live was counted down before: 5.8-6.18). */
SEC("tp_btf/sched_process_exit")
int process_exit(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct signal_struct *signal = task->signal;
	struct exit record = {};
	int group;
	if (signal->live.counter != 0)
		return 0;
	fill_head_of(&record.head, task, K_EXIT, true);
	group = signal->group_exit_code;
	record.code = group ? group : task->exit_code;
	emit_process(&record.head, sizeof(record));
	return 0;
}

SEC("tp_btf/sched_process_exec")
int process_exec(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];
	struct linux_binprm *binprm = (void *)ctx[2];
	u32 zero = 0;
	struct exec *e = bpf_map_lookup_elem(&EXEC_SCRATCH, &zero);
	struct task_struct *parent;
	struct mm_struct *mm;
	struct file *image;
	struct inode *inode;
	struct path path;
	bool urgent = false;
	u32 at = 0;
	long n;

	if (!e)
		return 0;
	mm = task->mm;
	if (!mm)
		return 0;
	image = mm->exe_file;
	if (!image)
		return 0;
	fill_head_of(&e->head, task, K_EXEC, true);
	e->flags = 0;
	e->tty[0] = 0;

	/* The name that was asked for: for a script its path, while the image below is the interpreter. */
	n = bpf_probe_read_kernel_str(e->data, NAME_MAX, binprm->filename);
	e->file_len = n > 0 ? n : 0;
	e->walked.end = e->file_len;

	inode = image->f_inode;
	KREAD_INTO(&path, image, f_path);
	walk(e->data, &e->walked, &path, false);
	e->image_len = e->walked.end - e->file_len;
	if (e->walked.flags & W_CUT)
		e->flags |= I_PATH_CUT;
	e->inode = inode->i_ino;
	e->mode = inode->i_mode;
	e->owner = inode->i_uid.val;
	{
		struct super_block *sb = inode->i_sb;
		struct dentry *dentry = path.dentry;
		bool gone;
		e->links = inode->i_nlink;
		gone = e->links == 0 || !KREAD(dentry, d_hash.pprev);
		e->device = sb->s_dev;
		e->magic = sb->s_magic;
		if (e->magic == MAGIC_TMPFS) {
			e->flags |= I_TMPFS;
			urgent = true;
		}
		if (e->magic == MAGIC_OVERLAY && on_upper_layer(inode))
			e->flags |= I_UPPER;
		if (gone) {
			/* memfd_create: no directory ever held it. */
			e->flags |= (e->walked.flags & W_ALONE) && e->magic == MAGIC_TMPFS ? I_MEMFD : I_DELETED;
			urgent = true;
		}
	}

	{
		struct fs_struct *fs = task->fs;
		KREAD_INTO(&path, fs, pwd);
		at = e->walked.end;
		walk(e->data, &e->walked, &path, false);
		e->cwd_len = e->walked.end - at;
		if (e->walked.flags & W_CUT)
			e->flags |= I_CWD_CUT;
	}

	{
		u64 from = mm->arg_start;
		u64 total = mm->arg_end - from;
		u32 length = total;
		u32 o = e->walked.end;
		if (total > ARGS_MAX) {
			length = ARGS_MAX;
			e->flags |= I_ARGS_CUT;
		}
		e->args_total = total > 0xffffffff ? 0xffffffff : total;
		OPAQUE(o);
		o &= PATHS_MAX - 1;
		OPAQUE(length);
		if (length > ARGS_MAX)
			length = ARGS_MAX;
		if (bpf_probe_read_user(&e->data[o], length, (void *)from))
			length = 0;
		e->args_len = length;
		at = o + length;
	}

	{
		struct cred *cred = task->cred;
		struct nsproxy *spaces = task->nsproxy;
		struct net *net = spaces->net_ns;
		struct pid *pid = task->thread_pid;
		u32 level = pid->level;
		struct upid number = {};
		struct signal_struct *signal = task->signal;
		struct tty_struct *tty = signal->tty;
		struct pid_namespace *space;
		e->cap_effective = capabilities(&cred->cap_effective);
		e->cap_permitted = capabilities(&cred->cap_permitted);
		e->net_ns = net->ns.inum;
		bpf_probe_read_kernel(&number, sizeof(number), (char *)&pid->numbers + (level & 63) * sizeof(number));
		space = number.ns;
		e->ns_pid = number.nr;
		e->pid_ns = KREAD(space, ns.inum);
		e->seccomp = task->seccomp.mode;
		if (task->atomic_flags & (1 << PFA_NO_NEW_PRIVS))
			e->flags |= I_NO_NEW_PRIVS;
		e->login_uid = FIELD_EXISTS(struct task_struct, loginuid) ? task->loginuid.val : (u32)-1;
		e->session = FIELD_EXISTS(struct task_struct, sessionid) ? task->sessionid : (u32)-1;
		if (tty)
			bpf_probe_read_kernel_str(e->tty, sizeof(e->tty), &tty->name);
	}

	{
		struct file *own[3] = {}, *above[3] = {};
		parent = task->real_parent;
		first_files(own, task->files);
		first_files(above, parent->files);
		for (u32 fd = 0; fd < 3; fd++) {
			if (fill_stdio(&e->own[fd], own[fd]))
				urgent = true;
			/* Mostly the child has what its parent has. */
			if (above[fd] == own[fd])
				e->parent[fd] = e->own[fd];
			else if (fill_stdio(&e->parent[fd], above[fd]))
				urgent = true;
		}
	}
	if (urgent)
		e->head.flags |= H_URGENT;

	{
		u64 size = __builtin_offsetof(struct exec, data) + at;
		OPAQUE(size);
		if (size > sizeof(*e))
			size = sizeof(*e);
		emit_process(&e->head, size);
	}
	return 0;
}
