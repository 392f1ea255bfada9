/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The sockets that somebody has open, one record a thread's file, read as a file of the kernel's (a BPF iterator: 5.8): where each was born
 * and who has it, which sock_diag says only of those that are bound or connected, and /proc of none.
 * Reads only. Threads that share their leader's files are left out by the kernel (kernel/bpf/task_iter.c `task_seq_get_next`).
 */
#pragma once

#include "../kernel.h"

/* Of a socket's inode (include/uapi/linux/magic.h). */
enum { SOCKFS = 0x534f434b };
/* Families that lead to nobody over a network: of this host (AF_UNIX), to the kernel (AF_NETLINK, AF_KEY, AF_ALG). */
enum { F_UNIX = 1, F_KEY = 15, F_NETLINK = 16, F_ALG = 38 };
/* Of the hierarchy's root (fs/kernfs: every hierarchy's root has it). */
enum { ROOT_NUMBER = 1 };

/* src/cut/files.rs reads the same. */
struct opened {
	u64 holder; /* the cgroup of the thread that has it open */
	u64 born;   /* the cgroup in which it was made */
	u64 inode;
	u32 tgid;
	u16 family;
	u16 kind; /* SOCK_STREAM … */
	u16 protocol;
	u8 state;
	u8 shutdown;
	u32 pad;
};

/* sock_cgroup_ptr (include/linux/cgroup-defs.h): before 5.15 the low bits say that the pointer is none. */
INLINE u64 born_in(struct sock *sk)
{
	u64 value = 0;
	struct kernfs_node *node;
	bpf_probe_read_kernel(&value, sizeof(value), &sk->sk_cgrp_data);
	if (!value || value & 3)
		return ROOT_NUMBER;
	node = KREAD((struct cgroup *)value, kn);
	return KREAD(node, id);
}

INLINE u64 cgroup_of(struct task_struct *task)
{
	struct css_set *set = KREAD(task, cgroups);
	struct cgroup *cgroup = KREAD(set, dfl_cgrp);
	struct kernfs_node *node = KREAD(cgroup, kn);
	return KREAD(node, id);
}

SEC("iter/task_file")
int cut_files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct seq_file *seq = ctx->meta->seq;
	struct opened out = {};
	struct super_block *super;
	struct socket *socket;
	struct inode *inode;
	struct sock *sk;
	if (!task || !file)
		return 0;
	inode = KREAD(file, f_inode);
	super = KREAD(inode, i_sb);
	/* An O_PATH descriptor has the inode, and nothing behind it. */
	socket = KREAD(file, private_data);
	if (KREAD(super, s_magic) != SOCKFS || !socket)
		return 0;
	sk = KREAD(socket, sk);
	out.family = KREAD(sk, __sk_common.skc_family);
	if (!sk || !out.family || out.family == F_UNIX || out.family == F_KEY || out.family == F_NETLINK ||
	    out.family == F_ALG)
		return 0;
	out.holder = cgroup_of(task);
	out.born = born_in(sk);
	out.inode = KREAD(inode, i_ino);
	out.tgid = KREAD(task, tgid);
	out.kind = KREAD(sk, sk_type);
	out.protocol = KREAD(sk, sk_protocol);
	out.state = KREAD(sk, __sk_common.skc_state);
	out.shutdown = KREAD(sk, sk_shutdown);
	bpf_seq_write(seq, &out, sizeof(out));
	return 0;
}
