/* Stops or fails a process at a chosen file-system call.

   Preloaded, it stands before libc for everything that changes files: Python, DuckDB and pyarrow
   alike. A call is counted when it concerns a path under `root` and would change something there.
   Both sides share one mapped `struct control` (tests/crash/preload.py has the same layout), so a
   test can arm it before the process starts or while it runs. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, BEFORE, TORN, AFTER, FAIL_ONCE, FAIL_FROM };
enum { GROWS = 1, SYNCS = 2, NAMES = 4 };

struct control {
    char root[512];
    char log[512];    /* one line for each counted call; empty: none */
    char events[512]; /* what a power cut needs to know (power.py); empty: none */
    char graveyard[512];
    int64_t calls;
    int64_t target; /* the call that `action` is for, counted from 1 */
    int32_t action;
    int32_t error;
    int32_t kinds; /* which calls are counted */
    int32_t failures;
};

static struct control *control;

int fsfault_use(const char *path) {
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) return -1;
    void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (mapped == MAP_FAILED) return -1;
    control = mapped;
    return 0;
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("FSFAULT_CONTROL");
    if (path) fsfault_use(path);
}

static void append(const char *path, const char *line) {
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return;
    syscall(SYS_write, fd, line, strlen(line));
    syscall(SYS_close, fd);
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

/* ---- which path a call is about ---- */

static void path_of_fd(int fd, char *out) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, out, PATH_MAX - 1);
    out[size < 0 ? 0 : size] = 0;
}

static void path_of(int folder, const char *name, char *out) {
    if (name[0] == '/') {
        snprintf(out, PATH_MAX, "%s", name);
        return;
    }
    char base[PATH_MAX];
    if (folder == AT_FDCWD) {
        if (syscall(SYS_getcwd, base, sizeof base) < 0) base[0] = 0;
    } else {
        path_of_fd(folder, base);
    }
    if (snprintf(out, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) out[0] = 0;
}

static int is_ours(const char *path) {
    size_t size = strlen(control->root);
    return size && !strncmp(path, control->root, size) && (path[size] == '/' || !path[size]);
}

/* ---- the chosen call ---- */

struct point {
    int is_ours, fails, is_torn, dies;
};

static struct point reach(int kind, const char *name, const char *path) {
    struct point point = {0};
    if (!is_ours(path)) return point;
    point.is_ours = 1;
    if (!(control->kinds & kind)) return point;
    int64_t number = __atomic_add_fetch(&control->calls, 1, __ATOMIC_SEQ_CST);
    if (control->log[0]) {
        char line[PATH_MAX + 64];
        snprintf(line, sizeof line, "%s\t%s\n", name, path);
        append(control->log, line);
    }
    int is_hit = number == control->target;
    switch (control->action) {
    case BEFORE:
        if (is_hit) die();
        break;
    case TORN:
        point.is_torn = point.dies = is_hit;
        break;
    case AFTER:
        point.dies = is_hit;
        break;
    case FAIL_ONCE:
        point.fails = is_hit;
        break;
    case FAIL_FROM:
        point.fails = control->target && number >= control->target;
        break;
    }
    if (point.fails) {
        __atomic_add_fetch(&control->failures, 1, __ATOMIC_SEQ_CST);
        errno = control->error;
    }
    return point;
}

static struct point reach_fd(int kind, const char *name, int fd) {
    struct point none = {0};
    if (!control) return none;
    char path[PATH_MAX];
    path_of_fd(fd, path);
    return reach(kind, name, path);
}

static void leave(struct point point) {
    if (point.dies) die();
}

/* ---- what a power cut needs to know ---- */

static uint64_t inode_of(const char *path) {
    struct stat status;
    return fstatat(AT_FDCWD, path, &status, AT_SYMLINK_NOFOLLOW) ? 0 : status.st_ino;
}

static uint64_t parent_of(const char *path, const char **name) {
    char parent[PATH_MAX];
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (!slash) return 0;
    *slash = 0;
    *name = path + (slash - parent) + 1;
    return inode_of(parent);
}

static void note(const char *format, ...) {
    char line[2 * PATH_MAX];
    va_list values;
    va_start(values, format);
    vsnprintf(line, sizeof line, format, values);
    va_end(values);
    append(control->events, line);
}

static int has_events(struct point point) { return point.is_ours && control->events[0]; }

static void note_created(const char *path, const char *kind) {
    const char *name = "";
    uint64_t parent = parent_of(path, &name), inode = inode_of(path);
    if (strcmp(kind, "folder")) { /* kept from being freed: its bytes may be needed after an unsynced removal */
        char kept[PATH_MAX];
        snprintf(kept, sizeof kept, "%s/%lu", control->graveyard, inode);
        syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, kept, 0);
    }
    note("create\t%lu\t%s\t%lu\t%s\n", parent, name, inode, kind);
}

