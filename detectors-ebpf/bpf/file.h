/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* What happens to files, at the exits of system calls: only what succeeded. */
#pragma once

#include "path.h"
#include "stdio.h"
#include "syscall.h"

#define O_ACCMODE 3
#define FMODE_CREATED 0x100000 /* 4.19 */
#define AT_FDCWD_32 (-100)

INLINE struct file_record *file_begin(struct task_struct *task, u16 op)
{
	u32 zero = 0;
	struct file_record *r = bpf_map_lookup_elem(&FILE_SCRATCH, &zero);
	if (!r)
		return NULL;
	fill_head(&r->head, task, K_FILE);
	r->head.sub = op;
	r->inode = 0;
	r->device = 0;
	r->open_flags = 0;
	r->mode = 0;
	r->uid = 0;
	r->gid = 0;
	r->flags = 0;
	r->base_len = 0;
	r->name_len = 0;
	r->base2_len = 0;
	r->name2_len = 0;
	r->walked.end = 0;
	return r;
}

INLINE void file_end(struct file_record *r)
{
	u64 size = __builtin_offsetof(struct file_record, data) + r->walked.end;
	OPAQUE(size);
	if (size > sizeof(*r))
		size = sizeof(*r);
	emit_other(&r->head, size);
}

/* An open, from the file that came of it. Reads only where a watched name is on the path. */
INLINE int told_open(s64 result)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct file_record *r;
	struct file *file;
	struct inode *inode;
	struct super_block *sb;
	struct path path;
	u32 flags, mode;
	u16 format;
	bool writes;

	if (result < 0 || ignored(bpf_get_current_pid_tgid() >> 32) || other_abi(task))
		return 0;
	file = file_of(task, result);
	if (!file)
		return 0;
	inode = KREAD(file, f_inode);
	format = KREAD(inode, i_mode) & FMT_MASK;
	if (format != FMT_REG && format != FMT_BLK)
		return 0;
	flags = KREAD(file, f_flags);
	mode = KREAD(file, f_mode);
	writes = flags & O_ACCMODE;
	KREAD_INTO(&path, file, f_path);
	/* Most opens read what nobody watches: nothing is built for them. */
	if (!writes && !(mode & FMODE_CREATED) && !passes_watched(&path))
		return 0;
	r = file_begin(task, mode & FMODE_CREATED ? F_CREATE : writes ? F_WRITE : F_READ);
	if (!r)
		return 0;
	walk(r->data, &r->walked, &path, true);
	if (r->walked.flags & W_WATCHED)
		r->head.flags |= H_URGENT;
	else if (!writes && !(mode & FMODE_CREATED))
		return 0;
	if (r->walked.flags & W_CUT)
		r->flags |= P_CUT;
	sb = KREAD(inode, i_sb);
	r->device = KREAD(sb, s_dev);
	r->inode = KREAD(inode, i_ino);
	r->open_flags = flags;
	r->mode = KREAD(inode, i_mode);
	r->base_len = r->walked.end;
	file_end(r);
	return 0;
}

/* open, openat, openat2, creat. */
SEC("tp_btf/sys_exit")
int file_open(u64 *ctx)
{
	return told_open(ctx[1]);
}

#define IORING_OP_OPENAT 18
#define IORING_OP_OPENAT2 28

/*
 * The same by io_uring, which makes no system call for it. The request completes in its process, in task work or on a
 * worker that shares the process's files (io_uring/io_uring.c, since 5.19 with the request as second argument). A file that
 * goes into a slot of the ring's own table has no fd and is not seen.
 */
SEC("tp_btf/io_uring_complete")
int file_ring_open(u64 *ctx)
{
	struct io_kiocb *request = (void *)ctx[1];
	u8 op;
	if (!request)
		return 0;
	op = KREAD(request, opcode);
	if (op != IORING_OP_OPENAT && op != IORING_OP_OPENAT2)
		return 0;
	if (KREAD((struct io_open *)request, file_slot))
		return 0;
	return told_open(KREAD(request, cqe.res));
}

/* Where a relative name begins: an fd's path, or the working directory. */
INLINE bool base_of(struct path *out, struct task_struct *task, struct pt_regs *regs, u8 dir)
{
	int fd = dir == NO_ARG ? AT_FDCWD_32 : (int)argument(regs, dir);
	if (fd == AT_FDCWD_32) {
		struct fs_struct *fs = KREAD(task, fs);
		KREAD_INTO(out, fs, pwd);
	} else {
		struct file *file = file_of(task, fd);
		if (!file)
			return false;
		KREAD_INTO(out, file, f_path);
	}
	return true;
}

/* The name as it was passed, under its base unless it begins at the root. */
INLINE void put_name(struct file_record *r, u16 *base_len, u16 *name_len, struct task_struct *task, struct pt_regs *regs, u8 dir,
		     u8 name)
{
	const char *text = (const char *)argument(regs, name);
	struct path base;
	char first = 0;
	u32 o;
	long n;
	if (name != NO_ARG)
		bpf_probe_read_user(&first, 1, text);
	if (first != '/' && base_of(&base, task, regs, dir)) {
		o = r->walked.end;
		walk(r->data, &r->walked, &base, false);
		*base_len = r->walked.end - o;
		if (r->walked.flags & W_CUT)
			r->flags |= P_CUT;
	}
	if (name == NO_ARG)
		return;
	o = r->walked.end;
	if (o >= PATHS_MAX) {
		r->flags |= P_NAME_CUT;
		return;
	}
	OPAQUE(o);
	o &= PATHS_MAX - 1;
	n = bpf_probe_read_user_str(&r->data[o], USER_PATH_MAX, text);
	if (n > 0) {
		*name_len = n;
		r->walked.end = o + n;
		r->flags |= P_FROM_USER;
		if (n == USER_PATH_MAX)
			r->flags |= P_NAME_CUT;
	}
}

/* unlink, rename, chmod, chown, link, symlink and the rest that CALLS describes. */
SEC("tp_btf/sys_exit")
int file_change(u64 *ctx)
{
	struct pt_regs *regs = (void *)ctx[0];
	s64 result = ctx[1];
	struct task_struct *task = (void *)bpf_get_current_task();
	struct file_record *r;
	struct call *call;

	if (result < 0 || ignored(bpf_get_current_pid_tgid() >> 32) || other_abi(task))
		return 0;
	call = call_of(regs);
	if (!call)
		return 0;
	r = file_begin(task, call->op);
	if (!r)
		return 0;
	put_name(r, &r->base_len, &r->name_len, task, regs, call->dir, call->name);
	if (call->name2 != NO_ARG)
		put_name(r, &r->base2_len, &r->name2_len, task, regs, call->dir2, call->name2);
	if (call->op == F_CHOWN) {
		r->uid = argument(regs, call->value);
		r->gid = argument(regs, call->value2);
	} else if (call->value != NO_ARG) {
		r->mode = argument(regs, call->value);
	}
	file_end(r);
	return 0;
}
