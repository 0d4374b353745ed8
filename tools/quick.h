/* What compiled code asks of objects that are not, as quickly as the interpreter asks it.

   mypyc asks by the functions of CPython's that are meant for anything: 160 instructions for a field of a
   Struct, of which the compiled code reads some seventy for a proxied request, and as much for the name of a
   method. CPython's own interpreter does not: it keeps, for each place in the code, where the field was, and
   looks only whether the type is still what it was (PEP 659). This does the same, in the same way: a type's
   version is another one whenever anything of the type is changed, and 0 is the version of none.

   `compiling.py` puts it in front of what mypyc writes. Each cache is one place's own; it is read and written
   under the GIL. Where CPython says nothing of what is used here, or has no GIL, mypyc's own way stays. */

/* -- awaiting

   mypyc makes an object around a coroutine first, whose end is an exception: 80 ns for every await of a function
   that is not compiled. The interpreter sends to it, and so does this. */

static inline PyObject *coroutine_of(PyObject *awaited)
{
    return PyCoro_CheckExact(awaited) ? Py_NewRef(awaited) : CPy_GetCoro(awaited);
}

#define CPy_GetCoro(awaited) coroutine_of(awaited)

#if PY_VERSION_HEX >= 0x030B0000 && !defined(Py_GIL_DISABLED) && !defined(PYPY_VERSION)

#include <stddef.h>
#include <structmember.h>

/* -- fields */

struct field_cache {
    PyObject *name; /* kept alive: another one never lies where this does */
    unsigned int version;
    Py_ssize_t offset; /* of a field, or 0 where it is computed: */
    getter get;
    void *closure;
};

static Py_NO_INLINE PyObject *field_found(PyObject *object, PyObject *name, struct field_cache *here)
{
    PyTypeObject *type = Py_TYPE(object);
    PyObject *got = PyObject_GetAttr(object, name);
    if (got == NULL || type->tp_getattro != PyObject_GenericGetAttr)
        return got;
    PyObject *found = _PyType_Lookup(type, name); /* gives the type a version, too */
    if (found == NULL || type->tp_version_tag == 0)
        return got;
    struct field_cache is = {name, type->tp_version_tag, 0, NULL, NULL};
    if (Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
        if (member->type == T_OBJECT_EX && (member->flags & ~READONLY) == 0)
            is.offset = member->offset;
    } else if (Py_IS_TYPE(found, &PyGetSetDescr_Type)) {
        is.get = ((PyGetSetDescrObject *)found)->d_getset->get;
        is.closure = ((PyGetSetDescrObject *)found)->d_getset->closure;
    }
    if ((is.offset <= 0 && is.get == NULL) || !PyType_IsSubtype(type, PyDescr_TYPE(found)))
        return got;
    Py_INCREF(name);
    PyObject *before = here->name;
    *here = is;
    Py_XDECREF(before);
    return got;
}

static inline PyObject *field_of(PyObject *object, PyObject *name, struct field_cache *here)
{
    if (Py_TYPE(object)->tp_version_tag == here->version && name == here->name) {
        if (here->offset == 0)
            return here->get(object, here->closure);
        PyObject *got = *(PyObject **)((char *)object + here->offset);
        if (got != NULL) { /* else it is unset, and an error is due */
            Py_INCREF(got);
            return got;
        }
    }
    return field_found(object, name, here);
}

#undef CPyObject_GetAttr
#define CPyObject_GetAttr(object, name) \
    __extension__({ static struct field_cache here; field_of((object), (name), &here); })

/* -- calls */

/* Every call of a policy asks for its thread: most of what that costs is to make the number and to free it. */
static PyObject *get_ident; /* `_thread.get_ident`, once it was called */

static PyObject *thread_number(void)
{
    static unsigned long last;
    static PyObject *number; /* of the thread that asked last */
    unsigned long now = PyThread_get_thread_ident();
    if (number == NULL || now != last) {
        PyObject *made = PyLong_FromUnsignedLong(now);
        if (made == NULL)
            return NULL;
        Py_XSETREF(number, made);
        last = now;
    }
    return Py_NewRef(number);
}

