/* What Python cannot do between fork and exec: make a child with clone3 and confine it before the first foreign
 * instruction. `spawn` takes a flat list of steps; the child runs them one by one, without malloc and without Python,
 * and reports the first one that fails as (index, errno) over a close-on-exec pipe. Policy lives in Python.
 * `fork` does the same and comes back into Python instead of executing something: the zygotes of the language runtimes
 * load this file too, so it must do with what Python 3.7 has.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x03070000
#include <Python.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Older headers lack these; the numbers are the same on x86_64 and aarch64. */
#define NR_OPEN_TREE 428
#define NR_MOVE_MOUNT 429
#define NR_FSOPEN 430
#define NR_FSCONFIG 431
#define NR_FSMOUNT 432
#define NR_CLONE3 435
#define NR_CLOSE_RANGE 436
#define NR_OPENAT2 437
#define NR_MOUNT_SETATTR 442

#define TREE_CLONE 1u
#define TREE_CLOEXEC ((unsigned)O_CLOEXEC)
#define AT_RECURSIVE_ 0x8000u
#define ATTR_IDMAP 0x00100000u
#define MOVE_F_EMPTY_PATH 0x4u
#define NO_SYMLINKS 0x04u
#define NO_MAGICLINKS 0x02u
#define CLOEXEC_RANGE 4u
#define CONFIG_SET_STRING 1u
#define CONFIG_CMD_CREATE 6u

struct clone3_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
struct how_to_open {
    uint64_t flags, mode, resolve;
};
struct mount_attributes {
    uint64_t set, clear, propagation, userns_fd;
};

enum op {
    OP_WRITE_FD,    /* a=fd, s=text */
    OP_SETNS,       /* a=fd, b=kind of namespace */
    OP_HOSTNAME,    /* s=name */
    OP_LOOPBACK_UP, /* bring `lo` up in the present network namespace */
    OP_PROPAGATION, /* s=path, a=flags of mount(2) */
    OP_MKDIR,       /* s=path, a=mode; an existing folder is fine */
    OP_TOUCH,       /* s=path; an empty file to mount upon */
    OP_SYMLINK,     /* s=path of the link, t=target */
    OP_MOUNT,       /* s=target, t="type\0options", a=flags of mount(2) */
    OP_BIND,        /* s=target, t=source, a=attributes to set, b=1: a missing source is skipped */
    OP_MOVE,        /* s=target, a=descriptor of a detached mount */
    OP_SETATTR,     /* s=path, a=attributes to set */
    OP_PIVOT,       /* s=new root, which is a mount */
    OP_CHDIR,       /* s=path */
    OP_RLIMIT,      /* a=resource, b=soft and hard value */
    OP_BATCH,       /* never take the processor from whoever has just woken this one */
    OP_SETSID,      /* new session */
    OP_DROP_BOUNDING, /* empty the capability bounding set */
    OP_IDS,         /* a=uid, b=gid, no supplementary groups */
    OP_UNSHARE,     /* a=flags */
    OP_MAP_IDS,     /* s=text for uid_map, t=text for gid_map */
    OP_DROP_CAPS,   /* no capability left in any set */
    OP_PDEATHSIG,   /* a=signal, b=write end of a pipe whose reader is the parent */
    OP_NO_NEW_PRIVS,
    OP_SECCOMP,     /* t=filter program */
    OP_INIT,        /* a=1: first of a pid namespace; b=status pipe; c=1: to go on in Python. The caller stays as init */
    OP_DESCRIPTORS, /* a=for 0, b=log pipe, c=socket or -1; others close when the child executes */
    OP_EXEC,        /* s=path; argv and environment are those of spawn */
    OP_RESUME,      /* last step of `fork`: closes all but 0 to 3, and lets signals in */
    OP_COUNT
};

