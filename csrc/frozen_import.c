/* SPDX-License-Identifier: Apache-2.0
 *
 * A short way to frozen modules. The import statement calls _frozen_importlib._find_and_load, which
 * takes about 100,000 instructions a module for locks, finders and specs; a container's creation
 * imports some 40 modules. Modules of our table need none of that: they are found here and nowhere
 * else. All others go the ordinary way. */
#include "frozen.h"

#include <string.h>

static PyObject *ordinary_find_and_load;

static int is_frozen_here(const char *name) {
    for (const struct _frozen *entry = frozen_modules; entry->name; entry++) {
        if (strcmp(entry->name, name) == 0)
            return 1;
    }
    return 0;
}

/* Imports the package that the module is in and returns it, or NULL without an exception
 * where the module is in none. *last is the module's name in its package. */
static PyObject *import_parent(const char *text, PyObject **last) {
    const char *dot = strrchr(text, '.');
    PyObject *parent_name, *parent;

    *last = NULL;
    if (!dot)
        return NULL;
    parent_name = PyUnicode_FromStringAndSize(text, dot - text);
    if (!parent_name)
        return NULL;
    parent = PyImport_GetModule(parent_name);
    if (!parent && !PyErr_Occurred()) {
        Py_XDECREF(PyImport_Import(parent_name));
        if (!PyErr_Occurred())
            parent = PyImport_GetModule(parent_name);
    }
    Py_DECREF(parent_name);
    if (!parent)
        return NULL;
    *last = PyUnicode_FromString(dot + 1);
    return parent;
}

static PyObject *find_and_load(PyObject *self, PyObject *const *arguments, Py_ssize_t count) {
    PyObject *name = arguments[0], *module, *parent, *last;
    const char *text = PyUnicode_AsUTF8(name);

    (void)self;
    if (!text)
        return NULL;
    if (!is_frozen_here(text))
        return PyObject_Vectorcall(ordinary_find_and_load, arguments, (size_t)count, NULL);
    parent = import_parent(text, &last);
    if (PyErr_Occurred()) {
        Py_XDECREF(parent);
        return NULL;
    }
    /* The package may have imported the module. */
    module = PyImport_GetModule(name);
    if (!module && !PyErr_Occurred() && PyImport_ImportFrozenModuleObject(name) > 0)
        module = PyImport_GetModule(name);
    if (module && parent && PyObject_SetAttr(parent, last, module) < 0)
        Py_CLEAR(module);
    Py_XDECREF(parent);
    Py_XDECREF(last);
    if (!module && !PyErr_Occurred())
        PyErr_Format(PyExc_ImportError, "cannot load frozen module %s", text);
    return module;
}

static PyMethodDef find_and_load_method = {
    "_find_and_load", (PyCFunction)(void (*)(void))find_and_load, METH_FASTCALL, NULL};

int frozen_import_install(void) {
    PyObject *importlib = PyImport_ImportModule("_frozen_importlib");
    PyObject *function = NULL;
    int result = -1;

    if (!importlib)
        return -1;
    ordinary_find_and_load = PyObject_GetAttrString(importlib, "_find_and_load");
    if (ordinary_find_and_load)
        function = PyCFunction_New(&find_and_load_method, NULL);
    if (function)
        result = PyObject_SetAttrString(importlib, "_find_and_load", function);
    Py_XDECREF(function);
    Py_DECREF(importlib);
    return result;
}