static inline PyObject *called_alone(PyObject *it, PyCFunction entry)
{
    if (it == get_ident)
        return thread_number();
    if (get_ident == NULL && strcmp(((PyCFunctionObject *)it)->m_ml->ml_name, "get_ident") == 0) {
        PyObject *module = ((PyCFunctionObject *)it)->m_module;
        if (module != NULL && PyUnicode_Check(module) && PyUnicode_CompareWithASCIIString(module, "_thread") == 0)
            get_ident = Py_NewRef(it);
    }
    return entry(PyCFunction_GET_SELF(it), NULL);
}

static inline PyObject *called(PyObject *it, PyObject *const *args, size_t count, PyObject *names)
{
    PyTypeObject *type = Py_TYPE(it);
    if (type == &PyCFunction_Type && names == NULL) { /* the commonest, without their preliminaries */
        Py_ssize_t given = PyVectorcall_NARGS(count);
        PyObject *self = PyCFunction_GET_SELF(it);
        PyCFunction entry = PyCFunction_GET_FUNCTION(it);
        switch (PyCFunction_GET_FLAGS(it)) {
        case METH_NOARGS:
            if (given == 0)
                return called_alone(it, entry);
            break;
        case METH_O:
            if (given == 1)
                return entry(self, args[0]);
            break;
        case METH_FASTCALL:
            return ((PyObject * (*)(PyObject *, PyObject *const *, Py_ssize_t))(void (*)(void))entry)(
                self, args, given);
        }
    }
    if (PyType_HasFeature(type, Py_TPFLAGS_HAVE_VECTORCALL)) {
        vectorcallfunc entry;
        memcpy(&entry, (char *)it + type->tp_vectorcall_offset, sizeof(entry));
        if (entry != NULL)
            return entry(it, args, count, names);
    }
    return PyObject_Vectorcall(it, args, count, names);
}

/* Methods of bytes take a tuple, which CPython makes and takes apart for each call: that is most of what it
   costs to look for the end of a head. These take their arguments as they are, and return NULL, without an
   error, for those that are left to CPython. */

typedef PyObject *(*shortcut)(PyObject *const *args, Py_ssize_t given);

/* Read what such a method begins with: bytes, other bytes and, where it is given, a place in the former. */
static inline int bytes_given(PyObject *const *args, Py_ssize_t given, Py_ssize_t *from)
{
    *from = 0;
    if (given < 2 || given > 3 || !PyBytes_Check(args[1]))
        return 0;
    if (given == 3) {
        *from = PyLong_AsSsize_t(args[2]);
        if (*from < 0) {
            PyErr_Clear(); /* it may have been too large, or no number */
            return 0;
        }
    }
    return *from <= PyBytes_GET_SIZE(args[0]);
}

enum { NOWHERE = -1, UNKNOWN = -2 };

/* Say where a text has another one, of one byte at least. What misleads often is left to CPython's way. */
static Py_ssize_t place_in(const char *text, Py_ssize_t size, const char *what, Py_ssize_t last, Py_ssize_t from)
{
    const char *end = text + size;
    if (last >= size - from)
        return NOWHERE;
    const char *at = text + from + last;
    for (int tried = 0; tried < 64; tried++, at++) {
        at = memchr(at, what[last], end - at);
        if (at == NULL)
            return NOWHERE;
        if (memcmp(at - last, what, last) == 0)
            return at - last - text;
    }
    return UNKNOWN;
}

static inline Py_ssize_t place_of(PyObject *in, PyObject *wanted, Py_ssize_t from)
{
    return place_in(PyBytes_AS_STRING(in), PyBytes_GET_SIZE(in), PyBytes_AS_STRING(wanted),
        PyBytes_GET_SIZE(wanted) - 1, from);
}

static PyObject *bytes_find(PyObject *const *args, Py_ssize_t given)
{
    Py_ssize_t from, place;
    if (!bytes_given(args, given, &from) || PyBytes_GET_SIZE(args[1]) == 0)
        return NULL;
    place = place_of(args[0], args[1], from);
    return place == UNKNOWN ? NULL : PyLong_FromSsize_t(place);
}