static const char *const op_names[OP_COUNT] = {
    "OP_WRITE_FD", "OP_SETNS", "OP_HOSTNAME", "OP_LOOPBACK_UP", "OP_PROPAGATION", "OP_MKDIR", "OP_TOUCH", "OP_SYMLINK",
    "OP_MOUNT", "OP_BIND", "OP_MOVE", "OP_SETATTR", "OP_PIVOT", "OP_CHDIR", "OP_RLIMIT", "OP_BATCH", "OP_SETSID",
    "OP_DROP_BOUNDING", "OP_IDS", "OP_UNSHARE", "OP_MAP_IDS", "OP_DROP_CAPS", "OP_PDEATHSIG", "OP_NO_NEW_PRIVS",
    "OP_SECCOMP", "OP_INIT", "OP_DESCRIPTORS", "OP_EXEC", "OP_RESUME",
};

struct step {
    int op;
    long a, b, c;
    const char *s, *t;
    Py_ssize_t s_len, t_len;
};

/* ---- runs in the child: system calls only ---- */

static int write_text(const char *path, const char *text, size_t length)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t n = write(fd, text, length);
    int saved = errno;
    close(fd);
    errno = saved;
    return n == (ssize_t)length ? 0 : -1;
}

static int loopback_up(void)
{
    struct ifreq request;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    memset(&request, 0, sizeof request);
    memcpy(request.ifr_name, "lo", 3);
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    int result = ioctl(fd, SIOCSIFFLAGS, &request);
    int saved = errno;
    close(fd);
    errno = saved;
    return result;
}

static int set_attributes(int fd, const char *path, unsigned flags, uint64_t attributes, int owners_fd)
{
    struct mount_attributes attr = {.set = attributes};
    if (owners_fd >= 0) {
        attr.set |= ATTR_IDMAP;
        attr.userns_fd = (uint64_t)owners_fd;
    }
    return (int)syscall(NR_MOUNT_SETATTR, fd, path, flags | AT_RECURSIVE_, &attr, sizeof attr);
}

/* The source is opened without following any symbolic link: whoever may write below a checked folder must not be able
 * to lead a privileged mount elsewhere between check and use. A folder that functions share is shown without the mounts
 * below it, and with the owners of its files translated by the user namespace `owners_fd`, unless that is below 0. */
static int open_tree_without_links(const char *path, uint64_t attributes, int is_share, int owners_fd)
{
    struct how_to_open how = {
        .flags = O_PATH | O_CLOEXEC | (is_share ? O_DIRECTORY : 0),
        .resolve = NO_SYMLINKS | NO_MAGICLINKS,
    };
    int source = (int)syscall(NR_OPENAT2, AT_FDCWD, path, &how, sizeof how);
    if (source < 0)
        return -1;
    unsigned flags = AT_EMPTY_PATH | TREE_CLONE | TREE_CLOEXEC | (is_share ? 0 : AT_RECURSIVE_);
    int tree = (int)syscall(NR_OPEN_TREE, source, "", flags);
    if (tree >= 0 && set_attributes(tree, "", AT_EMPTY_PATH, attributes, owners_fd)) {
        int saved = errno;
        close(tree);
        errno = saved;
        tree = -1;
    }
    int saved = errno;
    close(source);
    errno = saved;
    return tree;
}

static int bind_tree(const struct step *step)
{
    int tree = open_tree_without_links(step->t, (uint64_t)step->a, 0, -1);
    if (tree < 0)
        return step->b && (errno == ENOENT || errno == EACCES) ? 0 : -1;
    int result = (int)syscall(NR_MOVE_MOUNT, tree, "", AT_FDCWD, step->s, MOVE_F_EMPTY_PATH);
    if (result != 0 && step->b && errno == ENOENT)
        result = 0;
    int saved = errno;
    close(tree);
    errno = saved;
    return result;
}

static int pivot(const char *root)
{
    if (chdir(root) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH))
        return -1;
    return chdir("/");
}

static int drop_bounding(void)
{
    for (int cap = 0; cap < 64; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0))
            return errno == EINVAL ? 0 : -1; /* The first number that is none of the kernel's ends the list. */
    return 0;
}

