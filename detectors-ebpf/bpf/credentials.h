/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Who a process has become: the exits of the set*id family and capset, when they succeeded. */
#pragma once

#include "syscall.h"

SEC("tp_btf/sys_exit")
int credentials_change(u64 *ctx)
{
	struct pt_regs *regs = (void *)ctx[0];
	s64 result = ctx[1];
	struct task_struct *task = (void *)bpf_get_current_task();
	struct cred *cred = KREAD(task, cred);
	struct cred_change r = {};
	struct call *call = call_of(regs);
	if (result < 0 || !call || other_abi(task))
		return 0;
	fill_head(&r.head, task, K_CRED);
	r.head.sub = call->op;
	r.cap_effective = capabilities(&cred->cap_effective);
	r.cap_permitted = capabilities(&cred->cap_permitted);
	r.suid = KREAD(cred, suid.val);
	r.fsuid = KREAD(cred, fsuid.val);
	emit_process(&r.head, sizeof(r));
	return 0;
}
