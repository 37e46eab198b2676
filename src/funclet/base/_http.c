/* Reads the head of the plainest HTTP/1.1 requests, which are nearly all of them, in one pass. Whatever is not plain is
 * left to the full parser, from its first byte on: this one never refuses and never guesses, it only declines.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <stdint.h>
#include <string.h>

#define MAX_HEAD_BYTES 16384
#define MAX_TARGET_BYTES 8192
#define MAX_HEADERS 64
#define MAX_NAME_BYTES 64
#define MAX_BODY_BYTES 65536

/* Names that most requests carry: their texts are made once. Sorted by nothing; the first of the right length wins. */
static const char *const known_names[] = {
    "host", "accept", "cookie", "origin", "referer", "x-stage", "user-agent", "connection", "x-sdk-date",
    "content-type", "x-auth-token", "authorization", "cache-control", "x-project-id", "content-length",
    "accept-encoding", "accept-language", "x-forwarded-for", "x-cff-log-type", "x-request-id", "traceparent",
};
#define KNOWN_NAMES (sizeof known_names / sizeof known_names[0])
static PyObject *known_texts[KNOWN_NAMES];

static const char *const known_methods[] = {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"};
#define KNOWN_METHODS (sizeof known_methods / sizeof known_methods[0])
static PyObject *method_texts[KNOWN_METHODS];

/* RFC 9110 token characters, by their lower case; 0 for the others. */
static unsigned char token[256];

static void fill_token(void)
{
    const char *others = "!#$%&'*+-.^_`|~";
    for (int c = '0'; c <= '9'; c++)
        token[c] = (unsigned char)c;
    for (int c = 'a'; c <= 'z'; c++)
        token[c] = (unsigned char)c;
    for (int c = 'A'; c <= 'Z'; c++)
        token[c] = (unsigned char)(c - 'A' + 'a');
    for (const char *c = others; *c; c++)
        token[(unsigned char)*c] = (unsigned char)*c;
}

static PyObject *name_text(const char *name, size_t length)
{
    for (size_t i = 0; i < KNOWN_NAMES; i++)
        if (strlen(known_names[i]) == length && memcmp(known_names[i], name, length) == 0)
            return Py_NewRef(known_texts[i]);
    return PyUnicode_FromStringAndSize(name, (Py_ssize_t)length);
}

static int is(const char *name, size_t length, const char *wanted)
{
    return strlen(wanted) == length && memcmp(name, wanted, length) == 0;
}

struct head {
    int has_host;
    Py_ssize_t body_bytes;
};

/* 1: taken; 0: not plain; -1: an exception is set. `name` is in lower case. */
static int take_header(PyObject *headers, struct head *head, const char *name, size_t name_length, const char *value,
                       size_t length)
{
    if (is(name, name_length, "host")) {
        head->has_host = 1;
    } else if (is(name, name_length, "content-length")) {
        if (length < 1 || length > 6)
            return 0;
        for (size_t i = 0; i < length; i++) {
            if (value[i] < '0' || value[i] > '9')
                return 0;
            head->body_bytes = head->body_bytes * 10 + (value[i] - '0');
        }
        if (head->body_bytes > MAX_BODY_BYTES)
            return 0;
    } else if (is(name, name_length, "connection")) {
        if (length != 10 || PyOS_mystrnicmp(value, "keep-alive", 10))
            return 0;
    } else if (is(name, name_length, "transfer-encoding") || is(name, name_length, "expect") ||
               is(name, name_length, "upgrade") || is(name, name_length, "proxy-connection")) {
        return 0;
    }
    PyObject *key = name_text(name, name_length);
    PyObject *text = key ? PyUnicode_FromStringAndSize(value, (Py_ssize_t)length) : NULL;
    Py_ssize_t before = PyDict_Size(headers);
    int result = text ? PyDict_SetItem(headers, key, text) : -1;
    Py_XDECREF(key);
    Py_XDECREF(text);
    if (result < 0)
        return -1;
    /* A name that comes twice has rules of its own. */
    return PyDict_Size(headers) > before;
}

/* Returns the byte behind the head, or NULL: with an exception set, or because it is not plain or not whole. */
static const char *take_headers(PyObject *headers, struct head *head, const char *at, const char *end)
{
    char name[MAX_NAME_BYTES];
    for (int count = 0; count <= MAX_HEADERS; count++) {
        if (end - at >= 2 && at[0] == '\r' && at[1] == '\n')
            return at + 2;
        size_t length = 0;
        while (at < end && token[(unsigned char)*at]) {
            if (length == MAX_NAME_BYTES)
                return NULL;
            name[length++] = (char)token[(unsigned char)*at++];
        }
        if (length == 0 || at == end || *at++ != ':')
            return NULL;
        while (at < end && (*at == ' ' || *at == '\t'))
            at++;
        const char *value = at;
        while (at < end && ((*at >= 0x20 && *at < 0x7f) || *at == '\t'))
            at++;
        if (end - at < 2 || at[0] != '\r' || at[1] != '\n')
            return NULL;
        const char *stop = at;
        while (stop > value && (stop[-1] == ' ' || stop[-1] == '\t'))
            stop--;
        if (take_header(headers, head, name, length, value, (size_t)(stop - value)) <= 0)
            return NULL;
        at += 2;
    }
    return NULL;
}

PyDoc_STRVAR(read_doc, "read_request(data, start) -> (method, path, query, headers, body, end) or None\n\n"
                       "Read the request that begins at `start` if it is plain and whole: HTTP/1.1, ASCII, one Host, a length\n"
                       "of at most 64 KiB instead of an encoding, kept alive. None: let the full parser look at it.");

static PyObject *read_request(PyObject *self, PyObject *args)
{
    const char *data;
    Py_ssize_t size, start;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#n", &data, &size, &start))
        return NULL;
    if (start < 0 || start > size)
        Py_RETURN_NONE;
    const char *at = data + start, *end = data + size;
    if (end - at > MAX_HEAD_BYTES + MAX_BODY_BYTES)
        end = at + MAX_HEAD_BYTES + MAX_BODY_BYTES;
    PyObject *method = NULL;
    for (size_t i = 0; i < KNOWN_METHODS && !method; i++) {
        size_t length = strlen(known_methods[i]);
        if ((size_t)(end - at) > length && memcmp(at, known_methods[i], length) == 0 && at[length] == ' ') {
            method = method_texts[i];
            at += length + 1;
        }
    }
    if (!method || at == end || *at != '/')
        Py_RETURN_NONE;
    const char *target = at, *query = NULL;
    while (at < end && *at > 0x20 && *at < 0x7f && *at != '#') {
        if (*at == '?' && !query)
            query = at;
        at++;
    }
    static const char version[] = " HTTP/1.1\r\n";
    if (at - target > MAX_TARGET_BYTES || end - at < (Py_ssize_t)sizeof version - 1 ||
        memcmp(at, version, sizeof version - 1))
        Py_RETURN_NONE;
    const char *path_end = query ? query : at;
    const char *query_begin = query ? query + 1 : at, *query_end = at;
    at += sizeof version - 1;
    PyObject *headers = PyDict_New();
    if (!headers)
        return NULL;
    struct head head = {0, 0};
    const char *body = take_headers(headers, &head, at, end);
    if (!body || !head.has_host || body - (data + start) > MAX_HEAD_BYTES || end - body < head.body_bytes) {
        Py_DECREF(headers);
        if (PyErr_Occurred())
            return NULL;
        Py_RETURN_NONE;
    }
    return Py_BuildValue("Os#s#Ny#n", method, target, (Py_ssize_t)(path_end - target), query_begin,
                         (Py_ssize_t)(query_end - query_begin), headers, body, head.body_bytes,
                         (Py_ssize_t)(body - data) + head.body_bytes);
}

static PyMethodDef methods[] = {
    {"read_request", read_request, METH_VARARGS, read_doc},
    {NULL, NULL, 0, NULL},
};

static int prepare(PyObject *module)
{
    (void)module;
    fill_token();
    for (size_t i = 0; i < KNOWN_NAMES; i++)
        if (!known_texts[i] && !(known_texts[i] = PyUnicode_InternFromString(known_names[i])))
            return -1;
    for (size_t i = 0; i < KNOWN_METHODS; i++)
        if (!method_texts[i] && !(method_texts[i] = PyUnicode_InternFromString(known_methods[i])))
            return -1;
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)prepare},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_http", .m_doc = "Read plain HTTP requests.", .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__http(void);

PyMODINIT_FUNC PyInit__http(void)
{
    return PyModuleDef_Init(&definition);
}
