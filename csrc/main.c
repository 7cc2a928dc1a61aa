/* SPDX-License-Identifier: Apache-2.0
 *
 * The pyrunc executable: starts a CPython that reads nothing from the host and gives argv to
 * pyrunc.__main__.main. It decides nothing about containers. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "frozen.h"
#ifdef PYRUNC_SNAPSHOT
#include "snapshot.h"
#endif

/* _init_main is provisional API: here from CPython 3.8, gone in 3.14. */
#if PY_VERSION_HEX < 0x030E0000
#define HAVE_CORE_INITIALIZATION 1
#else
#define HAVE_CORE_INITIALIZATION 0
#endif

/* In a shared libpython some modules that the hot path imports are files, found only by a complete
 * interpreter. */
#if HAVE_CORE_INITIALIZATION && defined(PYRUNC_STATIC_PYTHON)
#define START_CORE_ONLY 1
#else
#define START_CORE_ONLY 0
#endif

#if START_CORE_ONLY
static bool main_initialized;
#else
static bool main_initialized = true;
#endif

/* Of the linker (end(3)). */
extern char __data_start[], edata[];

PyMODINIT_FUNC PyInit__cffi_backend(void);
PyMODINIT_FUNC PyInit__pyrunc_shim(void);

/* The file whose appended zip holds the cold modules. /proc/self/exe survives a rename and a memfd;
 * AT_EXECFN serves where no /proc is mounted. */
static const char *executable_path(void) {
    const char *path = "/proc/self/exe";

    if (access(path, R_OK) == 0)
        return path;
    path = (const char *)getauxval(AT_EXECFN);
    return path ? path : "/proc/self/exe";
}

#if START_CORE_ONLY
/* Where the executable is was said when the interpreter was made, maybe on another machine. */
static int set_search_path(void) {
    PyObject *path = PyUnicode_DecodeFSDefault(executable_path());
    PyObject *list = path ? PyList_New(1) : NULL;
    int result = -1;

    if (list) {
        PyList_SET_ITEM(list, 0, path);
        result = PySys_SetObject("path", list);
        Py_DECREF(list);
    } else {
        Py_XDECREF(path);
    }
    return result;
}
#endif

static int initialize_main(void) {
#if START_CORE_ONLY
    PyStatus status;

    if (main_initialized)
        return 0;
    main_initialized = true;
    status = _Py_InitializeMain();
    if (PyStatus_Exception(status)) {
        PyErr_Format(PyExc_SystemError, "cannot complete the interpreter: %s",
                     status.err_msg ? status.err_msg : "?");
        return -1;
    }
    return set_search_path();
#else
    return 0;
#endif
}

