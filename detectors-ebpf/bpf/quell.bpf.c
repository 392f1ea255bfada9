/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The sensor's kernel side, one CO-RE object. It sees and tells; it decides nothing.
 * Helpers and patterns are those that Linux 5.8 has and that 6.1's verifier accepts. src/probes.rs names every program.
 */
#include "process.h"
#include "file.h"
#include "net.h"
#include "credentials.h"
#include "access.h"
#include "scan.h"

/* The helpers that read kernel memory ask for it. */
char LICENSE[] SEC("license") = "GPL";
