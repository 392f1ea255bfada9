/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Cgroups that are cut off: what their sockets send and receive is dropped, but for the peers that an order names.
 * Decides nothing: user space writes the orders, each ends by the kernel's own clock, and a pause flag lifts them all.
 * It takes Linux 5.9 (a map of storage that several programs share), and patterns that 6.1's verifier accepts.
 *
 *   packet, connect, sendmsg ──▶ HOMES: the cgroup that this is hooked to ──▶ GROUPS: its orders ──▶ ORDERS, PEERS ──▶ drop, COUNTS
 *
 *   device ──▶ DEVICES: the cgroup whose network lies behind it ──▶ likewise
 *
 * One write to GROUPS is all that arms an order, and all that disarms it, for all hooks at once. Hooked to a cgroup
 * it sees the sockets that were born there or below, whoever holds them by now (net/core/filter.c, kernel/bpf/cgroup.c:
 * 5.9-6.18). Hooked to the host's end of a veth it sees every packet, whoever's socket, or none, it is of.
 */
#include "../helpers.h"
#include "../pause.h"
#include "files.h"

/* src/cut/words.rs holds the same numbers. */
#define ORDERS 8 /* of one cgroup */
#define PORTS 8  /* ranges of one order */
#define LABEL 128
#define OWNER 64

enum { BPF_MAP_LPM_TRIE = 11, BPF_MAP_CGROUP_STORAGE = 19 };
enum { NO_PREALLOC = 1 };
enum { DROP = 0, PASS = 1 };
/* Of a device: TC_ACT_SHOT, and TCX_NEXT, whoever hangs there next (include/uapi/linux/bpf.h). */
enum { SHOT = 2, NEXT = -1 };
enum { OUTWARD = 0, INWARD = 1 };
enum { IP4 = 0x0800, IP6 = 0x86dd, ARP = 0x0806 };
/* BPF_HDR_START_NET: from the network header on, wherever a hook's data begin. */
enum { NETWORK = 1 };
/* The header, what asks or answers, and its options (RFC 4861, 3971): the longest that is let pass. */
enum { NEIGHBOUR = 40 + 24 + 32 };
enum { ICMP6 = 58, SOLICITATION = 135, ADVERTISEMENT = 136 };
/* The loopback is the first device of every namespace. */
enum { LOOPBACK = 1 };

static long (*bpf_skb_load_bytes_relative)(const void *skb, u32 offset, void *to, u32 len, u32 start) = (void *)68; /* 4.18 */
static void *(*bpf_get_local_storage)(void *map, u64 flags) = (void *)81;

/* What the kernel shows of a packet and of an address (include/uapi/linux/bpf.h: kernel ABI). */
struct __sk_buff {
	u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority;
	u32 ingress_ifindex, ifindex;
};
struct bpf_sock_addr {
	u32 user_family, user_ip4, user_ip6[4], user_port;
};

/* The number of the cgroup that a hook hangs on, in the storage that the kernel keeps for that hook. Written by user
 * space once it hangs there; 0 before that. */
struct home {
	u64 group;
	u32 hook;
};
struct {
	MAP_UINT(type, BPF_MAP_CGROUP_STORAGE);
	MAP_TYPE(key, struct home);
	MAP_TYPE(value, u64);
} CUT_HOMES SEC(".maps");

/* Host's ends of veths, by their numbers. */
struct device {
	u64 group;
	char name[16]; /* for people; not looked at here */
};
struct {
	MAP_UINT(type, BPF_MAP_HASH);
	MAP_UINT(max_entries, 1024);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct device);
} CUT_DEVICES SEC(".maps");

/* The orders of a cgroup, in no order; 0 is an empty place. */
struct orders {
	u64 id[ORDERS];
};
struct {
	MAP_UINT(type, BPF_MAP_HASH);
	MAP_UINT(max_entries, 1024);
	MAP_TYPE(key, u64);
	MAP_TYPE(value, struct orders);
} CUT_GROUPS SEC(".maps");

/* `F_BLOCKS`: the peers are refused; else all others are. */
enum { F_BLOCKS = 1, F_OUTWARD = 2, F_INWARD = 4, F_LOOPBACK = 8, F_ALLOWS = 16, F_PORTS = 32 };
struct order {
	u64 group;
	u64 until; /* on the boot clock */
	u32 flags;
	u32 pad;
	u32 ports[PORTS]; /* the first, and the last in the upper half */
	char label[LABEL]; /* for people; not looked at here */
	char owner[OWNER]; /* as well */
};
struct {
	MAP_UINT(type, BPF_MAP_HASH);
	MAP_UINT(max_entries, 4096);
	MAP_TYPE(key, u64);
	MAP_TYPE(value, struct order);
} CUT_ORDERS SEC(".maps");

/* The peers that an order names: the longest key counts, and 0 says that it names none there. IPv4 lies in its mapped place,
 * ::ffff:0:0/96. */
