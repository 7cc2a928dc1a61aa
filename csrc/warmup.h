/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PYRUNC_WARMUP_H
#define PYRUNC_WARMUP_H

/* Pays for the first cgroup v1 migration while the interpreter starts, if argv looks like a verb that will
 * migrate. Never fails: without it the verb is only slower. shim_warmup_join (shim.h) ends it. */
void warmup_start(int argc, char **argv);

#endif
