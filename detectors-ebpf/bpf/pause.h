/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The pause flag that everything here obeys that acts: one array of one word, the same map in every object that is
 * loaded beside the same pins (src/pin.rs), so that one write holds them all, whoever writes it.
 */
#pragma once

#include "helpers.h"

/* Not 0: nothing is done. Written by user space alone. */
struct {
	MAP_UINT(type, BPF_MAP_ARRAY);
	MAP_UINT(max_entries, 1);
	MAP_TYPE(key, u32);
	MAP_TYPE(value, u64);
} PAUSE SEC(".maps");

INLINE bool paused(void)
{
	u32 index = 0;
	u64 *value = bpf_map_lookup_elem(&PAUSE, &index);
	return !value || *value;
}