static void note_removed(const char *path) {
    const char *name = "";
    uint64_t parent = parent_of(path, &name);
    note("remove\t%lu\t%s\n", parent, name);
}

static int synced(const char *name, int fd, long number) {
    struct point point = reach_fd(SYNCS, name, fd);
    if (point.fails) return -1;
    static int64_t next;
    int64_t token = 0;
    if (has_events(point)) {
        struct stat status;
        token = __atomic_add_fetch(&next, 1, __ATOMIC_SEQ_CST);
        if (!fstat(fd, &status))
            note("begin\t%d.%ld\t%lu\t%ld\n", getpid(), token, status.st_ino, (long)status.st_size);
    }
    int result = syscall(number, fd);
    if (token && !result) note("end\t%d.%ld\n", getpid(), token);
    leave(point);
    return result;
}

/* ---- the calls ---- */

int fsync(int fd) { return synced("fsync", fd, SYS_fsync); }
int fdatasync(int fd) { return synced("fdatasync", fd, SYS_fdatasync); }

ssize_t write(int fd, const void *data, size_t size) {
    struct point point = reach_fd(GROWS, "write", fd);
    if (point.fails) return -1;
    ssize_t result = syscall(SYS_write, fd, data, point.is_torn ? size / 2 : size);
    leave(point);
    return result;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    struct point point = reach_fd(GROWS, "pwrite", fd);
    if (point.fails) return -1;
    ssize_t result = syscall(SYS_pwrite64, fd, data, point.is_torn ? size / 2 : size, offset);
    leave(point);
    return result;
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct point point = reach_fd(GROWS, "writev", fd);
    if (point.fails) return -1;
    ssize_t result = syscall(SYS_writev, fd, parts, point.is_torn ? count / 2 : count);
    leave(point);
    return result;
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t size) {
    struct point point = reach_fd(GROWS, "sendfile", out);
    if (point.fails) return -1;
    ssize_t result = syscall(SYS_sendfile, out, in, offset, point.is_torn ? size / 2 : size);
    leave(point);
    return result;
}
ssize_t sendfile(int out, int in, off_t *offset, size_t size) { return sendfile64(out, in, (off64_t *)offset, size); }

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags) {
    struct point point = reach_fd(GROWS, "copy_file_range", out);
    if (point.fails) return -1;
    ssize_t result = syscall(SYS_copy_file_range, in, from, out, to, point.is_torn ? size / 2 : size, flags);
    leave(point);
    return result;
}

