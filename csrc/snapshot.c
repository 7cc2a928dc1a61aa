/* SPDX-License-Identifier: Apache-2.0
 *
 * An interpreter that is initialised when the executable is built. Starting CPython and importing
 * our modules gives the same bytes each time: the build does it once, in a process that takes
 * Python's memory from the region below, and lays the bytes into the executable
 * (csrc/build/snapshot.py), whose addresses are fixed. The libc starts anew in each process:
 * nothing of its state is in the snapshot, and nothing in the snapshot points to what it allocates.
 */
#define Py_BUILD_CORE 1
#include "snapshot.h"

#include <internal/pycore_runtime.h>

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

/* Blocks of malloc first, then the arenas of pymalloc: the last of them has room left, which needs
 * no place in the file. */
#define BLOCKS_SIZE ((size_t)3 << 20)
#define ARENAS_SIZE ((size_t)9 << 20)
#define ARENA_ALIGNMENT 16384 /* POOL_SIZE of obmalloc.c */

extern unsigned char snapshot_region[] __attribute__((visibility("hidden")));
/* No part of .bss, which other things follow: the end of the image shall be the end of what is
 * used. */
__asm__(".section .snapshot_region, \"aw\", @nobits\n"
        ".balign 16384\n"
        ".globl snapshot_region\n"
        ".hidden snapshot_region\n"
        "snapshot_region:\n"
        ".zero 12 << 20\n"
        ".previous\n");

struct block {
    size_t size;
    size_t unused; /* keeps the alignment of malloc */
};

static bool recording, loaded;
static size_t blocks_used, arenas_used;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *old);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *old);

unsigned long __real_PyThread_get_thread_ident(void);
unsigned long __wrap_PyThread_get_thread_ident(void);

/* An address of the libc, of which traces would stay. */
unsigned long __wrap_PyThread_get_thread_ident(void) {
    return recording ? 1 : __real_PyThread_get_thread_ident();
}

static bool is_in_region(const void *address) {
    return (uintptr_t)address - (uintptr_t)snapshot_region < BLOCKS_SIZE + ARENAS_SIZE;
}

/* Only a build gets here, which fails then. */
static _Noreturn void stop_full(void) {
    static const char message[] = "pyrunc: the region of the snapshot is too small\n";

    if (write(2, message, sizeof(message) - 1) < 0)
        _exit(2);
    _exit(1);
}

static void *record_block(size_t size) {
    struct block *block = (struct block *)(void *)(snapshot_region + blocks_used);
    size_t rounded = (size + sizeof(*block) + 15) & ~(size_t)15;

    if (size > BLOCKS_SIZE || rounded > BLOCKS_SIZE - blocks_used)
        stop_full();
    blocks_used += rounded;
    block->size = size;
    return block + 1;
}

void *__wrap_malloc(size_t size) { return recording ? record_block(size) : __real_malloc(size); }

void *__wrap_calloc(size_t count, size_t size) {
    /* The region is zero, and used once. */
    return recording && (!size || count <= BLOCKS_SIZE / size) ? record_block(count * size)
                                                               : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size) {
    size_t old_size;
    void *new;

    if (!is_in_region(old) && (old || !recording))
        return __real_realloc(old, size);
    new = __wrap_malloc(size);
    if (new &&old) {
        old_size = ((struct block *)old)[-1].size;
        memcpy(new, old, size < old_size ? size : old_size);
    }
    return new;
}

void __wrap_free(void *old) {
    if (!is_in_region(old))
        __real_free(old);
}

static void *allocate_arena(void *context, size_t size) {
    size_t rounded = (size + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1);
    void *arena;

    (void)context;
    if (recording) {
        if (rounded > ARENAS_SIZE - arenas_used)
            stop_full();
        arenas_used += rounded;
        return snapshot_region + BLOCKS_SIZE + arenas_used - rounded;
    }
    arena = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return arena == MAP_FAILED ? NULL : arena;
}

static void free_arena(void *context, void *arena, size_t size) {
    (void)context;
    if (!is_in_region(arena))
        munmap(arena, size);
}

void snapshot_begin(void) {
    PyObjectArenaAllocator allocator = {NULL, allocate_arena, free_arena};

    recording = true;
    PyObject_SetArenaAllocator(&allocator);
}

bool snapshot_is_loaded(void) { return loaded; }

static int write_all(int fd, const unsigned char *bytes, size_t size) {
    while (size) {
        ssize_t written = write(fd, bytes, size);

        if (written <= 0)
            return -1;
        bytes += written;
        size -= (size_t)written;
    }
    return 0;
}

static PyObject *environment(void) {
    PyObject *posix = PyImport_ImportModule("posix");
    PyObject *found = posix ? PyObject_GetAttrString(posix, "environ") : NULL;

    Py_XDECREF(posix);
    return found;
}

int snapshot_write(const char *path) {
    const ElfW(Phdr) *segment = (const ElfW(Phdr) *)getauxval(AT_PHDR);
    PyThreadState *thread = PyThreadState_Get();
    PyObject *variables = environment();
    int fd, result = -1;

    if (!variables)
        return -1;
    PyDict_Clear(variables);
    Py_DECREF(variables);
    thread->native_thread_id = 0;
    recording = false;
    loaded = true;
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    for (size_t i = 0; i < getauxval(AT_PHNUM); i++, segment++) {
        if (segment->p_type == PT_LOAD && segment->p_flags & PF_W)
            result = write_all(fd, (const unsigned char *)segment->p_vaddr, segment->p_memsz);
    }
    return close(fd) < 0 ? -1 : result;
}

/* What posix.environ is in a process that imports it: of two variables with one name the first. */
static int read_environment(void) {
    PyObject *variables = environment();
    int result = variables ? 0 : -1;

    for (char **entry = environ; entry && *entry && !result; entry++) {
        const char *equals = strchr(*entry, '=');
        PyObject *name, *value;

        if (!equals)
            continue;
        name = PyBytes_FromStringAndSize(*entry, equals - *entry);
        value = PyBytes_FromString(equals + 1);
        if (!name || !value || !PyDict_SetDefault(variables, name, value))
            result = -1;
        Py_XDECREF(name);
        Py_XDECREF(value);
    }
    Py_XDECREF(variables);
    return result;
}

int snapshot_resume(void) {
    PyThreadState *thread = PyThreadState_Get();
    Py_tss_t *key = &_PyRuntime.gilstate.autoTSSkey;
    pthread_key_t unused;

    key->_is_initialized = 0;
    if (PyThread_tss_create(key) || PyThread_tss_set(key, thread)) {
        PyErr_NoMemory();
        return -1;
    }
    thread->thread_id = PyThread_get_thread_ident();
    /* To the interpreter it is as if it had forked: other locks, another thread. */
    PyOS_AfterFork_Child();
    /* The key that cffi made after Python's; it is looked at when C calls Python, which we do not.
     */
    (void)pthread_key_create(&unused, NULL);
    return read_environment();
}
