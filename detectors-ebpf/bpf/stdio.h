/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Where fds 0-2 lead. A shell whose input comes from a socket is the strongest generic sign of a reverse shell. */
#pragma once

#include "task.h"

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10

#define FMT_MASK 0170000
#define FMT_SOCK 0140000
#define FMT_REG 0100000
#define FMT_BLK 0060000
#define FMT_CHR 0020000
#define FMT_FIFO 0010000

struct ends {
	u16 local_port;
	u16 peer_port;
	u8 local[16];
	u8 peer[16];
};

INLINE void fill_ends(struct sock *sk, u16 family, u16 *local_port, u16 *peer_port, u8 *local, u8 *peer)
{
	*local_port = KREAD(sk, __sk_common.skc_num);
	*peer_port = __builtin_bswap16(KREAD(sk, __sk_common.skc_dport));
	if (family == AF_INET) {
		bpf_probe_read_kernel(local, 4, &sk->__sk_common.skc_rcv_saddr);
		bpf_probe_read_kernel(peer, 4, &sk->__sk_common.skc_daddr);
	} else {
		bpf_probe_read_kernel(local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_probe_read_kernel(peer, 16, &sk->__sk_common.skc_v6_daddr);
	}
}

/* The files behind fds 0-2; a table has 64 places at least. `files` is of a known type, or NULL. */
INLINE void first_files(struct file **out, struct files_struct *files)
{
	struct fdtable *table;
	if (!files)
		return;
	table = files->fdt;
	bpf_probe_read_kernel(out, 3 * sizeof(*out), table->fd);
}

/* True when it leads to a network: an internet socket that has a peer. */
INLINE bool fill_stdio(struct stdio *out, struct file *file)
{
	struct inode *inode;
	u16 format;

	__builtin_memset(out, 0, sizeof(*out));
	if (!file)
		return false;
	inode = KREAD(file, f_inode);
	out->inode = KREAD(inode, i_ino);
	format = KREAD(inode, i_mode) & FMT_MASK;
	if (format == FMT_FIFO) {
		out->kind = S_PIPE;
	} else if (format == FMT_REG) {
		out->kind = S_FILE;
	} else if (format == FMT_CHR) {
		out->kind = S_CHAR;
		out->rdev = KREAD(inode, i_rdev);
	} else if (format == FMT_SOCK) {
		struct socket *socket = KREAD(file, private_data);
		struct sock *sk = KREAD(socket, sk);
		u16 family = KREAD(sk, __sk_common.skc_family);
		out->kind = S_SOCKET;
		out->family = family;
		out->protocol = KREAD(sk, sk_protocol);
		out->state = KREAD(sk, __sk_common.skc_state);
		if (family == AF_INET || family == AF_INET6) {
			fill_ends(sk, family, &out->local_port, &out->peer_port, out->local, out->peer);
			return out->peer_port != 0;
		}
		if (family == AF_UNIX) {
			struct sock *other = KREAD((struct unix_sock *)sk, peer);
			struct socket *end = KREAD(other, sk_socket);
			struct file *held = KREAD(end, file);
			struct inode *where = KREAD(held, f_inode);
			u64 number = KREAD(where, i_ino);
			__builtin_memcpy(out->peer, &number, sizeof(number));
		}
	} else {
		out->kind = S_OTHER;
	}
	return false;
}
