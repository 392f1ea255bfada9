/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * One program on the exit of every system call, which looks the number up and jumps (tail call) to what wants it; the rest
 * pays one array look-up. CALLS says where each call keeps its arguments, so that a further call is a row in user space.
 * 32-bit calls on a 64-bit kernel have other numbers and are not seen.
 */
#pragma once

#include "task.h"

#define CALLS_MAX 512
#define TS_COMPAT 0x0002
#define TIF_32BIT 22

struct {
	MAP_UINT(type, BPF_MAP_PROG_ARRAY);
	MAP_UINT(max_entries, CALLS_MAX);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u32);
} HANDLERS SEC(".maps");

#define NO_ARG 255
/* Which argument is what; NO_ARG where the call has none. */
struct call {
	u8 op;
	u8 dir;
	u8 name;
	u8 dir2;
	u8 name2;
	u8 value;
	u8 value2;
	u8 flags;
};
struct {
	MAP_UINT(type, BPF_MAP_ARRAY);
	MAP_UINT(max_entries, CALLS_MAX);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, struct call);
} CALLS SEC(".maps");

/* The registers are what the tracepoint passes, whose type the verifier knows: plain loads. */
#if defined(__TARGET_ARCH_x86)
INLINE u32 call_number(struct pt_regs *regs)
{
	u64 number = regs->orig_ax;
	OPAQUE(number); /* the whole word is read */
	return number;
}
INLINE u64 argument(struct pt_regs *regs, u8 index)
{
	switch (index) {
	case 0:
		return regs->di;
	case 1:
		return regs->si;
	case 2:
		return regs->dx;
	case 3:
		return regs->r10;
	case 4:
		return regs->r8;
	case 5:
		return regs->r9;
	}
	return 0;
}
INLINE bool other_abi(struct task_struct *task)
{
	return KREAD(task, thread_info.status) & TS_COMPAT;
}
#else
INLINE u32 call_number(struct pt_regs *regs)
{
	return regs->syscallno;
}
/* At the exit x0 holds the result; the first argument was kept aside. */
INLINE u64 argument(struct pt_regs *regs, u8 index)
{
	switch (index) {
	case 0:
		return regs->orig_x0;
	case 1:
		return regs->regs[1];
	case 2:
		return regs->regs[2];
	case 3:
		return regs->regs[3];
	case 4:
		return regs->regs[4];
	case 5:
		return regs->regs[5];
	}
	return 0;
}
INLINE bool other_abi(struct task_struct *task)
{
	return KREAD(task, thread_info.flags) >> TIF_32BIT & 1;
}
#endif

INLINE struct call *call_of(struct pt_regs *regs)
{
	u32 number = call_number(regs);
	return bpf_map_lookup_elem(&CALLS, &number);
}

SEC("tp_btf/sys_exit")
int call_exit(u64 *ctx)
{
	struct pt_regs *regs = (void *)ctx[0];
	bpf_tail_call(ctx, &HANDLERS, call_number(regs));
	return 0;
}