static int drop_caps(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    memset(data, 0, sizeof data);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return (int)syscall(SYS_capset, &header, data);
}

/* Raw calls: the C library's would wait for threads that do not exist on this side of the fork. */
static int set_ids(long uid, long gid)
{
    if (syscall(SYS_setgroups, 0, NULL) || syscall(SYS_setresgid, gid, gid, gid))
        return -1;
    return (int)syscall(SYS_setresuid, uid, uid, uid);
}

static int map_ids(const struct step *step)
{
    /* A change of user made the process undumpable and its /proc files root's. */
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0))
        return -1;
    if (write_text("/proc/self/setgroups", "deny", 4) && errno != ENOENT)
        return -1;
    if (write_text("/proc/self/uid_map", step->s, (size_t)step->s_len))
        return -1;
    return write_text("/proc/self/gid_map", step->t, (size_t)step->t_len);
}

static int die_with_parent(long sig, int pipe_fd)
{
    if (prctl(PR_SET_PDEATHSIG, sig, 0, 0, 0))
        return -1;
    struct pollfd p = {.fd = pipe_fd, .events = POLLOUT};
    if (pipe_fd >= 0 && poll(&p, 1, 0) >= 0 && (p.revents & POLLERR))
        _exit(1); /* The parent died before the line above. */
    return 0;
}

static int load_filter(const struct step *step)
{
    struct sock_fprog program = {
        .len = (unsigned short)((size_t)step->t_len / sizeof(struct sock_filter)),
        .filter = (struct sock_filter *)(uintptr_t)step->t,
    };
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}

static void kill_children(void)
{
    char text[4096];
    int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t n;
    long pid = 0;
    while ((n = read(fd, text, sizeof text)) > 0)
        for (ssize_t i = 0; i < n; i++) {
            if (text[i] >= '0' && text[i] <= '9') {
                pid = pid * 10 + (text[i] - '0');
            } else if (pid > 1) {
                kill((pid_t)pid, SIGKILL);
                pid = 0;
            }
        }
    close(fd);
}

/* Without a pid namespace orphans come to us, the subreaper; end them generation by generation. */
static void end_descendants(void)
{
    do
        kill_children();
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR);
}

/* Init needs its stack, its code and thread-local storage. The rest is a copy of the parent's memory whose page tables
 * alone cost more than everything else of it. Small mappings stay: among them are the libraries' own variables. */
#define SMALL_MAPPING (128u * 1024)

static void unmap_if_unneeded(uintptr_t start, uintptr_t end)
{
    uintptr_t needed[] = {(uintptr_t)&errno, (uintptr_t)&needed};
    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++)
        if (start <= needed[i] && needed[i] < end)
            return;
    if (end - start >= SMALL_MAPPING)
        munmap((void *)start, end - start);
}

/* Reads lines such as `5581e000-5583f000 rw-p 00000000 00:00 0    [heap]`; only names of files have a slash. */
static void drop_memory(void)
{
    char text[1024];
    uintptr_t bounds[2] = {0, 0};
    int field = 0, is_file = 0, fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    ssize_t n;
    if (fd < 0)
        return;
    while ((n = read(fd, text, sizeof text)) > 0)
        for (ssize_t i = 0; i < n; i++) {
            char c = text[i];
            if (c == '\n') {
                if (!is_file)
                    unmap_if_unneeded(bounds[0], bounds[1]);
                bounds[0] = bounds[1] = 0;
                field = is_file = 0;
            } else if (field < 2) {
                if (c == '-' || c == ' ')
                    field++;
                else
                    bounds[field] = bounds[field] * 16 + (uintptr_t)(c <= '9' ? c - '0' : c - 'a' + 10);
            } else if (c == '/') {
                is_file = 1;
            }
        }
    close(fd);
}