static PyObject *interpreter_initialize_main(PyObject *self, PyObject *unused) {
    (void)self;
    (void)unused;
    if (initialize_main() < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef interpreter_methods[] = {
    {"initialize_main", interpreter_initialize_main, METH_NOARGS,
     "Completes a core-initialised interpreter: streams, encodings, import from files."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef interpreter_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_pyrunc_interpreter",
    .m_size = -1,
    .m_methods = interpreter_methods,
};

static PyObject *init_interpreter_module(void) { return PyModule_Create(&interpreter_module); }

static PyObject *contextvars_copy_context(PyObject *self, PyObject *unused) {
    (void)self;
    (void)unused;
    return PyContext_CopyCurrent();
}

static PyMethodDef contextvars_methods[] = {
    {"copy_context", contextvars_copy_context, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef contextvars_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_contextvars",
    .m_size = -1,
    .m_methods = contextvars_methods,
};

/* Debian builds _contextvars as a file although its types are in libpython; decimal imports it. */
static PyObject *init_contextvars_module(void) {
    PyObject *module = PyModule_Create(&contextvars_module);

    if (!module)
        return NULL;
    if (PyModule_AddType(module, &PyContext_Type) < 0 ||
        PyModule_AddType(module, &PyContextVar_Type) < 0 ||
        PyModule_AddType(module, &PyContextToken_Type) < 0)
        Py_CLEAR(module);
    return module;
}

static struct _inittab builtin_modules[] = {
    {"_cffi_backend", PyInit__cffi_backend},
    {"_pyrunc_shim", PyInit__pyrunc_shim},
    {"_pyrunc_interpreter", init_interpreter_module},
    {"_contextvars", init_contextvars_module},
    {NULL, NULL},
};

static void stop_if(PyStatus status) {
    if (!PyStatus_Exception(status))
        return;
    fprintf(stderr, "pyrunc: start the interpreter: %s\n",
            status.err_msg ? status.err_msg : "unknown error");
    _exit(1);
}

static void preinitialize(void) {
    PyPreConfig preconfig;

    PyPreConfig_InitIsolatedConfig(&preconfig);
    preconfig.utf8_mode = 1;
    preconfig.configure_locale = 0;
    preconfig.coerce_c_locale = 0;
    stop_if(Py_PreInitialize(&preconfig));
}

static void set_path(PyConfig *config, wchar_t **field, const char *path) {
    stop_if(PyConfig_SetBytesString(config, field, path));
}

static void append_search_path(PyConfig *config, const char *path) {
    wchar_t *decoded = Py_DecodeLocale(path, NULL);

    if (!decoded)
        stop_if(PyStatus_NoMemory());
    stop_if(PyWideStringList_Append(&config->module_search_paths, decoded));
    PyMem_RawFree(decoded);
}

static void initialize(void) {
    const char *executable = executable_path();
    PyConfig config;

    PyConfig_InitIsolatedConfig(&config);
    config.site_import = 0;
    config.install_signal_handlers = 0;
    config.parse_argv = 0;
    config.pathconfig_warnings = 0;
    config.write_bytecode = 0;
    config.optimization_level = 2;
    /* No dictionary here is filled by a container, and a fixed seed makes runs repeatable. */
    config.use_hash_seed = 1;
    config.hash_seed = 0;
    set_path(&config, &config.program_name, "pyrunc");
    set_path(&config, &config.executable, executable);
    set_path(&config, &config.base_executable, executable);
    set_path(&config, &config.home, "/");
    set_path(&config, &config.prefix, "/");
    set_path(&config, &config.base_prefix, "/");
    set_path(&config, &config.exec_prefix, "/");
    set_path(&config, &config.base_exec_prefix, "/");
    set_path(&config, &config.stdlib_dir, "/nonexistent");
    config.module_search_paths_set = 1;
    append_search_path(&config, executable);
#ifdef PYRUNC_STDLIB
    append_search_path(&config, PYRUNC_STDLIB);
    append_search_path(&config, PYRUNC_DYNLOAD);
#endif
#if START_CORE_ONLY
    config._init_main = 0;
#endif
    stop_if(Py_InitializeFromConfig(&config));
    PyConfig_Clear(&config);
}

/* Prints a traceback: only a defect of pyrunc gets here, main words every failure itself. */
static int report_exception(void) {
    PyObject *type, *value, *traceback;

    PyErr_Fetch(&type, &value, &traceback);
    if (initialize_main() < 0)
        PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    PyErr_Print();
    return 1;
}

static PyObject *decode_arguments(int argc, char **argv) {
    PyObject *list = PyList_New(argc);

    for (int i = 0; list && i < argc; i++) {
        PyObject *text =
            PyUnicode_DecodeUTF8(argv[i], (Py_ssize_t)strlen(argv[i]), "surrogateescape");

        if (!text)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, text);
    }
    return list;
}

static PyObject *main_module;

/* Imports what every verb begins with; 0, or -1 with an exception. */
static int import_main(void) {
    if (frozen_import_install() == 0)
        main_module = PyImport_ImportModule("pyrunc.__main__");
    return main_module ? 0 : -1;
}

static int call_main(int argc, char **argv) {
    PyObject *arguments, *result = NULL;
    long code = -1;

    arguments = decode_arguments(argc, argv);
    if (arguments)
        result = PyObject_CallMethod(main_module, "main", "O", arguments);
    if (result)
        code = PyLong_AsLong(result);
    if (PyErr_Occurred())
        return report_exception();
    return (int)code;
}

/* Output that did not reach its file is a failure, even though everything else went well. */
static int flush_stream(const char *name, int code) {
    PyObject *stream = PySys_GetObject(name), *result;

    if (!stream || stream == Py_None)
        return code;
    result = PyObject_CallMethod(stream, "flush", NULL);
    if (result) {
        Py_DECREF(result);
        return code;
    }
    PyErr_Clear();
    return code ? code : 1;
}

/* Nine tenths of the pages of .data are written to while CPython starts, since its static objects
 * are there: one call for all of them spares some 300 page faults (Linux 5.14; without it, it is
 * slower). */
static void populate_data(void) {
#ifdef MADV_POPULATE_WRITE
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = (uintptr_t)__data_start & -page, end = (uintptr_t)edata & -page;

    madvise((void *)start, end - start, MADV_POPULATE_WRITE);
#endif
}

/* A caller that closed its streams would have the runtime's own files become the container's 0
 * to 2. O_PATH would not do: the container process inherits them. */
static void open_missing_streams(void) {
    int fd;

    for (fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            _exit(1);
}

static void start_interpreter(void) {
    populate_data();
    if (PyImport_ExtendInittab(builtin_modules) < 0)
        stop_if(PyStatus_NoMemory());
    PyImport_FrozenModules = frozen_modules;
    preinitialize();
    initialize();
    /* Nothing lives long enough to be worth a collection. */
    PyGC_Disable();
    if (import_main() < 0)
        _exit(report_exception());
}

#ifdef PYRUNC_SNAPSHOT
static int write_snapshot(const char *path) {
    snapshot_begin();
    start_interpreter();
    for (const char *const *name = snapshot_modules; *name; name++) {
        if (!PyImport_ImportModule(*name))
            return report_exception();
    }
    if (snapshot_write(path) == 0)
        return 0;
    perror("pyrunc: write the snapshot");
    return 1;
}
#endif

int main(int argc, char **argv) {
    int code;

    open_missing_streams();
    /* A hook that does not read its standard input is no error, nor is it our end. */
    (void)signal(SIGPIPE, SIG_IGN);
    /* Where the caller ignores it, the kernel throws away how children end (wait(2), ECHILD). */
    (void)signal(SIGCHLD, SIG_DFL);
#ifdef PYRUNC_SNAPSHOT
    if (snapshot_is_loaded()) {
        if (snapshot_resume() < 0)
            _exit(report_exception());
    } else if (argc == 3 && strcmp(argv[1], "--write-snapshot") == 0) {
        _exit(write_snapshot(argv[2]));
    } else
#endif
        start_interpreter();
    code = call_main(argc, argv);
    if (main_initialized) {
        code = flush_stream("stdout", code);
        code = flush_stream("stderr", code);
    }
    _exit(code);
}