static PyObject *bytes_count(PyObject *const *args, Py_ssize_t given)
{
    Py_ssize_t from, count = 0;
    if (!bytes_given(args, given, &from) || PyBytes_GET_SIZE(args[1]) != 1)
        return NULL;
    const char *at = PyBytes_AS_STRING(args[0]) + from, *what = PyBytes_AS_STRING(args[1]);
    const char *end = PyBytes_AS_STRING(args[0]) + PyBytes_GET_SIZE(args[0]);
    while ((at = memchr(at, *what, end - at)) != NULL) {
        count++;
        at++;
    }
    return PyLong_FromSsize_t(count);
}

static PyObject *bytes_startswith(PyObject *const *args, Py_ssize_t given)
{
    Py_ssize_t from;
    if (!bytes_given(args, given, &from))
        return NULL;
    Py_ssize_t size = PyBytes_GET_SIZE(args[1]);
    return PyBool_FromLong(size <= PyBytes_GET_SIZE(args[0]) - from
        && memcmp(PyBytes_AS_STRING(args[0]) + from, PyBytes_AS_STRING(args[1]), size) == 0);
}

static shortcut shortcut_of(PyObject *method)
{
    if (!Py_IS_TYPE(method, &PyMethodDescr_Type) || PyDescr_TYPE(method) != &PyBytes_Type)
        return NULL;
    const char *name = ((PyMethodDescrObject *)method)->d_method->ml_name;
    return strcmp(name, "find") == 0   ? bytes_find
        : strcmp(name, "count") == 0      ? bytes_count
        : strcmp(name, "startswith") == 0 ? bytes_startswith
                                          : NULL;
}

/* `x in y`, of bytes: CPython asks first whether x is a number, whose error it makes and throws away. */
static inline int contained(PyObject *in, PyObject *wanted)
{
    if (PyBytes_CheckExact(in) && PyBytes_CheckExact(wanted) && PyBytes_GET_SIZE(wanted) > 0) {
        Py_ssize_t place = place_of(in, wanted, 0);
        if (place != UNKNOWN)
            return place != NOWHERE;
    }
    return PySequence_Contains(in, wanted);
}

#define PySequence_Contains(in, wanted) contained((in), (wanted))

/* And of texts, which are ASCII mostly. */
static inline int text_contained(PyObject *in, PyObject *wanted)
{
    if (PyUnicode_IS_COMPACT_ASCII(in) && PyUnicode_IS_COMPACT_ASCII(wanted) && PyUnicode_GET_LENGTH(wanted) > 0) {
        Py_ssize_t place = place_in(PyUnicode_DATA(in), PyUnicode_GET_LENGTH(in), PyUnicode_DATA(wanted),
            PyUnicode_GET_LENGTH(wanted) - 1, 0);
        if (place != UNKNOWN)
            return place != NOWHERE;
    }
    return PyUnicode_Contains(in, wanted);
}

#define PyUnicode_Contains(in, wanted) text_contained((in), (wanted))

struct method_cache {
    PyObject *name;
    unsigned int version;
    PyObject *method; /* borrowed of the type, which holds it as long as it has this version */
    shortcut way; /* or NULL */
    Py_ssize_t own; /* where the object's dict would be, if it ever needed one */
};

/* Say whether what a type has under a name is called with the object first. mypyc's own functions are, which
   stand for methods that are coroutines; they have no flag that says so. */
static int is_method(PyObject *found)
{
    PyTypeObject *type = Py_TYPE(found);
    return PyType_HasFeature(type, Py_TPFLAGS_METHOD_DESCRIPTOR)
        || strcmp(type->tp_name, "Function compiled with mypyc") == 0;
}

static Py_NO_INLINE PyObject *method_found(
    PyObject *name, PyObject *const *args, size_t count, PyObject *names, struct method_cache *here)
{
    PyTypeObject *type = Py_TYPE(args[0]);
    if (type->tp_getattro == PyObject_GenericGetAttr && type->tp_dictoffset >= 0) {
        PyObject *found = _PyType_Lookup(type, name);
        if (found != NULL && is_method(found) && type->tp_version_tag != 0) {
            Py_INCREF(name);
            Py_XSETREF(here->name, name);
            here->version = type->tp_version_tag;
            here->method = found;
            here->way = shortcut_of(found);
            here->own = type->tp_dictoffset;
        }
    }
    return PyObject_VectorcallMethod(name, args, count, names);
}

