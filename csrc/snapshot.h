/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PYRUNC_SNAPSHOT_H
#define PYRUNC_SNAPSHOT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>

/* From here on all memory of Python is taken from a region that is part of the image. To be called
 * before anything else of Python. */
void snapshot_begin(void);

/* Writes the writable memory of the process to a new file, as it is to be when an executable with
 * the snapshot starts. Nothing of Python may be running. 0, or -1 with errno. */
int snapshot_write(const char *path);

/* Whether the process started with an initialised interpreter. */
bool snapshot_is_loaded(void);

/* Makes such an interpreter the one of this process: its thread, its environment. 0, or -1 with an
 * exception. */
int snapshot_resume(void);

#endif