/* A start goes first: what init gives up can wait until the instance has most likely answered. */
static const struct timespec memory_pause = {.tv_nsec = 50 * 1000 * 1000};

static _Noreturn void be_init(pid_t main_pid, int in_namespace, int status_fd)
{
    sigset_t all;
    int status = 0, has_dropped = 0;
    pid_t pid;
    /* What this copy of the parent's memory holds is nobody's business. */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    dup3(status_fd, 0, O_CLOEXEC);
    syscall(NR_CLOSE_RANGE, 1u, ~0u, 0u);
    sigfillset(&all);
    for (;;) {
        int sig = has_dropped ? sigwaitinfo(&all, NULL) : sigtimedwait(&all, NULL, &memory_pause);
        if (sig < 0 && errno == EAGAIN) {
            drop_memory();
            has_dropped = 1;
        }
        if (sig == SIGTERM)
            kill(main_pid, SIGTERM);
        if (sig == SIGHUP && !in_namespace) {
            end_descendants();
            status = SIGKILL;
            break;
        }
        if (sig != SIGCHLD)
            continue;
        while ((pid = waitpid(-1, &status, WNOHANG)) > 0 && pid != main_pid)
            ;
        if (pid == main_pid)
            break;
    }
    if (!in_namespace)
        end_descendants();
    if (write(0, &status, sizeof status) < 0)
        _exit(1);
    _exit(0); /* In a pid namespace the kernel now ends all the others. */
}