static inline PyObject *method_called(
    PyObject *name, PyObject *const *args, size_t count, PyObject *names, struct method_cache *here)
{
    /* Nothing of the object's own may stand before the type's method. */
    if (Py_TYPE(args[0])->tp_version_tag == here->version && name == here->name
        && (here->own == 0 || *(PyObject **)((char *)args[0] + here->own) == NULL)) {
        PyObject *method = here->method, *got;
        if (here->way != NULL && names == NULL && (got = here->way(args, PyVectorcall_NARGS(count))) != NULL)
            return got;
        Py_INCREF(method);
        got = called(method, args, count & ~PY_VECTORCALL_ARGUMENTS_OFFSET, names);
        Py_DECREF(method);
        return got;
    }
    return method_found(name, args, count, names, here);
}

#define PyObject_Vectorcall(it, args, count, names) called((it), (args), (count), (names))
#define PyObject_VectorcallMethod(name, args, count, names) \
    __extension__({ \
        static struct method_cache here; \
        method_called((name), (args), (count), (names), &here); \
    })

/* -- names of a module, and other constant keys of dicts that seldom change */

#if PY_VERSION_HEX < 0x030C0000 /* later ones keep no version of a dict */

struct item_cache {
    PyObject *key;
    uint64_t version;
    PyObject *value; /* borrowed of the dict, which holds it as long as it has this version */
};

static Py_NO_INLINE PyObject *item_found(PyObject *dict, PyObject *key, struct item_cache *here)
{
    PyObject *got = CPyDict_GetItem(dict, key);
    /* What is interned is a name that stands in the code; anything else would be kept for nothing. */
    if (got != NULL && PyDict_CheckExact(dict) && PyUnicode_CheckExact(key)
        && PyUnicode_CHECK_INTERNED(key)) {
        Py_INCREF(key);
        Py_XSETREF(here->key, key);
        here->version = ((PyDictObject *)dict)->ma_version_tag;
        here->value = got;
    }
    return got;
}

static inline PyObject *item_of(PyObject *dict, PyObject *key, struct item_cache *here)
{
    if (PyDict_CheckExact(dict) && ((PyDictObject *)dict)->ma_version_tag == here->version
        && key == here->key) {
        Py_INCREF(here->value);
        return here->value;
    }
    return item_found(dict, key, here);
}

#define CPyDict_GetItem(dict, key) \
    __extension__({ static struct item_cache here; item_of((dict), (key), &here); })

#endif

/* -- texts */

/* Join texts that are ASCII, as nearly all are; NULL, without an error, where one is not. */
static PyObject *joined(Py_ssize_t count, PyObject *const *texts)
{
    Py_ssize_t size = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *text = texts[i];
        if (!PyUnicode_Check(text) || !PyUnicode_IS_COMPACT_ASCII(text)
            || PyUnicode_GET_LENGTH(text) > PY_SSIZE_T_MAX - size)
            return NULL;
        size += PyUnicode_GET_LENGTH(text);
    }
    PyObject *whole = PyUnicode_New(size, 127);
    if (whole == NULL) {
        PyErr_Clear(); /* what is asked next says so again */
        return NULL;
    }
    char *end = PyUnicode_DATA(whole);
    for (Py_ssize_t i = 0; i < count; i++) {
        memcpy(end, PyUnicode_DATA(texts[i]), PyUnicode_GET_LENGTH(texts[i]));
        end += PyUnicode_GET_LENGTH(texts[i]);
    }
    return whole;
}

/* Write a number: those below a thousand, which statuses, lengths and times mostly are, were written before. */
static PyObject *number_text(CPyTagged number)
{
    static PyObject *texts[1000];
    if (!CPyTagged_CheckShort(number) || CPyTagged_ShortAsSsize_t(number) < 0
        || CPyTagged_ShortAsSsize_t(number) >= 1000)
        return CPyTagged_Str(number);
    PyObject **text = &texts[CPyTagged_ShortAsSsize_t(number)];
    if (*text == NULL && (*text = CPyTagged_Str(number)) == NULL)
        return NULL;
    return Py_NewRef(*text);
}

#define CPyTagged_Str(number) number_text(number)

#define CPyStr_Build(count, ...) \
    __extension__({ \
        PyObject *whole = joined((count), (PyObject *[]){__VA_ARGS__}); \
        whole != NULL ? whole : CPyStr_Build((count), __VA_ARGS__); \
    })

#endif
