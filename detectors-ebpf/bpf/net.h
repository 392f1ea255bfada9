/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Connections, each told once, in the context of the process that made it. Records are built on the stack: state changes
 * happen in softirqs, which may interrupt anything.
 */
#pragma once

#include "stdio.h"
#include "syscall.h"

#define TCP_SYN_SENT 2
#define TCP_CLOSE 7
#define TCP_LISTEN 10
#define IPPROTO_UDP 17
#define SOCK_DGRAM 2

/* A send to the same place by the same process is told once in about a minute. */
struct sent_key {
	u32 pid;
	u16 port;
	u16 family;
	u8 peer[16];
};
struct {
	MAP_UINT(type, BPF_MAP_LRU_HASH);
	MAP_UINT(max_entries, 8192);
	MAP_TYPE(key, struct sent_key);
	MAP_TYPE(value, u64);
} SENT SEC(".maps");

INLINE bool net_fill(struct net_record *r, struct sock *sk, u8 direction)
{
	u16 family = KREAD(sk, __sk_common.skc_family);
	if (family != AF_INET && family != AF_INET6)
		return false;
	r->family = family;
	r->protocol = KREAD(sk, sk_protocol);
	r->direction = direction;
	r->head.sub = direction;
	fill_ends(sk, family, &r->local_port, &r->peer_port, r->local, r->peer);
	return true;
}

INLINE struct sock *sock_of(struct task_struct *task, u32 fd)
{
	struct file *file = file_of(task, fd);
	struct inode *inode;
	struct socket *socket;
	if (!file)
		return NULL;
	inode = KREAD(file, f_inode);
	if ((KREAD(inode, i_mode) & FMT_MASK) != FMT_SOCK)
		return NULL;
	socket = KREAD(file, private_data);
	return KREAD(socket, sk);
}

/* tcp_v4_connect and tcp_v6_connect set SYN_SENT, inet_csk_listen_start sets LISTEN: both in the caller's own context. */
SEC("tp_btf/inet_sock_set_state")
int net_state(u64 *ctx)
{
	struct sock *sk = (void *)ctx[0];
	int before = ctx[1], now = ctx[2];
	struct task_struct *task = (void *)bpf_get_current_task();
	struct net_record r = {};
	if (before != TCP_CLOSE || (now != TCP_SYN_SENT && now != TCP_LISTEN))
		return 0;
	if (ignored(bpf_get_current_pid_tgid() >> 32))
		return 0;
	if (!net_fill(&r, sk, now == TCP_LISTEN ? N_LISTEN : N_OUT))
		return 0;
	fill_head(&r.head, task, K_NET);
	r.head.sub = r.direction;
	emit_other(&r.head, sizeof(r));
	return 0;
}

/* An accept, from the socket that came of it. */
INLINE int told_accept(s64 result)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct net_record r = {};
	struct sock *sk;
	if (result < 0 || ignored(bpf_get_current_pid_tgid() >> 32) || other_abi(task))
		return 0;
	sk = sock_of(task, result);
	if (!sk || !net_fill(&r, sk, N_IN))
		return 0;
	fill_head(&r.head, task, K_NET);
	r.head.sub = N_IN;
	emit_other(&r.head, sizeof(r));
	return 0;
}

/* accept, accept4. */
SEC("tp_btf/sys_exit")
int net_accept(u64 *ctx)
{
	return told_accept(ctx[1]);
}

#define IORING_OP_ACCEPT 13

/* The same by io_uring: see file_ring_open. */
SEC("tp_btf/io_uring_complete")
int net_ring_accept(u64 *ctx)
{
	struct io_kiocb *request = (void *)ctx[1];
	if (!request || KREAD(request, opcode) != IORING_OP_ACCEPT)
		return 0;
	if (KREAD((struct io_accept *)request, file_slot))
		return 0;
	return told_accept(KREAD(request, cqe.res));
}

/* connect of datagram sockets: it only fixes the peer. Streams were told by their state. */
SEC("tp_btf/sys_exit")
int net_connect(u64 *ctx)
{
	struct pt_regs *regs = (void *)ctx[0];
	s64 result = ctx[1];
	struct task_struct *task = (void *)bpf_get_current_task();
	struct net_record r = {};
	struct sock *sk;
	if (result < 0 || ignored(bpf_get_current_pid_tgid() >> 32) || other_abi(task))
		return 0;
	sk = sock_of(task, argument(regs, 0));
	if (!sk || KREAD(sk, sk_type) != SOCK_DGRAM)
		return 0;
	if (!net_fill(&r, sk, N_OUT) || !r.peer_port)
		return 0;
	fill_head(&r.head, task, K_NET);
	r.head.sub = N_OUT;
	emit_other(&r.head, sizeof(r));
	return 0;
}

struct address {
	u16 family;
	u16 port;
	u32 v4_or_flow;
	u8 v6[16];
};

/* sendto with an address: the one place where the peer is what the caller wrote, for no socket keeps it. */
INLINE int told_send(struct pt_regs *regs, const void *where)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct net_record r = {};
	struct sent_key key = {};
	struct address to = {};
	struct sock *sk;
	u64 now = bpf_ktime_get_boot_ns();
	u64 *last;

	if (bpf_probe_read_user(&to, 8, where))
		return 0;
	if (to.family == AF_INET6 && bpf_probe_read_user(&to, sizeof(to), where))
		return 0;
	if (to.family != AF_INET && to.family != AF_INET6)
		return 0;
	key.pid = bpf_get_current_pid_tgid() >> 32;
	key.family = to.family;
	key.port = to.port;
	if (to.family == AF_INET)
		__builtin_memcpy(key.peer, &to.v4_or_flow, 4);
	else
		__builtin_memcpy(key.peer, to.v6, 16);
	last = bpf_map_lookup_elem(&SENT, &key);
	if (last && now - *last < 60000000000ULL)
		return 0;
	bpf_map_update_elem(&SENT, &key, &now, MAP_ANY);
	sk = sock_of(task, argument(regs, 0));
	if (!sk || KREAD(sk, sk_type) != SOCK_DGRAM || !net_fill(&r, sk, N_OUT))
		return 0;
	r.peer_port = __builtin_bswap16(to.port);
	__builtin_memcpy(r.peer, key.peer, 16);
	r.family = to.family;
	fill_head(&r.head, task, K_NET);
	r.head.sub = N_OUT;
	emit_other(&r.head, sizeof(r));
	return 0;
}

SEC("tp_btf/sys_exit")
int net_sendto(u64 *ctx)
{
	struct pt_regs *regs = (void *)ctx[0];
	s64 result = ctx[1];
	const void *where;
	if (result < 0)
		return 0;
	where = (const void *)argument(regs, 4);
	if (!where || ignored(bpf_get_current_pid_tgid() >> 32) || other_abi((void *)bpf_get_current_task()))
		return 0;
	return told_send(regs, where);
}

/* sendmsg and sendmmsg (whose first message stands first): msg_name is the first word of struct msghdr. */
SEC("tp_btf/sys_exit")
int net_sendmsg(u64 *ctx)
{
	struct pt_regs *regs = (void *)ctx[0];
	s64 result = ctx[1];
	const void *where = NULL;
	if (result < 0 || ignored(bpf_get_current_pid_tgid() >> 32) || other_abi((void *)bpf_get_current_task()))
		return 0;
	if (bpf_probe_read_user(&where, sizeof(where), (const void *)argument(regs, 1)) || !where)
		return 0;
	return told_send(regs, where);
}
