/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * A path as the process's mount namespace shows it, by walking dentries up and crossing mounts. d_path is refused in
 * tracepoints, and a user's pointer may say anything; the kernel's dentry does not lie.
 */
#pragma once

#include "maps.h"

#define MAGIC_TMPFS 0x01021994
#define MAGIC_OVERLAY 0x794c7630

enum { W_CUT = 1, W_WATCHED = 2, W_ALONE = 4 };

/* What a walk wants of a dentry. */
struct step {
	struct dentry *parent;
	u32 hash, len;
	const unsigned char *name;
};

/* `d_name` stands right behind `d_parent` (5.8-6.18): one read. */
INLINE void read_step(struct dentry *dentry, struct step *step)
{
	if (FIELD_OFFSET(struct dentry, d_name) == FIELD_OFFSET(struct dentry, d_parent) + sizeof(void *)) {
		bpf_probe_read_kernel(step, sizeof(*step), &dentry->d_parent);
	} else {
		struct qstr name;
		KREAD_INTO(&name, dentry, d_name);
		step->parent = KREAD(dentry, d_parent);
		step->len = name.len;
		step->name = name.name;
	}
}

/* Whether a watched name is on the path: what `walk` would find, without writing anything. */
INLINE bool passes_watched(struct path *from)
{
	struct dentry *dentry = from->dentry;
	struct vfsmount *vfs = from->mnt;
	struct dentry *root = KREAD(vfs, mnt_root);
	struct mount *mount = (void *)((char *)vfs - FIELD_OFFSET(struct mount, mnt));
	u64 lengths = control(C_WATCH_LENGTHS);

	for (int i = 0; i < PATH_PARTS; i++) {
		struct step step;
		u32 length;
		if (!dentry)
			return false;
		if (dentry == root) {
			struct mount *above = KREAD(mount, mnt_parent);
			if (above == mount)
				return false;
			dentry = KREAD(mount, mnt_mountpoint);
			mount = above;
			root = KREAD(mount, mnt.mnt_root);
			continue;
		}
		read_step(dentry, &step);
		length = step.len > 63 ? 63 : step.len;
		if (lengths >> length & 1) {
			struct watch_name key = {};
			bpf_probe_read_kernel_str(&key.name, WATCH_NAME, step.name);
			if (bpf_map_lookup_elem(&WATCHED, &key))
				return true;
		}
		if (step.parent == dentry)
			return false;
		dentry = step.parent;
	}
	return false;
}

/*
 * Writes the components from leaf to root at data[w->end..], each with a NUL, and moves w->end behind them.
 * `data` has PATHS_MAX + NAME_MAX bytes. `w` lies in a map: what is read from there the verifier takes as unknown, so that
 * all ways through one turn of the loop are one state to it; on the stack it counts them all and gives up at a million.
 */
INLINE void walk(char *data, struct walked *w, struct path *from, bool watch)
{
	struct dentry *dentry = from->dentry;
	struct vfsmount *vfs = from->mnt;
	struct dentry *root = KREAD(vfs, mnt_root);
	struct mount *mount = (void *)((char *)vfs - FIELD_OFFSET(struct mount, mnt));
	u64 lengths = watch ? control(C_WATCH_LENGTHS) : 0;

	w->flags = W_CUT;
	if (!dentry)
		return;
	for (int i = 0; i < PATH_PARTS; i++) {
		struct dentry *parent;
		struct step step;
		u32 o;
		long n;
		if (dentry == root) {
			struct mount *above = KREAD(mount, mnt_parent);
			if (above == mount) {
				w->flags &= ~W_CUT;
				return;
			}
			dentry = KREAD(mount, mnt_mountpoint);
			mount = above;
			root = KREAD(mount, mnt.mnt_root);
			continue;
		}
		read_step(dentry, &step);
		parent = step.parent;
		o = w->end;
		if (o > PATHS_MAX - NAME_MAX)
			return;
		OPAQUE(o);
		o &= PATHS_MAX - 1;
		n = bpf_probe_read_kernel_str(&data[o], NAME_MAX, step.name);
		if (n <= 0)
			return;
		w->end = o + n;
		if (watch) {
			u32 length = step.len > 63 ? 63 : step.len;
			if (lengths >> length & 1) {
				struct watch_name key = {};
				bpf_probe_read_kernel_str(&key.name, WATCH_NAME, step.name);
				if (bpf_map_lookup_elem(&WATCHED, &key))
					w->flags |= W_WATCHED;
			}
		}
		if (parent == dentry) {
			/* Its own parent and no mount's root: it never had a place (memfd, anonymous files). */
			w->flags = (w->flags | W_ALONE) & ~W_CUT;
			return;
		}
		dentry = parent;
	}
}