static void default_signals(void)
{
    sigset_t none;
    for (int sig = 1; sig < 32; sig++)
        signal(sig, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int start_init(const struct step *step)
{
    if (!step->a && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
        return -1;
    /* Not later: this throws away the news of a child that has ended already, and init would wait for ever. */
    signal(SIGCHLD, SIG_DFL);
    /* A child that goes on in Python needs what the C library puts right, and has one thread. For the other, which
     * executes something, the library would wait for threads that do not exist on this side. */
    long pid = step->c ? fork() : syscall(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
    if (pid < 0)
        return -1;
    if (pid > 0)
        be_init((pid_t)pid, (int)step->a, (int)step->b);
    return prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}

static int set_descriptors(const struct step *step)
{
    if (dup2((int)step->a, 0) < 0 || dup2((int)step->b, 1) < 0 || dup2((int)step->b, 2) < 0)
        return -1;
    if (step->c >= 0 && dup2((int)step->c, 3) < 0)
        return -1;
    return (int)syscall(NR_CLOSE_RANGE, step->c >= 0 ? 4u : 3u, ~0u, CLOEXEC_RANGE);
}

static int resume(void)
{
    sigset_t none;
    sigemptyset(&none);
    if (syscall(NR_CLOSE_RANGE, 4u, ~0u, 0u))
        return -1;
    return sigprocmask(SIG_SETMASK, &none, NULL);
}

static int touch(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0444);
    return fd < 0 ? -1 : close(fd);
}

static int run_step(const struct step *step, char *const argv[], char *const envp[])
{
    struct rlimit limit = {.rlim_cur = (rlim_t)step->b, .rlim_max = (rlim_t)step->b};
    switch ((enum op)step->op) {
    case OP_WRITE_FD: return write((int)step->a, step->s, (size_t)step->s_len) == step->s_len ? 0 : -1;
    case OP_SETNS: return setns((int)step->a, (int)step->b);
    case OP_HOSTNAME: return sethostname(step->s, (size_t)step->s_len);
    case OP_LOOPBACK_UP: return loopback_up();
    case OP_PROPAGATION: return mount("none", step->s, NULL, (unsigned long)step->a, NULL);
    case OP_MKDIR: return mkdir(step->s, (mode_t)step->a) && errno != EEXIST ? -1 : 0;
    case OP_TOUCH: return touch(step->s);
    case OP_SYMLINK: return symlink(step->t, step->s) && errno != EEXIST ? -1 : 0;
    case OP_MOUNT:
        return mount("none", step->s, step->t, (unsigned long)step->a, step->t + strlen(step->t) + 1);
    case OP_BIND: return bind_tree(step);
    case OP_MOVE: return (int)syscall(NR_MOVE_MOUNT, (int)step->a, "", AT_FDCWD, step->s, MOVE_F_EMPTY_PATH);
    case OP_SETATTR: return set_attributes(AT_FDCWD, step->s, 0, (uint64_t)step->a, -1);
    case OP_PIVOT: return pivot(step->s);
    case OP_CHDIR: return chdir(step->s);
    case OP_RLIMIT: return setrlimit((int)step->a, &limit);
    case OP_BATCH: return sched_setscheduler(0, SCHED_BATCH, &(struct sched_param){0});
    case OP_SETSID: return setsid() < 0 ? -1 : 0;
    case OP_DROP_BOUNDING: return drop_bounding();
    case OP_IDS: return set_ids(step->a, step->b);
    case OP_UNSHARE: return unshare((int)step->a);
    case OP_MAP_IDS: return map_ids(step);
    case OP_DROP_CAPS: return drop_caps();
    case OP_PDEATHSIG: return die_with_parent(step->a, (int)step->b);
    case OP_NO_NEW_PRIVS: return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    case OP_SECCOMP: return load_filter(step);
    case OP_INIT: return start_init(step);
    case OP_DESCRIPTORS: return set_descriptors(step);
    case OP_EXEC:
        default_signals();
        execve(step->s, argv, envp);
        return -1;
    case OP_RESUME: return resume();
    case OP_COUNT: break;
    }
    errno = ENOSYS;
    return -1;
}

static void run_child(const struct step *steps, Py_ssize_t count, int error_fd, char *const argv[], char *const envp[])
{
    umask(022);
    for (Py_ssize_t i = 0; i < count; i++)
        if (run_step(&steps[i], argv, envp) < 0) {
            int32_t report[2] = {(int32_t)i, (int32_t)errno};
            if (write(error_fd, report, sizeof report) < 0)
                _exit(126);
            _exit(127);
        }
}

/* ---- runs in Python ---- */

/* Borrowed pointers into the tuples' bytes objects: the caller's list keeps them alive until after the clone. */
static int parse_step(PyObject *item, struct step *step)
{
    if (!PyTuple_Check(item)) {
        PyErr_SetString(PyExc_TypeError, "a step is a tuple (op, a, b, c, s, t)");
        return -1;
    }
    return PyArg_ParseTuple(item, "illly#y#", &step->op, &step->a, &step->b, &step->c, &step->s, &step->s_len,
                            &step->t, &step->t_len)
               ? 0
               : -1;
}

static struct step *parse_steps(PyObject *list, Py_ssize_t *count)
{
    *count = PyList_Size(list);
    if (*count < 0)
        return NULL;
    struct step *steps = calloc((size_t)*count + 1, sizeof *steps);
    if (!steps) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < *count; i++)
        if (parse_step(PyList_GetItem(list, i), &steps[i]) < 0) {
            free(steps);
            return NULL;
        }
    return steps;
}

static char **parse_strings(PyObject *list)
{
    Py_ssize_t count = PyList_Size(list);
    if (count < 0)
        return NULL;
    char **strings = calloc((size_t)count + 1, sizeof *strings);
    if (!strings) {
        PyErr_NoMemory();
        return NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        if (PyBytes_AsStringAndSize(PyList_GetItem(list, i), &strings[i], NULL) < 0) {
            free(strings);
            return NULL;
        }
    return strings;
}

PyDoc_STRVAR(spawn_doc, "spawn(steps, argv, envp, flags, cgroup_fd, error_fd) -> (pid, pidfd)\n\n"
                        "Make a child that runs the steps. Raises OSError when the child cannot be made.");

static PyObject *native_spawn(PyObject *self, PyObject *args)
{
    PyObject *list, *argv_list, *envp_list;
    unsigned long long flags;
    int cgroup_fd, error_fd, pidfd = -1;
    Py_ssize_t count;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOKii", &list, &argv_list, &envp_list, &flags, &cgroup_fd, &error_fd))
        return NULL;
    struct step *steps = parse_steps(list, &count);
    char **argv = steps ? parse_strings(argv_list) : NULL;
    char **envp = argv ? parse_strings(envp_list) : NULL;
    long pid = -1;
    if (envp) {
        struct clone3_args clone_args = {
            .flags = flags | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD};
        if (cgroup_fd >= 0) {
            clone_args.flags |= 0x200000000ULL; /* CLONE_INTO_CGROUP */
            clone_args.cgroup = (uint64_t)cgroup_fd;
        }
        /* Signals stay blocked in the child until it executes: a Python handler must never run there. */
        sigset_t all, before;
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, &before);
        pid = syscall(NR_CLONE3, &clone_args, sizeof clone_args);
        if (pid == 0) {
            run_child(steps, count, error_fd, argv, envp);
            _exit(0);
        }
        int saved = errno;
        sigprocmask(SIG_SETMASK, &before, NULL);
        errno = saved;
        if (pid < 0)
            PyErr_SetFromErrno(PyExc_OSError);
    }
    free(envp);
    free(argv);
    free(steps);
    return pid < 0 ? NULL : Py_BuildValue("li", pid, pidfd);
}

PyDoc_STRVAR(fork_doc, "fork(steps, flags, cgroup_fd, error_fd) -> pid\n\n"
                       "Make a child of this process's parent that runs the steps and then returns 0 here; the last "
                       "step is OP_RESUME. Only for the one thread of a process. Raises OSError when there is no child.");

static PyObject *native_fork(PyObject *self, PyObject *args)
{
    PyObject *list;
    unsigned long long flags;
    int cgroup_fd, error_fd;
    Py_ssize_t count;
    (void)self;
    if (!PyArg_ParseTuple(args, "OKii", &list, &flags, &cgroup_fd, &error_fd))
        return NULL;
    struct step *steps = parse_steps(list, &count);
    if (!steps)
        return NULL;
    /* Whose child it is decides who may wait for it: the privileged process, not this one. */
    struct clone3_args clone_args = {.flags = flags | CLONE_PARENT};
    if (cgroup_fd >= 0) {
        clone_args.flags |= 0x200000000ULL; /* CLONE_INTO_CGROUP */
        clone_args.cgroup = (uint64_t)cgroup_fd;
    }
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    PyOS_BeforeFork();
    long pid = syscall(NR_CLONE3, &clone_args, sizeof clone_args);
    int saved = errno;
    if (pid == 0) {
        run_child(steps, count, error_fd, NULL, NULL);
        PyOS_AfterFork_Child();
    } else {
        PyOS_AfterFork_Parent();
        sigprocmask(SIG_SETMASK, &before, NULL);
    }
    free(steps);
    errno = saved;
    return pid < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(pid);
}

PyDoc_STRVAR(namespace_doc, "unshare(flags)\n\nLeave namespaces of this (single-threaded) process.");

static PyObject *native_unshare(PyObject *self, PyObject *args)
{
    int flags;
    (void)self;
    if (!PyArg_ParseTuple(args, "i", &flags))
        return NULL;
    if (unshare(flags))
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(setns_doc, "setns(fd, kind)\n\nJoin a namespace.");

static PyObject *native_setns(PyObject *self, PyObject *args)
{
    int fd, kind;
    (void)self;
    if (!PyArg_ParseTuple(args, "ii", &fd, &kind))
        return NULL;
    if (setns(fd, kind))
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(pdeathsig_doc, "set_parent_death_signal(signal)\n\nA change of user clears it: call after that.");

static PyObject *native_pdeathsig(PyObject *self, PyObject *args)
{
    int sig;
    (void)self;
    if (!PyArg_ParseTuple(args, "i", &sig))
        return NULL;
    if (prctl(PR_SET_PDEATHSIG, sig, 0, 0, 0))
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(mount_doc, "mount_detached(kind, source, attributes) -> fd\n\n"
                        "Mount a file system that no folder shows yet; it lasts as long as the descriptor.");

static PyObject *native_mount_detached(PyObject *self, PyObject *args)
{
    const char *kind, *source;
    unsigned int attributes;
    int mount_fd = -1;
    (void)self;
    if (!PyArg_ParseTuple(args, "ssI", &kind, &source, &attributes))
        return NULL;
    int fs = (int)syscall(NR_FSOPEN, kind, 1u);
    if (fs >= 0 && syscall(NR_FSCONFIG, fs, CONFIG_SET_STRING, "source", source, 0) == 0 &&
        syscall(NR_FSCONFIG, fs, CONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        mount_fd = (int)syscall(NR_FSMOUNT, fs, 1u, attributes);
    if (mount_fd < 0)
        PyErr_SetFromErrno(PyExc_OSError);
    if (fs >= 0)
        close(fs);
    return mount_fd < 0 ? NULL : PyLong_FromLong(mount_fd);
}

PyDoc_STRVAR(mount_at_doc, "mount(kind, source, path, flags, options)\n\nMount a file system as mount(2) does; may wait.");

static PyObject *native_mount(PyObject *self, PyObject *args)
{
    const char *kind, *source, *path, *options;
    unsigned long flags;
    int result;
    (void)self;
    if (!PyArg_ParseTuple(args, "sssks", &kind, &source, &path, &flags, &options))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    result = mount(source, path, kind, flags, options);
    Py_END_ALLOW_THREADS
    if (result)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(unmount_doc, "unmount(path)\n\nTake a mount away now; it ends when nobody uses it any more.");

static PyObject *native_unmount(PyObject *self, PyObject *args)
{
    const char *path;
    (void)self;
    if (!PyArg_ParseTuple(args, "s", &path))
        return NULL;
    if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW))
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(clone_tree_doc, "clone_tree(path, attributes, is_share=0, owners_fd=-1) -> fd\n\n"
                             "A detached copy of the mounts at a path that has no symbolic link. A share is one folder, "
                             "with the owners of its files translated by a user namespace if there is one.");

static PyObject *native_clone_tree(PyObject *self, PyObject *args)
{
    const char *path;
    unsigned int attributes;
    int is_share = 0, owners_fd = -1;
    (void)self;
    if (!PyArg_ParseTuple(args, "sI|pi", &path, &attributes, &is_share, &owners_fd))
        return NULL;
    int tree = open_tree_without_links(path, attributes, is_share, owners_fd);
    return tree < 0 ? PyErr_SetFromErrnoWithFilename(PyExc_OSError, path) : PyLong_FromLong(tree);
}

/* The map of a process, or a handle on its namespace; `name` is the end of a path below its folder in /proc. */
static int open_of(pid_t pid, const char *name, int flags)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return open(path, flags | O_CLOEXEC);
}

static int write_map(pid_t pid, const char *name, const char *text)
{
    int fd = open_of(pid, name, O_WRONLY);
    if (fd < 0)
        return -1;
    ssize_t n = write(fd, text, strlen(text));
    int saved = errno;
    close(fd);
    errno = saved;
    return n < 0 ? -1 : 0;
}

PyDoc_STRVAR(owners_doc, "owners(uid_map, gid_map) -> fd\n\n"
                         "A user namespace without processes, to translate owners of files with.");

static PyObject *native_owners(PyObject *self, PyObject *args)
{
    const char *uid_map, *gid_map;
    (void)self;
    if (!PyArg_ParseTuple(args, "ss", &uid_map, &gid_map))
        return NULL;
    /* Only a process can bring such a namespace into being. It does nothing, and is gone before this returns. */
    long pid = syscall(SYS_clone, (long)(CLONE_NEWUSER | SIGCHLD), 0L, 0L, 0L, 0L);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        for (;;)
            pause();
    }
    if (pid < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    int fd = -1;
    if (!write_map((pid_t)pid, "uid_map", uid_map) && !write_map((pid_t)pid, "gid_map", gid_map))
        fd = open_of((pid_t)pid, "ns/user", O_RDONLY);
    int saved = errno;
    kill((pid_t)pid, SIGKILL);
    waitpid((pid_t)pid, NULL, 0);
    errno = saved;
    return fd < 0 ? PyErr_SetFromErrno(PyExc_OSError) : PyLong_FromLong(fd);
}

PyDoc_STRVAR(attach_doc, "attach(tree_fd, path)\n\nMount what clone_tree returned.");

static PyObject *native_attach(PyObject *self, PyObject *args)
{
    const char *path;
    int tree;
    (void)self;
    if (!PyArg_ParseTuple(args, "is", &tree, &path))
        return NULL;
    if (syscall(NR_MOVE_MOUNT, tree, "", AT_FDCWD, path, MOVE_F_EMPTY_PATH))
        return PyErr_SetFromErrnoWithFilename(PyExc_OSError, path);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(meters_doc, "take_meters(peak_fd, cpu_fd) -> (memory_peak_bytes, cpu_s)\n\n"
                         "Read both files of a control group and let the peak begin anew. A descriptor below 0 reads as 0.");

static PyObject *native_meters(PyObject *self, PyObject *args)
{
    char peak[32] = "0", cpu[512] = "0";
    int peak_fd, cpu_fd;
    (void)self;
    if (!PyArg_ParseTuple(args, "ii", &peak_fd, &cpu_fd))
        return NULL;
    if ((peak_fd >= 0 && pread(peak_fd, peak, sizeof peak - 1, 0) < 0) ||
        (cpu_fd >= 0 && pread(cpu_fd, cpu, sizeof cpu - 1, 0) < 0))
        return PyErr_SetFromErrno(PyExc_OSError);
    /* Linux before 6.12 with version 2 has no peak that begins anew; then this is what is used now. */
    if (peak_fd >= 0 && pwrite(peak_fd, "0", 1, 0) < 0)
        errno = 0;
    /* Version 1 counts nanoseconds, version 2 names its microseconds. */
    const char *usage = "usage_usec ";
    size_t length = strlen(usage);
    double cpu_s = strncmp(cpu, usage, length) ? (double)strtoull(cpu, NULL, 10) / 1e9
                                               : (double)strtoull(cpu + length, NULL, 10) / 1e6;
    return Py_BuildValue("Kd", strtoull(peak, NULL, 10), cpu_s);
}

static PyMethodDef methods[] = {
    {"take_meters", native_meters, METH_VARARGS, meters_doc},
    {"clone_tree", native_clone_tree, METH_VARARGS, clone_tree_doc},
    {"owners", native_owners, METH_VARARGS, owners_doc},
    {"attach", native_attach, METH_VARARGS, attach_doc},
    {"spawn", native_spawn, METH_VARARGS, spawn_doc},
    {"fork", native_fork, METH_VARARGS, fork_doc},
    {"unshare", native_unshare, METH_VARARGS, namespace_doc},
    {"setns", native_setns, METH_VARARGS, setns_doc},
    {"set_parent_death_signal", native_pdeathsig, METH_VARARGS, pdeathsig_doc},
    {"mount_detached", native_mount_detached, METH_VARARGS, mount_doc},
    {"mount", native_mount, METH_VARARGS, mount_at_doc},
    {"unmount", native_unmount, METH_VARARGS, unmount_doc},
    {NULL, NULL, 0, NULL},
};

static int add_constants(PyObject *module)
{
    for (int op = 0; op < OP_COUNT; op++)
        if (PyModule_AddIntConstant(module, op_names[op], op) < 0)
            return -1;
    return 0;
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, (void *)add_constants},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_native", .m_doc = "Make confined children.", .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void);

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
