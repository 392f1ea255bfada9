/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The kernel's structures, only the fields that are read. Names are the kernel's; offsets written here mean nothing:
 * every access is relocated against the running kernel's BTF (preserve_access_index).
 * Where a kernel differs, the field carries a note with the version.
 */
#pragma once

#include "helpers.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head {
	struct list_head *next, *prev;
};

struct qstr {
	union {
		struct {
			u32 hash;
			u32 len;
		};
		u64 hash_len;
	};
	const unsigned char *name;
};

struct file_system_type {
	const char *name;
};

struct super_block {
	u32 s_dev;
	unsigned long s_magic;
	struct file_system_type *s_type;
};

struct inode {
	u16 i_mode;
	struct super_block *i_sb;
	unsigned long i_ino;
	u32 i_nlink; /* inside an anonymous union */
	u32 i_rdev;
	struct {
		u32 val;
	} i_uid;
	u32 i_generation;
	void *i_private;
};

struct hlist_bl_node {
	struct hlist_bl_node *next, **pprev;
};

struct dentry {
	struct hlist_bl_node d_hash;
	struct dentry *d_parent;
	struct qstr d_name; /* 6.15: inside an anonymous union */
	struct inode *d_inode;
	struct super_block *d_sb;
};

struct vfsmount {
	struct dentry *mnt_root;
	struct super_block *mnt_sb;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct file {
	u32 f_mode;
	void *private_data;
	struct inode *f_inode;
	u32 f_flags;
	struct path f_path; /* 6.17: inside an anonymous union */
};

struct fdtable {
	u32 max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct fs_struct {
	struct path root;
	struct path pwd;
};

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
	struct file *exe_file;
};

typedef struct {
	u32 val;
} kid_t;

/* 6.3 made kernel_cap_t one u64; before it was two u32, which on little endian are the same eight bytes. */
typedef struct {
	u64 whole;
} kcap_t;

struct cred {
	kid_t uid, gid, suid, sgid, euid, egid, fsuid, fsgid;
	kcap_t cap_permitted;
	kcap_t cap_effective;
};

struct ns_common {
	u32 inum;
};

struct net {
	struct ns_common ns;
};
struct pid_namespace {
	struct ns_common ns;
};
struct mnt_namespace {
	struct ns_common ns;
};
struct user_namespace {
	struct ns_common ns;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
	struct pid_namespace *pid_ns_for_children;
	struct net *net_ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	u32 level;
	struct upid numbers[1];
};

struct kernfs_node {
	u64 id; /* 5.5: u64 */
	void *priv;
};

struct cgroup;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	s32 level;                   /* of the root 0 */
	struct cgroup *ancestors[1]; /* 6.1; as many as its level, and itself */
};

struct cgroup___older {
	u64 ancestor_ids[1]; /* before 6.1 */
};

struct css_set {
	struct cgroup_subsys_state *subsys[14];
	struct cgroup *dfl_cgrp;
};

struct seccomp {
	int mode;
};

struct tty_struct {
	char name[64];
};

typedef struct {
	int counter;
} katomic_t;

struct signal_struct {
	katomic_t live;
	int group_exit_code;
	struct tty_struct *tty;
};

struct thread_info {
	unsigned long flags;
	u32 status; /* x86 */
};

struct task_struct {
	struct thread_info thread_info;
	u32 flags;
	int exit_code;
	int pid;
	int tgid;
	unsigned long atomic_flags;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	u64 start_boottime; /* 5.5 */
	struct cred *cred;
	char comm[16];
	struct fs_struct *fs;
	struct files_struct *files;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	struct mm_struct *mm;
	kid_t loginuid;  /* CONFIG_AUDIT */
	u32 sessionid;   /* CONFIG_AUDIT */
	struct seccomp seccomp;
	u64 self_exec_id; /* 5.7: u64 */
	struct css_set *cgroups;
};

struct linux_binprm {
	struct file *file;
	const char *filename;
	const char *interp;
};

struct in6_addr {
	u8 bytes[16];
};

struct sock_common {
	u32 skc_daddr;
	u32 skc_rcv_saddr;
	u16 skc_dport;
	u16 skc_num;
	u16 skc_family;
	u8 skc_state;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
};

struct socket;

/* Read as a word: what it holds has changed (5.15). */
struct sock_cgroup_data {
	struct cgroup *cgroup;
};

struct sock {
	struct sock_common __sk_common;
	u16 sk_type;
	u16 sk_protocol; /* 5.6: u16 */
	u8 sk_shutdown;
	struct socket *sk_socket;
	struct sock_cgroup_data sk_cgrp_data;
};

struct unix_sock {
	struct sock *peer;
};

struct socket {
	u16 type;
	struct file *file;
	struct sock *sk;
};

struct pt_regs {
#if defined(__TARGET_ARCH_x86)
	unsigned long di, si, dx, r10, r8, r9, orig_ax;
#elif defined(__TARGET_ARCH_arm64)
	u64 regs[31];
	u64 orig_x0;
	s32 syscallno;
#else
#error "no register names for this architecture"
#endif
};

struct io_cqe {
	s32 res;
};

struct io_kiocb {
	u8 opcode;
	struct io_cqe cqe; /* 5.19 */
};

/* What an open keeps in the first bytes of its request (io_uring/openclose.c). */
struct io_open {
	u32 file_slot;
};

/* The same of an accept (io_uring/net.c). */
struct io_accept {
	u32 file_slot;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
};

#pragma clang attribute pop

enum cgroup_subsys_id { freezer_cgrp_id = 0 };
