/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What the compiler does not bring: fixed-width types, the helper calls of the kernel (their numbers are kernel ABI,
 * include/uapi/linux/bpf.h), map declarations in BTF form and the relocatable read.
 * Self-contained on purpose: no libbpf and no kernel headers are needed to build the object.
 */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed int s32;
typedef signed long long s64;
typedef _Bool bool;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define NULL ((void *)0)
#define true 1
#define false 0

/* BTF map definitions: an attribute is carried by the size of an array type. */
#define MAP_UINT(name, val) int(*name)[val]
#define MAP_TYPE(name, val) __typeof__(val) *name

enum {
	BPF_MAP_HASH = 1,
	BPF_MAP_ARRAY = 2,
	BPF_MAP_PROG_ARRAY = 3,
	BPF_MAP_PERCPU_ARRAY = 6,
	BPF_MAP_LRU_HASH = 9,
	BPF_MAP_RINGBUF = 27,
};

enum { RB_NO_WAKEUP = 1, RB_FORCE_WAKEUP = 2 };
enum { RB_AVAIL_DATA = 0, RB_RING_SIZE = 1, RB_CONS_POS = 2, RB_PROD_POS = 3 };
enum { MAP_ANY = 0, MAP_NOEXIST = 1 };

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*bpf_tail_call)(void *ctx, void *prog_array, u32 index) = (void *)12;
static u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static u64 (*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_probe_read_user)(void *dst, u32 size, const void *from) = (void *)112;
static long (*bpf_probe_read_kernel)(void *dst, u32 size, const void *from) = (void *)113;
static long (*bpf_probe_read_user_str)(void *dst, u32 size, const void *from) = (void *)114;
static long (*bpf_probe_read_kernel_str)(void *dst, u32 size, const void *from) = (void *)115;
static u64 (*bpf_ktime_get_boot_ns)(void) = (void *)125;              /* 5.8 */
static long (*bpf_seq_write)(void *seq, const void *data, u32 len) = (void *)127; /* 5.8 */
static long (*bpf_ringbuf_output)(void *ring, const void *data, u64 size, u64 flags) = (void *)130; /* 5.8 */
static u64 (*bpf_ringbuf_query)(void *ring, u64 what) = (void *)134; /* 5.8 */

/* Relocatable read of one field: the offset is the running kernel's (CO-RE); the helper zeroes what a bad pointer cannot give. */
#define KREAD(ptr, field)                                                                                              \
	({                                                                                                             \
		__typeof__((ptr)->field) kread_value;                                                                  \
		bpf_probe_read_kernel(&kread_value, sizeof(kread_value), &(ptr)->field);                               \
		kread_value;                                                                                           \
	})
/*
 * The same where `typed`, a constant, says that the verifier knows the pointer's type (what a tp_btf program was given, and
 * what that leads to): then it is a plain load, which the kernel guards by itself, a tenth of the helper's cost.
 */
#define READ(typed, ptr, field) ((typed) ? (ptr)->field : KREAD(ptr, field))
/* KREAD into a place. */
#define KREAD_INTO(dst, ptr, field) bpf_probe_read_kernel(dst, sizeof(*(dst)), &(ptr)->field)

#define FIELD_OFFSET(type, field) __builtin_preserve_field_info(((type *)0)->field, 0)
#define FIELD_EXISTS(type, field) __builtin_preserve_field_info(((type *)0)->field, 2)
#define TYPE_SIZE(type) __builtin_preserve_type_info(*(type *)0, 1)
#define ENUM_EXISTS(type, value) __builtin_preserve_enum_value(*(__typeof__(type) *)value, 0)
#define ENUM_VALUE(type, value) __builtin_preserve_enum_value(*(__typeof__(type) *)value, 1)

/* Hides a value from the optimiser, so that the bound written next to a helper call is the one the verifier sees. */
#define OPAQUE(var) asm volatile("" : "+r"(var))