struct peer {
	u32 bits; /* those of the order's id too */
	u32 order[2];
	u32 address[4];
};
struct {
	MAP_UINT(type, BPF_MAP_LPM_TRIE);
	MAP_UINT(max_entries, 65536);
	MAP_UINT(map_flags, NO_PREALLOC);
	MAP_TYPE(key, struct peer);
	MAP_TYPE(value, u32);
} CUT_PEERS SEC(".maps");

/* What an order dropped. */
struct count {
	u64 packets[2]; /* outward, inward */
	u64 bytes[2];
	u64 calls; /* of connect and sendmsg */
	u64 first; /* on the boot clock */
	u64 last;
};
struct {
	MAP_UINT(type, BPF_MAP_HASH);
	MAP_UINT(max_entries, 4096);
	MAP_TYPE(key, u64);
	MAP_TYPE(value, struct count);
} CUT_COUNTS SEC(".maps");

/* What is asked about. */
struct ask {
	u64 now;
	u32 address[4];
	u32 port;
	u32 way;
	bool loopback;
	bool neighbour; /* IPv6 asks who has an address */
	bool dark;      /* its port cannot be read */
	bool blind;     /* it has no ports */
};

INLINE bool is_port(struct order *order, struct ask *ask)
{
	if (!(order->flags & F_PORTS) || ask->dark)
		return true;
	if (ask->blind)
		return false;
#pragma unroll
	for (u32 i = 0; i < PORTS; i++) {
		u32 range = order->ports[i];
		if (range && ask->port >= (range & 0xffff) && ask->port <= range >> 16)
			return true;
	}
	return false;
}

INLINE bool refuses(u64 id, struct ask *ask)
{
	struct order *order = bpf_map_lookup_elem(&CUT_ORDERS, &id);
	struct peer peer = { .bits = 64 + 128 };
	u32 *says;
	bool named;
	if (!order || order->until <= ask->now)
		return false;
	peer.order[0] = (u32)id;
	peer.order[1] = (u32)(id >> 32);
	__builtin_memcpy(peer.address, ask->address, sizeof(peer.address));
	says = bpf_map_lookup_elem(&CUT_PEERS, &peer);
	named = says && *says;
	if (order->flags & F_BLOCKS)
		return named && (order->flags & (ask->way == INWARD ? F_INWARD : F_OUTWARD)) && is_port(order, ask);
	if (named || (ask->loopback && (order->flags & F_LOOPBACK)))
		return false;
	return !(ask->neighbour && (order->flags & F_ALLOWS));
}

/* The id of the order that refuses it; 0: none does. */
INLINE u64 refused(u64 group, struct ask *ask)
{
	struct orders *orders = bpf_map_lookup_elem(&CUT_GROUPS, &group);
	if (!orders || paused())
		return 0;
	ask->now = bpf_ktime_get_boot_ns();
#pragma unroll
	for (u32 i = 0; i < ORDERS; i++) {
		u64 id = orders->id[i];
		if (id && refuses(id, ask))
			return id;
	}
	return 0;
}

INLINE struct count *counted(u64 id, u64 now)
{
	struct count *count = bpf_map_lookup_elem(&CUT_COUNTS, &id);
	if (count) {
		if (!count->first)
			count->first = now;
		count->last = now;
	}
	return count;
}

INLINE void map_address(u32 to[4], u32 address)
{
	to[0] = 0;
	to[1] = 0;
	to[2] = __builtin_bswap32(0xffff);
	to[3] = address;
}

/* The ports follow the addresses: of those protocols that have them, in their first bytes. */
INLINE bool has_ports(u8 protocol)
{
	/* TCP, UDP, DCCP, SCTP, UDP-Lite */
	return protocol == 6 || protocol == 17 || protocol == 33 || protocol == 132 || protocol == 136;
}

INLINE void read_port(struct __sk_buff *skb, u32 at, struct ask *ask)
{
	u8 ports[4];
	if (bpf_skb_load_bytes_relative(skb, at, ports, sizeof(ports), NETWORK) < 0)
		ask->dark = true;
	else
		ask->port = (u32)ports[2] << 8 | ports[3];
}

