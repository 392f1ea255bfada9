/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What travels in the rings. src/record.rs reads these shapes and asserts the same sizes; a change here is a change there.
 * All fields are aligned naturally and in host byte order, except addresses, which are as they stand in a packet.
 */
#pragma once

#include "helpers.h"

enum record_kind {
	K_FORK = 1,
	K_EXEC = 2,
	K_EXIT = 3,
	K_CRED = 4,
	K_NET = 5,
	K_FILE = 6,
	K_ACCESS = 7,
};

enum head_flags {
	H_URGENT = 1,
};

/* Who: every record names its process wholly, so that it is understood even where the table has lost it. */
struct head {
	u8 kind;
	u8 flags;
	u16 sub; /* what within the kind: an operation, a direction */
	u32 pad;
	u64 at; /* CLOCK_BOOTTIME */
	u32 pid;
	u32 tid;
	u64 start; /* start_boottime of the thread group's leader */
	u64 exec_id;
	u64 parent_start;
	u32 ppid;
	u32 uid;
	u32 gid;
	u32 euid;
	u32 egid;
	u32 mnt_ns;
	u64 cgroup;
	char comm[16];
};
_Static_assert(sizeof(struct head) == 96, "head");

enum stdio_kind {
	S_NONE = 0,
	S_FILE = 1,
	S_PIPE = 2,
	S_CHAR = 3,
	S_SOCKET = 4,
	S_OTHER = 5,
};

/* One of the fds 0-2. A UNIX socket carries the inode of its other end in `peer`. */
struct stdio {
	u8 kind;
	u8 family;
	u8 protocol;
	u8 state;
	u16 local_port;
	u16 peer_port;
	u32 rdev;
	u32 pad;
	u64 inode;
	u8 local[16];
	u8 peer[16];
};
_Static_assert(sizeof(struct stdio) == 56, "stdio");

enum image_flags {
	I_MEMFD = 1,
	I_DELETED = 2,
	I_TMPFS = 4,
	I_PATH_CUT = 8, /* the image's path lacks its beginning */
	I_ARGS_CUT = 16,
	I_NO_NEW_PRIVS = 32,
	I_CWD_CUT = 128,
	I_UPPER = 64, /* on an overlay, and not as the lower layers have it */
};

#define NAME_MAX 256
/* Of a path that a caller passed at most this is kept. */
#define USER_PATH_MAX 1024
#define PATH_PARTS 28
/* Paths and the file name fill at most this; the arguments may follow at any place below it. */
#define PATHS_MAX 8192
/* The stated bound of a command line; beyond it I_ARGS_CUT is set and `args_total` tells the real length. */
#define ARGS_MAX 8192

/* How far a path walk has come: where the next thing may be written, and what was met (path.h). Of no use to user space. */
struct walked {
	u32 end;
	u32 flags;
};

/*
 * data: file name (NUL), image parts, working directory parts, arguments.
 * A path is its components from the leaf to the root, each with a NUL: the walk goes that way.
 */
struct exec {
	struct head head;
	u64 cap_effective;
	u64 cap_permitted;
	u64 inode;
	u32 device;
	u32 magic;
	u32 pid_ns;
	u32 net_ns;
	u32 links; /* of the image: 0 = unlinked */
	u32 ns_pid;
	u32 login_uid;
	u32 session;
	u32 owner;
	u16 mode;
	u16 flags;
	u8 seccomp;
	u8 pad[3];
	u16 file_len;
	u16 image_len;
	u16 cwd_len;
	u16 args_len;
	u32 args_total;
	char tty[16];
	struct stdio own[3];
	struct stdio parent[3];
	struct walked walked;
	char data[PATHS_MAX + ARGS_MAX + NAME_MAX];
};
_Static_assert(__builtin_offsetof(struct exec, data) == 536, "exec");

struct exit {
	struct head head;
	s32 code;
	u32 pad;
};

struct cred_change {
	struct head head;
	u64 cap_effective;
	u64 cap_permitted;
	u32 suid;
	u32 fsuid;
};

struct access_record {
	struct head head;
	u32 target; /* in the caller's pid namespace */
	u32 pad;
};

enum direction {
	N_OUT = 1,
	N_IN = 2,
	N_LISTEN = 3,
};

struct net_record {
	struct head head;
	u8 family;
	u8 protocol;
	u8 direction;
	u8 pad;
	u16 local_port;
	u16 peer_port;
	u8 local[16];
	u8 peer[16];
	u64 inode;
};

enum file_op {
	F_CREATE = 1,
	F_WRITE = 2,
	F_READ = 3,
	F_UNLINK = 4,
	F_RENAME = 5,
	F_CHMOD = 6,
	F_CHOWN = 7,
	F_LINK = 8,
	F_SYMLINK = 9,
	F_RMDIR = 10,
	F_MKDIR = 11,
};

enum file_flags {
	P_CUT = 1, /* the base lacks its beginning */
	P_FROM_USER = 2, /* the name is what the caller passed: no open file names it */
	P_NAME_CUT = 4, /* that name lacks its end */
};

/*
 * data: base parts, name (NUL), second base parts, second name (NUL).
 * A name that begins with `/` stands alone; else it is under its base. An event about an open file has a base and no name.
 */
struct file_record {
	struct head head;
	u64 inode;
	u32 device;
	u32 open_flags;
	u32 mode; /* chmod: the new mode; open: the file's */
	u32 uid;  /* chown */
	u32 gid;
	u16 flags;
	u16 base_len;
	u16 name_len;
	u16 base2_len;
	u16 name2_len;
	u16 pad;
	struct walked walked;
	char data[PATHS_MAX + USER_PATH_MAX];
};
_Static_assert(__builtin_offsetof(struct file_record, data) == 144, "file");

/* What user space gets of each process that was there before (iter/task). */
struct scanned {
	u32 pid;
	u32 ppid;
	u64 start;
	u64 parent_start;
	u64 exec_id;
};
