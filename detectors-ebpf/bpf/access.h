/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* One process reaching into another: ptrace attach and seize, process_vm_readv and process_vm_writev. */
#pragma once

#include "syscall.h"

#define PTRACE_ATTACH 16
#define PTRACE_SEIZE 0x4206

enum access_op { A_PTRACE = 1 };

/* What a debugger does after it is attached is not told: it would be told for each word. */
SEC("tp_btf/sys_exit")
int process_access(u64 *ctx)
{
	struct pt_regs *regs = (void *)ctx[0];
	s64 result = ctx[1];
	struct task_struct *task = (void *)bpf_get_current_task();
	struct access_record r = {};
	struct call *call = call_of(regs);
	if (result < 0 || !call || other_abi(task))
		return 0;
	if (call->op == A_PTRACE) {
		u64 request = argument(regs, call->value2);
		if (request != PTRACE_ATTACH && request != PTRACE_SEIZE)
			return 0;
	}
	fill_head(&r.head, task, K_ACCESS);
	r.head.sub = call->op;
	r.target = argument(regs, call->value);
	emit_process(&r.head, sizeof(r));
	return 0;
}