/* Reads a packet from its network header on; false when it cannot be read. */
INLINE bool read_packet(struct __sk_buff *skb, struct ask *ask)
{
	if (skb->protocol == __builtin_bswap16(IP4)) {
		u32 head[5];
		u8 first, protocol;
		if (bpf_skb_load_bytes_relative(skb, 0, head, sizeof(head), NETWORK) < 0)
			return false;
		first = *(u8 *)head;
		protocol = ((u8 *)head)[9];
		map_address(ask->address, ask->way == INWARD ? head[3] : head[4]);
		if (!has_ports(protocol))
			ask->blind = true;
		else if (head[1] & __builtin_bswap32(0x1fff)) /* a fragment that is not the first */
			ask->dark = true;
		else
			read_port(skb, (first & 0xf) * 4, ask);
		return true;
	}
	if (skb->protocol == __builtin_bswap16(IP6)) {
		u32 head[10];
		u8 next;
		if (bpf_skb_load_bytes_relative(skb, 0, head, sizeof(head), NETWORK) < 0)
			return false;
		next = ((u8 *)head)[6];
		if (ask->way == INWARD)
			__builtin_memcpy(ask->address, &head[2], sizeof(ask->address));
		else
			__builtin_memcpy(ask->address, &head[6], sizeof(ask->address));
		if (has_ports(next)) {
			read_port(skb, 40, ask);
		} else if (next == ICMP6) {
			u8 kind = 0;
			ask->blind = true;
			/* As RFC 4861 has it (7.1): no router has passed it on, and it is not long. */
			if (((u8 *)head)[7] == 255 && skb->len <= NEIGHBOUR && !bpf_skb_load_bytes_relative(skb, 40, &kind, 1, NETWORK))
				ask->neighbour = kind == SOLICITATION || kind == ADVERTISEMENT;
		} else {
			/* Another header comes before the ports, or there are none: whoever could hide behind one may not. */
			ask->dark = true;
		}
		return true;
	}
	/* IPv4 asks who has an address. */
	ask->neighbour = skb->protocol == __builtin_bswap16(ARP);
	return false;
}

/* Whether it is to be dropped; then it is counted. */
INLINE bool is_refused(struct __sk_buff *skb, u64 group, u32 way)
{
	struct ask ask = { .way = way };
	struct count *count;
	u64 id;
	if (!read_packet(skb, &ask))
		ask.dark = true;
	ask.loopback = skb->ifindex == LOOPBACK;
	id = refused(group, &ask);
	if (!id)
		return false;
	count = counted(id, ask.now);
	if (count) {
		__sync_fetch_and_add(&count->packets[way], 1);
		__sync_fetch_and_add(&count->bytes[way], skb->len);
	}
	return true;
}

INLINE int packet(struct __sk_buff *skb, u32 way)
{
	u64 *group = bpf_get_local_storage(&CUT_HOMES, 0);
	return *group && is_refused(skb, *group, way) ? DROP : PASS;
}

INLINE int passing(struct __sk_buff *skb, u32 way)
{
	u32 index = skb->ifindex;
	struct device *device = bpf_map_lookup_elem(&CUT_DEVICES, &index);
	return device && is_refused(skb, device->group, way) ? SHOT : NEXT;
}

/* An address that a process names: refused here it is told so at once, and need not wait for what never comes. */
INLINE int call(struct ask *ask, u32 port)
{
	u64 *group = bpf_get_local_storage(&CUT_HOMES, 0), id;
	struct count *count;
	if (!*group)
		return PASS;
	ask->way = OUTWARD;
	ask->port = __builtin_bswap16((u16)port);
	id = refused(*group, ask);
	if (!id)
		return PASS;
	count = counted(id, ask->now);
	if (count)
		__sync_fetch_and_add(&count->calls, 1);
	return DROP;
}

INLINE int call4(struct bpf_sock_addr *address)
{
	struct ask ask = {};
	u32 to = address->user_ip4;
	map_address(ask.address, to);
	/* 0.0.0.0 is this host. */
	ask.loopback = *(u8 *)&to == 127 || !to;
	return call(&ask, address->user_port);
}

INLINE int call6(struct bpf_sock_addr *address)
{
	struct ask ask = {};
	ask.address[0] = address->user_ip6[0];
	ask.address[1] = address->user_ip6[1];
	ask.address[2] = address->user_ip6[2];
	ask.address[3] = address->user_ip6[3];
	if (!ask.address[0] && !ask.address[1]) {
		u32 last = ask.address[3];
		if (!ask.address[2])
			ask.loopback = !last || last == __builtin_bswap32(1);
		else if (ask.address[2] == __builtin_bswap32(0xffff))
			ask.loopback = *(u8 *)&last == 127;
	}
	return call(&ask, address->user_port);
}

SEC("cgroup_skb/egress")
int cut_egress(struct __sk_buff *skb)
{
	return packet(skb, OUTWARD);
}

SEC("cgroup_skb/ingress")
int cut_ingress(struct __sk_buff *skb)
{
	return packet(skb, INWARD);
}

SEC("cgroup/connect4")
int cut_connect4(struct bpf_sock_addr *address)
{
	return call4(address);
}

SEC("cgroup/connect6")
int cut_connect6(struct bpf_sock_addr *address)
{
	return call6(address);
}

SEC("cgroup/sendmsg4")
int cut_sendmsg4(struct bpf_sock_addr *address)
{
	return call4(address);
}

SEC("cgroup/sendmsg6")
int cut_sendmsg6(struct bpf_sock_addr *address)
{
	return call6(address);
}

/* What arrives at the host's end comes out of the network behind it. */
SEC("classifier")
int cut_out(struct __sk_buff *skb)
{
	return passing(skb, OUTWARD);
}

SEC("classifier")
int cut_in(struct __sk_buff *skb)
{
	return passing(skb, INWARD);
}

/* The boot clock and the helpers that read kernel memory ask for it. */
char LICENSE[] SEC("license") = "GPL";
