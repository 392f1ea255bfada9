/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* The processes that were there before: exact start times, which /proc rounds to 10 ms. The rest of them /proc tells. */
#pragma once

#include "task.h"

SEC("iter/task")
int scan_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct seq_file *seq = ctx->meta->seq;
	struct task_struct *parent, *leader;
	struct scanned out = {};
	if (!task || KREAD(task, pid) != KREAD(task, tgid))
		return 0;
	parent = KREAD(task, real_parent);
	leader = KREAD(parent, group_leader);
	out.pid = KREAD(task, tgid);
	out.start = KREAD(task, start_boottime);
	out.exec_id = KREAD(task, self_exec_id);
	out.ppid = KREAD(parent, tgid);
	out.parent_start = KREAD(leader, start_boottime);
	bpf_seq_write(seq, &out, sizeof(out));
	return 0;
}