int ftruncate64(int fd, off64_t size) {
    struct point point = reach_fd(NAMES, "ftruncate", fd);
    if (point.fails) return -1;
    int result = syscall(SYS_ftruncate, fd, size);
    leave(point);
    return result;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

int fallocate64(int fd, int mode, off64_t offset, off64_t size) {
    struct point point = reach_fd(GROWS, "fallocate", fd);
    if (point.fails) return -1;
    int result = syscall(SYS_fallocate, fd, mode, offset, size);
    leave(point);
    return result;
}
int fallocate(int fd, int mode, off_t offset, off_t size) { return fallocate64(fd, mode, offset, size); }
int posix_fallocate64(int fd, off64_t offset, off64_t size) { return fallocate64(fd, 0, offset, size) ? errno : 0; }
int posix_fallocate(int fd, off_t offset, off_t size) { return posix_fallocate64(fd, offset, size); }

int futimens(int fd, const struct timespec times[2]) {
    struct point point = reach_fd(NAMES, "futimens", fd);
    if (point.fails) return -1;
    int result = syscall(SYS_utimensat, fd, NULL, times, 0);
    leave(point);
    return result;
}

static int opened(int folder, const char *name, int flags, mode_t mode) {
    struct point point = {0};
    char path[PATH_MAX] = "";
    int is_new = 0;
    if (control && flags & (O_CREAT | O_TRUNC) && (flags & O_TMPFILE) != O_TMPFILE) {
        path_of(folder, name, path);
        is_new = flags & O_CREAT && !inode_of(path);
        if (is_new || flags & O_TRUNC) point = reach(GROWS, is_new ? "create" : "truncate", path);
    }
    if (point.fails) return -1;
    int result = syscall(SYS_openat, folder, name, flags, mode);
    int error = errno;
    if (result >= 0 && is_new && has_events(point)) note_created(path, "file");
    leave(point);
    errno = error;
    return result;
}

#define MODE(flags)                                                                                                    \
    mode_t mode = 0;                                                                                                   \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                             \
        va_list values;                                                                                                \
        va_start(values, flags);                                                                                       \
        mode = va_arg(values, mode_t);                                                                                 \
        va_end(values);                                                                                                \
    }
int open(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }
int openat(int folder, const char *name, int flags, ...) { MODE(flags) return opened(folder, name, flags, mode); }
int openat64(int folder, const char *name, int flags, ...) { MODE(flags) return opened(folder, name, flags, mode); }
int creat(const char *name, mode_t mode) { return opened(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }

int mkdirat(int folder, const char *name, mode_t mode) {
    struct point point = {0};
    char path[PATH_MAX] = "";
    if (control) {
        path_of(folder, name, path);
        if (!inode_of(path)) point = reach(GROWS, "mkdir", path);
    }
    if (point.fails) return -1;
    int result = syscall(SYS_mkdirat, folder, name, mode);
    int error = errno;
    if (!result && has_events(point)) note_created(path, "folder");
    leave(point);
    errno = error;
    return result;
}
int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int unlinkat(int folder, const char *name, int flags) {
    struct point point = {0};
    char path[PATH_MAX] = "";
    if (control) {
        path_of(folder, name, path);
        if (inode_of(path)) point = reach(NAMES, flags & AT_REMOVEDIR ? "rmdir" : "unlink", path);
    }
    if (point.fails) return -1;
    int result = syscall(SYS_unlinkat, folder, name, flags);
    int error = errno;
    if (!result && has_events(point)) note_removed(path);
    leave(point);
    errno = error;
    return result;
}
int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }
int remove(const char *name) {
    int result = unlink(name);
    return result && errno == EISDIR ? rmdir(name) : result;
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    struct point point = {0};
    char path[PATH_MAX] = "";
    if (control) {
        path_of(to_folder, to, path);
        if (!inode_of(path)) point = reach(GROWS, "link", path);
    }
    if (point.fails) return -1;
    int result = syscall(SYS_linkat, from_folder, from, to_folder, to, flags);
    int error = errno;
    if (!result && has_events(point)) note_created(path, "link");
    leave(point);
    errno = error;
    return result;
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int renameat2(int from_folder, const char *from, int to_folder, const char *to, unsigned flags) {
    struct point point = {0};
    char source[PATH_MAX] = "", target[PATH_MAX] = "";
    if (control) {
        path_of(from_folder, from, source);
        path_of(to_folder, to, target);
        point = reach(NAMES, "rename", target);
    }
    if (point.fails) return -1;
    int result = syscall(SYS_renameat2, from_folder, from, to_folder, to, flags);
    int error = errno;
    if (!result && has_events(point)) {
        const char *old_name = "", *new_name = "";
        uint64_t old_parent = parent_of(source, &old_name), new_parent = parent_of(target, &new_name);
        note("rename\t%lu\t%s\t%lu\t%s\n", old_parent, old_name, new_parent, new_name);
    }
    leave(point);
    errno = error;
    return result;
}
int renameat(int a, const char *from, int b, const char *to) { return renameat2(a, from, b, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }
