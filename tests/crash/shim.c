/* Counts, kills, fails, shortens and logs the calls by which a program changes files; loaded with LD_PRELOAD.
 *
 * One counter, in a file that all processes of a command map, numbers the changing calls below the given roots in the
 * order in which they begin. docs/design/accepted/crash-testing.md describes the switches. Not seen: stores through a
 * shared mapping, stdio's own writes, and system calls made without the C library.
 *
 * Environment: KIST_SHIM_STATE (the shared file, zeroed, 4096 bytes) and KIST_SHIM_ROOT (folders, joined by ':') turn
 * it on; the rest is read in `kist_shim_start`.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

#ifndef FICLONE
#define FICLONE _IOW(0x94, 9, int)
#endif
#ifndef FICLONERANGE
#define FICLONERANGE _IOW(0x94, 13, char[32])
#endif

#define PATH_SIZE (PATH_MAX * 2)
#define MAX_RULES 8

enum class {
    C_WRITE = 1, C_OPEN = 2, C_RENAME = 4, C_LINK = 8, C_SYMLINK = 16, C_UNLINK = 32, C_MKDIR = 64, C_RMDIR = 128,
    C_TRUNCATE = 256, C_CHMOD = 512, C_UTIME = 1024, C_SYNC = 2048, C_READ = 4096, C_ANY = 4095
};
static const struct { const char *name; int mask; } class_names[] = {
    {"write", C_WRITE}, {"open", C_OPEN}, {"rename", C_RENAME}, {"link", C_LINK}, {"symlink", C_SYMLINK},
    {"unlink", C_UNLINK}, {"mkdir", C_MKDIR}, {"rmdir", C_RMDIR}, {"truncate", C_TRUNCATE}, {"chmod", C_CHMOD},
    {"utime", C_UTIME}, {"sync", C_SYNC}, {"read", C_READ}, {"any", C_ANY}};

/* The part of the state that all processes share. */
struct shared {
    _Atomic uint64_t calls;             /* changing calls begun so far */
    _Atomic uint64_t ticks;             /* log records so far: begin and end of calls in one order */
    _Atomic uint64_t fired;             /* whether the kill or signal was sent */
    _Atomic int64_t group;              /* process group of the command */
    _Atomic uint64_t rule[MAX_RULES];   /* calls that each error rule has matched */
};

struct rule { int error, classes, onward; uint64_t at; char prefix[PATH_MAX]; };

static struct shared *state;
static const char *roots, *skips, *log_path, *keep_path;
static uint64_t kill_at, short_write, short_read;
static int64_t clock_offset;
static int kill_signal = SIGKILL, signal_leader, alone, torn, drop_sync, swap_rename, rule_count;
static struct rule rules[MAX_RULES];

/* What is known about one call between its begin and its end. */
struct call {
    const char *name;
    char path[PATH_SIZE], other[PATH_SIZE];
    uint64_t seq;
    int error, tear, created, kept;
    int64_t device, inode;
};

#define REAL(result, name, ...) \
    static result (*real)(__VA_ARGS__); \
    if (!real) real = (result (*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

/* ---- set-up ---------------------------------------------------------------------------------------------------- */

static uint64_t number(const char *name) {
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : 0;
}

/* Reads rules "errno:class,class:at[+][:prefix]", one a line. */
static void read_rules(const char *text) {
    while (text && *text && rule_count < MAX_RULES) {
        struct rule *rule = &rules[rule_count++];
        char classes[128] = "", at[32] = "";
        sscanf(text, "%d:%127[^:]:%31[^:\n]:%4095[^\n]", &rule->error, classes, at, rule->prefix);
        for (size_t i = 0; i < sizeof class_names / sizeof *class_names; i++) {
            const char *hit = strstr(classes, class_names[i].name);
            size_t length = strlen(class_names[i].name);
            while (hit && ((hit != classes && hit[-1] != ',') || (hit[length] && hit[length] != ',')))
                hit = strstr(hit + 1, class_names[i].name);
            if (hit) rule->classes |= class_names[i].mask;
        }
        rule->at = strtoull(at, NULL, 10);
        rule->onward = strchr(at, '+') != NULL;
        text = strchr(text, '\n');
        if (text) text++;
    }
}

/* Called when the library is loaded, and again by a forked process that is to run with other switches. */
__attribute__((constructor)) void kist_shim_start(void) {
    if (state) munmap(state, sizeof *state);
    state = NULL;
    rule_count = 0;
    memset(rules, 0, sizeof rules);
    kill_signal = SIGKILL;
    const char *offset = getenv("KIST_SHIM_CLOCK");
    clock_offset = offset ? strtoll(offset, NULL, 10) : 0;
    const char *path = getenv("KIST_SHIM_STATE");
    roots = getenv("KIST_SHIM_ROOT");
    if (!path || !roots) return;
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0) _exit(97);
    state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (state == MAP_FAILED) _exit(97);
    int64_t none = 0;
    if (getpid() == getpgrp()) atomic_compare_exchange_strong(&state->group, &none, getpgrp());
    skips = getenv("KIST_SHIM_SKIP");
    log_path = getenv("KIST_SHIM_LOG");
    keep_path = getenv("KIST_SHIM_KEEP");
    kill_at = number("KIST_SHIM_KILL_AT");
    if (number("KIST_SHIM_SIGNAL")) kill_signal = number("KIST_SHIM_SIGNAL");
    signal_leader = number("KIST_SHIM_SIGNAL_LEADER");
    alone = number("KIST_SHIM_ALONE");
    torn = number("KIST_SHIM_TORN");
    short_write = number("KIST_SHIM_SHORT");
    short_read = number("KIST_SHIM_SHORT_READ");
    const char *drop = getenv("KIST_SHIM_DROP"), *swap = getenv("KIST_SHIM_SWAP");
    drop_sync = drop && !strcmp(drop, "fsync");
    swap_rename = swap && !strcmp(swap, "rename");
    read_rules(getenv("KIST_SHIM_ERRNO"));
}

/* ---- paths ----------------------------------------------------------------------------------------------------- */

static int fd_path(int fd, char *out) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, out, PATH_SIZE - 1);
    if (length <= 0 || out[0] != '/') return 0;
    out[length] = 0;
    return 1;
}

/* Writes the absolute path of `path` seen from `dirfd`, without "." and "..", to `out`. */
static int full_path(int dirfd, const char *path, char *out) {
    char joined[PATH_SIZE * 2];
    if (!path) return 0;
    if (!*path) return fd_path(dirfd, out);
    if (*path == '/') {
        snprintf(joined, sizeof joined, "%s", path);
    } else {
        char base[PATH_SIZE];
        if (dirfd == AT_FDCWD ? !getcwd(base, sizeof base) : !fd_path(dirfd, base)) return 0;
        snprintf(joined, sizeof joined, "%s/%s", base, path);
    }
    size_t end = 0;
    for (char *part = joined; *part;) {
        while (*part == '/') part++;
        size_t length = strcspn(part, "/");
        if (length == 2 && part[0] == '.' && part[1] == '.') {
            while (end && out[--end] != '/') {}
        } else if (length && !(length == 1 && *part == '.')) {
            if (end + length + 2 > PATH_SIZE) return 0;
            out[end++] = '/';
            memcpy(out + end, part, length);
            end += length;
        }
        part += length;
    }
    out[end] = 0;
    return 1;
}

/* Says whether `path` is one of, or below one of, the ':'-joined folders. */
static int is_below(const char *path, const char *folders) {
    for (const char *at = folders; at && *at;) {
        size_t length = strcspn(at, ":");
        if (length && !strncmp(path, at, length) && (path[length] == '/' || !path[length])) return 1;
        at += length + (at[length] == ':');
    }
    return 0;
}

static int is_watched(const char *path) {
    if (!is_below(path, roots)) return 0;
    for (const char *at = skips; at && *at;) {
        char part[256];
        size_t length = strcspn(at, ":");
        if (length && length < sizeof part) {
            memcpy(part, at, length);
            part[length] = 0;
            if (strstr(path, part)) return 0;
        }
        at += length + (at[length] == ':');
    }
    return 1;
}

static int watched_fd(int fd, char *path) { return state && fd_path(fd, path) && is_watched(path); }

static int watched_at(int dirfd, const char *name, char *path) {
    return state && full_path(dirfd, name, path) && is_watched(path);
}

static int exists(const char *path) {
    struct stat info;
    return !fstatat(AT_FDCWD, path, &info, AT_SYMLINK_NOFOLLOW);
}

/* ---- begin and end of a call ----------------------------------------------------------------------------------- */

static void put_path(char **out, const char *path) {
    for (const unsigned char *at = (const unsigned char *)path; *at; at++)
        if (*at <= ' ' || *at == '%' || *at >= 127) *out += sprintf(*out, "%%%02X", *at);
        else *(*out)++ = *at;
}

/* Appends one record to the log: tick, phase, number, pid, call, result, inode, created, kept, path, other path. */
static void record(const struct call *call, char phase, long result) {
    if (!log_path) return;
    char line[PATH_SIZE * 6 + 256], *at = line;
    uint64_t tick = atomic_fetch_add(&state->ticks, 1) + 1;
    at += sprintf(at, "%lu\t%c\t%lu\t%d\t%s\t%ld\t%ld:%ld\t%d\t%d\t", (unsigned long)tick, phase,
                  (unsigned long)call->seq, (int)getpid(), call->name, result, (long)call->device, (long)call->inode,
                  call->created, call->kept);
    put_path(&at, call->path);
    *at++ = '\t';
    put_path(&at, call->other);
    *at++ = '\n';
    int fd = syscall(SYS_openat, AT_FDCWD, log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) _exit(98);
    if (syscall(SYS_write, fd, line, at - line) != at - line) _exit(98);
    syscall(SYS_close, fd);
}

static void identify(struct call *call, int fd) {
    struct stat info;
    int failed = fd >= 0 ? fstat(fd, &info) : fstatat(AT_FDCWD, call->path, &info, AT_SYMLINK_NOFOLLOW);
    call->device = failed ? 0 : (int64_t)info.st_dev;
    call->inode = failed ? 0 : (int64_t)info.st_ino;
}

static void die(void) {
    kill(alone ? getpid() : -(pid_t)atomic_load(&state->group), SIGKILL);
    kill(getpid(), SIGKILL); /* a command of a stage is in a group of its own */
    for (;;) pause();
}

static int error_for(int class, const char *path) {
    int error = 0;
    for (int i = 0; i < rule_count; i++) {
        if (!(rules[i].classes & class)) continue;
        if (rules[i].prefix[0] && !is_below(path, rules[i].prefix)) continue;
        uint64_t seen = atomic_fetch_add(&state->rule[i], 1) + 1;
        if (!error && (seen == rules[i].at || (rules[i].onward && seen > rules[i].at))) error = rules[i].error;
    }
    return error;
}

/* Numbers the call; kills, signals or fails it where that was asked for. `call->path` is already set. */
static void begin(struct call *call, int class, const char *name, int fd) {
    int saved = errno;
    call->name = name;
    call->error = error_for(class, call->path);
    call->tear = call->kept = 0;
    call->seq = atomic_fetch_add(&state->calls, 1) + 1;
    if (log_path) identify(call, fd);
    if (call->seq == kill_at && kill_signal == SIGKILL && torn && (class & C_WRITE)) call->tear = 1;
    record(call, 'B', 0);
    if (call->seq == kill_at && !call->tear && atomic_load(&state->group)) {
        atomic_store(&state->fired, 1);
        if (kill_signal == SIGKILL) die();
        pid_t group = (pid_t)atomic_load(&state->group);
        kill(signal_leader ? group : -group, kill_signal);
    }
    errno = saved;
}

static long end(struct call *call, long result, int fd) {
    int saved = errno;
    if (log_path && fd >= 0) identify(call, fd);
    record(call, 'E', result);
    if (call->tear) {
        atomic_store(&state->fired, 1);
        die();
    }
    errno = saved;
    return result;
}

static long refuse(struct call *call) {
    errno = call->error;
    return end(call, -1, -1);
}

/* Keeps another name of the file that is about to lose its name, so that a power cut can bring it back. */
static void keep(struct call *call, const char *path) {
    if (!keep_path || !exists(path)) return;
    char spare[PATH_SIZE];
    snprintf(spare, sizeof spare, "%s/%lu", keep_path, (unsigned long)call->seq);
    call->kept = !syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, spare, 0);
}

/* ---- writes ---------------------------------------------------------------------------------------------------- */

/* Wraps one writing call: `half` and `cut` are the lengths of a torn and of a shortened one. */
#define WRITE_BODY(label, fd, length, attempt_half, attempt_cut, attempt) \
    struct call call = {0}; \
    if (!(length) || !watched_fd(fd, call.path)) return attempt; \
    begin(&call, C_WRITE, label, fd); \
    if (call.error) return refuse(&call); \
    if (call.tear) return (length) > 1 ? end(&call, attempt_half, fd) : end(&call, 0, fd); \
    if (short_write && (length) > short_write) return end(&call, attempt_cut, fd); \
    return end(&call, attempt, fd)

ssize_t write(int fd, const void *data, size_t length) {
    REAL(ssize_t, write, int, const void *, size_t);
    WRITE_BODY("write", fd, length, real(fd, data, length / 2), real(fd, data, short_write), real(fd, data, length));
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    WRITE_BODY("pwrite", fd, length, real(fd, data, length / 2, offset), real(fd, data, short_write, offset),
               real(fd, data, length, offset));
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return pwrite(fd, data, length, offset); }

static size_t total(const struct iovec *parts, int count) {
    size_t sum = 0;
    for (int i = 0; i < count; i++) sum += parts[i].iov_len;
    return sum;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    size_t first = count ? parts[0].iov_len : 0;
    struct iovec half = {count ? parts[0].iov_base : NULL, count > 1 ? first : first / 2};
    struct iovec cut = {half.iov_base, first < short_write ? first : short_write};
    WRITE_BODY("writev", fd, total(parts, count), real(fd, &half, 1), real(fd, &cut, 1), real(fd, parts, count));
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t);
    size_t first = count ? parts[0].iov_len : 0;
    struct iovec half = {count ? parts[0].iov_base : NULL, count > 1 ? first : first / 2};
    struct iovec cut = {half.iov_base, first < short_write ? first : short_write};
    WRITE_BODY("pwritev", fd, total(parts, count), real(fd, &half, 1, offset), real(fd, &cut, 1, offset),
               real(fd, parts, count, offset));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return pwritev(fd, parts, count, offset);
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags) {
    (void)flags;
    return offset == -1 ? writev(fd, parts, count) : pwritev(fd, parts, count, offset);
}

ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags) {
    return pwritev2(fd, parts, count, offset, flags);
}

ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t length, unsigned flags) {
    REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
    char source[PATH_SIZE];
    if (rule_count && watched_fd(in, source)) {
        int error = error_for(C_READ, source);
        if (error) return errno = error, -1;
    }
    WRITE_BODY("copy_file_range", out, length, real(in, in_at, out, out_at, length / 2, flags),
               real(in, in_at, out, out_at, short_write, flags), real(in, in_at, out, out_at, length, flags));
}

ssize_t sendfile(int out, int in, off_t *offset, size_t length) {
    REAL(ssize_t, sendfile, int, int, off_t *, size_t);
    char source[PATH_SIZE];
    if (rule_count && watched_fd(in, source)) {
        int error = error_for(C_READ, source);
        if (error) return errno = error, -1;
    }
    /* Callers pass lengths far beyond the end of the file: half of what is there is what a torn call copies. */
    struct stat info;
    size_t there = !fstat(in, &info) && (size_t)info.st_size < length ? (size_t)info.st_size : length;
    WRITE_BODY("sendfile", out, length, real(out, in, offset, there / 2), real(out, in, offset, short_write),
               real(out, in, offset, length));
}

ssize_t sendfile64(int out, int in, off64_t *offset, size_t length) { return sendfile(out, in, offset, length); }

int ioctl(int fd, unsigned long request, ...) {
    REAL(int, ioctl, int, unsigned long, ...);
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    struct call call = {0};
    if ((request != FICLONE && request != FICLONERANGE) || !watched_fd(fd, call.path))
        return real(fd, request, argument);
    begin(&call, C_WRITE, "clone", fd);
    if (call.error) return refuse(&call);
    if (call.tear) return end(&call, 0, fd);
    return end(&call, real(fd, request, argument), fd);
}

/* ---- reads: failed or shortened, never counted ----------------------------------------------------------------- */

#define READ_BODY(fd, length, attempt_cut, attempt) \
    char path[PATH_SIZE]; \
    if (!(rule_count || short_read) || !watched_fd(fd, path)) return attempt; \
    int error = error_for(C_READ, path); \
    if (error) return errno = error, -1; \
    return short_read && (length) > short_read ? attempt_cut : attempt

ssize_t read(int fd, void *data, size_t length) {
    REAL(ssize_t, read, int, void *, size_t);
    READ_BODY(fd, length, real(fd, data, short_read), real(fd, data, length));
}

ssize_t pread(int fd, void *data, size_t length, off_t offset) {
    REAL(ssize_t, pread, int, void *, size_t, off_t);
    READ_BODY(fd, length, real(fd, data, short_read, offset), real(fd, data, length, offset));
}

ssize_t pread64(int fd, void *data, size_t length, off64_t offset) { return pread(fd, data, length, offset); }

ssize_t readv(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, readv, int, const struct iovec *, int);
    struct iovec cut = {count ? parts[0].iov_base : NULL, count && parts[0].iov_len < short_read ? parts[0].iov_len : short_read};
    READ_BODY(fd, total(parts, count), real(fd, &cut, 1), real(fd, parts, count));
}

/* ---- creating and emptying opens ------------------------------------------------------------------------------- */

/* Says whether this open would create or empty the file; opening an existing one for reading or writing changes nothing. */
static int opens_change(const char *path, int flags, int *created) {
    *created = 0;
    if ((flags & O_TMPFILE) == O_TMPFILE) return *created = 1;
    int there = exists(path);
    if ((flags & O_CREAT) && !there) return *created = 1;
    if (there && (flags & O_CREAT) && (flags & O_EXCL)) return 0;
    return there && (flags & O_TRUNC);
}

static int open_at(int (*real)(int, const char *, int, ...), int dirfd, const char *name, int flags, mode_t mode) {
    struct call call = {0};
    if (!(flags & (O_CREAT | O_TRUNC)) && (flags & O_TMPFILE) != O_TMPFILE) return real(dirfd, name, flags, mode);
    if (!watched_at(dirfd, name, call.path) || !opens_change(call.path, flags, &call.created))
        return real(dirfd, name, flags, mode);
    begin(&call, C_OPEN, call.created ? "create" : "empty", -1);
    if (call.error) return refuse(&call);
    int fd = real(dirfd, name, flags, mode);
    return end(&call, fd, fd);
}

#define OPEN_MODE(last) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { \
        va_list arguments; \
        va_start(arguments, last); \
        mode = va_arg(arguments, mode_t); \
        va_end(arguments); \
    }

int openat(int dirfd, const char *path, int flags, ...) {
    REAL(int, openat, int, const char *, int, ...);
    OPEN_MODE(flags)
    return open_at(real, dirfd, path, flags, mode);
}

int openat64(int dirfd, const char *path, int flags, ...) {
    REAL(int, openat64, int, const char *, int, ...);
    OPEN_MODE(flags)
    return open_at(real, dirfd, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    OPEN_MODE(flags)
    return openat(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    OPEN_MODE(flags)
    return openat64(AT_FDCWD, path, flags, mode);
}

int __open_2(const char *path, int flags) { return openat(AT_FDCWD, path, flags); }
int __open64_2(const char *path, int flags) { return openat64(AT_FDCWD, path, flags); }
int __openat_2(int dirfd, const char *path, int flags) { return openat(dirfd, path, flags); }
int __openat64_2(int dirfd, const char *path, int flags) { return openat64(dirfd, path, flags); }
int creat(const char *path, mode_t mode) { return openat(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return openat64(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

/* ---- names ----------------------------------------------------------------------------------------------------- */

/* The broken publisher of KIST_SHIM_SWAP=rename: empties the target and copies into it, as a careless program would. */
static int copy_in_place(const char *from, const char *to, int remove) {
    struct stat info;
    static char data[1 << 20];
    int in = openat(AT_FDCWD, from, O_RDONLY | O_CLOEXEC);
    if (in < 0) return -1;
    ssize_t size = fstat(in, &info) ? -1 : syscall(SYS_read, in, data, sizeof data);
    syscall(SYS_close, in);
    int out = size < 0 ? -1 : openat(AT_FDCWD, to, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, info.st_mode & 07777);
    if (out < 0) return -1;
    int failed = (size > 1 && write(out, data, size / 2) < 0) || write(out, data + size / 2, size - size / 2) < 0;
    syscall(SYS_close, out);
    return failed ? -1 : remove ? unlink(from) : 0;
}

static int is_file(const char *path) {
    struct stat info;
    return !fstatat(AT_FDCWD, path, &info, AT_SYMLINK_NOFOLLOW) && S_ISREG(info.st_mode);
}

/* The same for a folder of files. */
static int copy_folder_in_place(const char *from, const char *to) {
    struct stat info;
    DIR *folder = opendir(from);
    if (!folder) return -1;
    int failed = stat(from, &info) || mkdir(to, info.st_mode & 07777);
    for (struct dirent *entry; !failed && (entry = readdir(folder));) {
        char source[PATH_MAX], target[PATH_MAX];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        failed = snprintf(source, sizeof source, "%s/%s", from, entry->d_name) >= (int)sizeof source ||
                 snprintf(target, sizeof target, "%s/%s", to, entry->d_name) >= (int)sizeof target ||
                 copy_in_place(source, target, 1);
    }
    closedir(folder);
    return failed ? -1 : rmdir(from);
}

static int is_folder(const char *path) {
    struct stat info;
    return !fstatat(AT_FDCWD, path, &info, AT_SYMLINK_NOFOLLOW) && S_ISDIR(info.st_mode);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
    REAL(int, renameat2, int, const char *, int, const char *, unsigned);
    struct call call = {0};
    if (!watched_at(from_fd, from, call.path) || !full_path(to_fd, to, call.other) || !exists(call.path))
        return real(from_fd, from, to_fd, to, flags);
    if (swap_rename && is_file(call.path)) return copy_in_place(call.path, call.other, 1);
    if (swap_rename && is_folder(call.path)) return copy_folder_in_place(call.path, call.other);
    begin(&call, C_RENAME, "rename", -1);
    if (call.error) return refuse(&call);
    keep(&call, call.other);
    return end(&call, real(from_fd, from, to_fd, to, flags), -1);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to) {
    return renameat2(from_fd, from, to_fd, to, 0);
}

int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    struct call call = {0};
    if (!watched_at(to_fd, to, call.path) || !full_path(from_fd, from, call.other) || exists(call.path))
        return real(from_fd, from, to_fd, to, flags);
    if (swap_rename && is_file(call.other)) return copy_in_place(call.other, call.path, 0);
    begin(&call, C_LINK, "link", -1);
    if (call.error) return refuse(&call);
    return end(&call, real(from_fd, from, to_fd, to, flags), -1);
}

int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int symlinkat(const char *target, int dirfd, const char *path) {
    REAL(int, symlinkat, const char *, int, const char *);
    struct call call = {0};
    if (!watched_at(dirfd, path, call.path) || exists(call.path)) return real(target, dirfd, path);
    begin(&call, C_SYMLINK, "symlink", -1);
    if (call.error) return refuse(&call);
    return end(&call, real(target, dirfd, path), -1);
}

int symlink(const char *target, const char *path) { return symlinkat(target, AT_FDCWD, path); }

int unlinkat(int dirfd, const char *path, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    struct call call = {0};
    if (!watched_at(dirfd, path, call.path) || !exists(call.path)) return real(dirfd, path, flags);
    int folder = flags & AT_REMOVEDIR;
    begin(&call, folder ? C_RMDIR : C_UNLINK, folder ? "rmdir" : "unlink", -1);
    if (call.error) return refuse(&call);
    if (!folder) keep(&call, call.path);
    return end(&call, real(dirfd, path, flags), -1);
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int dirfd, const char *path, mode_t mode) {
    REAL(int, mkdirat, int, const char *, mode_t);
    struct call call = {0};
    if (!watched_at(dirfd, path, call.path) || exists(call.path)) return real(dirfd, path, mode);
    begin(&call, C_MKDIR, "mkdir", -1);
    if (call.error) return refuse(&call);
    return end(&call, real(dirfd, path, mode), -1);
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* ---- sizes, modes, times --------------------------------------------------------------------------------------- */

#define FD_BODY(class, label, fd, attempt) \
    struct call call = {0}; \
    if (!watched_fd(fd, call.path)) return attempt; \
    begin(&call, class, label, fd); \
    if (call.error) return refuse(&call); \
    return end(&call, attempt, fd)

#define AT_BODY(class, label, dirfd, path_, attempt) \
    struct call call = {0}; \
    if (!watched_at(dirfd, path_, call.path) || !exists(call.path)) return attempt; \
    begin(&call, class, label, -1); \
    if (call.error) return refuse(&call); \
    return end(&call, attempt, -1)

int ftruncate(int fd, off_t size) {
    REAL(int, ftruncate, int, off_t);
    FD_BODY(C_TRUNCATE, "truncate", fd, real(fd, size));
}

int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int truncate(const char *path, off_t size) {
    REAL(int, truncate, const char *, off_t);
    AT_BODY(C_TRUNCATE, "truncate", AT_FDCWD, path, real(path, size));
}

int truncate64(const char *path, off64_t size) { return truncate(path, size); }

int fallocate(int fd, int mode, off_t offset, off_t length) {
    REAL(int, fallocate, int, int, off_t, off_t);
    FD_BODY(C_TRUNCATE, "fallocate", fd, real(fd, mode, offset, length));
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return fallocate(fd, mode, offset, length); }

int posix_fallocate(int fd, off_t offset, off_t length) {
    return fallocate(fd, 0, offset, length) ? errno : 0;
}

int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }

int fchmod(int fd, mode_t mode) {
    REAL(int, fchmod, int, mode_t);
    FD_BODY(C_CHMOD, "chmod", fd, real(fd, mode));
}

int fchmodat(int dirfd, const char *path, mode_t mode, int flags) {
    REAL(int, fchmodat, int, const char *, mode_t, int);
    AT_BODY(C_CHMOD, "chmod", dirfd, path, real(dirfd, path, mode, flags));
}

int chmod(const char *path, mode_t mode) { return fchmodat(AT_FDCWD, path, mode, 0); }

int fchown(int fd, uid_t owner, gid_t group) {
    REAL(int, fchown, int, uid_t, gid_t);
    FD_BODY(C_CHMOD, "chown", fd, real(fd, owner, group));
}

int fchownat(int dirfd, const char *path, uid_t owner, gid_t group, int flags) {
    REAL(int, fchownat, int, const char *, uid_t, gid_t, int);
    AT_BODY(C_CHMOD, "chown", dirfd, path, real(dirfd, path, owner, group, flags));
}

int chown(const char *path, uid_t owner, gid_t group) { return fchownat(AT_FDCWD, path, owner, group, 0); }
int lchown(const char *path, uid_t owner, gid_t group) {
    return fchownat(AT_FDCWD, path, owner, group, AT_SYMLINK_NOFOLLOW);
}

int futimens(int fd, const struct timespec times[2]) {
    REAL(int, futimens, int, const struct timespec *);
    FD_BODY(C_UTIME, "utime", fd, real(fd, times));
}

int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags) {
    REAL(int, utimensat, int, const char *, const struct timespec *, int);
    AT_BODY(C_UTIME, "utime", dirfd, path, real(dirfd, path, times, flags));
}

int utimes(const char *path, const struct timeval times[2]) {
    REAL(int, utimes, const char *, const struct timeval *);
    AT_BODY(C_UTIME, "utime", AT_FDCWD, path, real(path, times));
}

int utime(const char *path, const struct utimbuf *times) {
    REAL(int, utime, const char *, const struct utimbuf *);
    AT_BODY(C_UTIME, "utime", AT_FDCWD, path, real(path, times));
}

/* ---- durability ------------------------------------------------------------------------------------------------ */

/* KIST_SHIM_DROP=fsync: the call says that all is well, does nothing, and is not in the log as a sync. */
#define SYNC_BODY(label, fd, attempt) \
    struct call call = {0}; \
    if (!watched_fd(fd, call.path)) return attempt; \
    begin(&call, C_SYNC, drop_sync ? "dropped" : label, fd); \
    if (call.error) return refuse(&call); \
    return end(&call, drop_sync ? 0 : attempt, fd)

int fsync(int fd) {
    REAL(int, fsync, int);
    SYNC_BODY("fsync", fd, real(fd));
}

int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    SYNC_BODY("fsync", fd, real(fd));
}

int syncfs(int fd) {
    REAL(int, syncfs, int);
    SYNC_BODY("syncfs", fd, real(fd));
}

/* ---- the clock: KIST_SHIM_CLOCK seconds away from the real one ---------------------------------------------------- */

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += clock_offset;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int result = syscall(SYS_gettimeofday, now, zone);
    if (!result && now) now->tv_sec += clock_offset;
    return result;
}

time_t time(time_t *now) {
    struct timespec real;
    clock_gettime(CLOCK_REALTIME, &real);
    if (now) *now = real.tv_sec;
    return real.tv_sec;
}

/* ---- symbols looked up by name, as ctypes does ------------------------------------------------------------------ */

#define OURS(name) {#name, (void *)name}
static const struct { const char *name; void *function; } ours[] = {
    OURS(write), OURS(pwrite), OURS(pwrite64), OURS(writev), OURS(copy_file_range), OURS(sendfile), OURS(sendfile64),
    OURS(ioctl), OURS(open), OURS(open64), OURS(openat), OURS(openat64), OURS(rename), OURS(renameat),
    OURS(renameat2), OURS(link), OURS(linkat), OURS(symlink), OURS(symlinkat), OURS(unlink), OURS(unlinkat),
    OURS(rmdir), OURS(mkdir), OURS(mkdirat), OURS(ftruncate), OURS(ftruncate64), OURS(truncate), OURS(truncate64),
    OURS(chmod), OURS(fchmod), OURS(fchmodat), OURS(utimensat), OURS(futimens), OURS(fsync), OURS(fdatasync),
    OURS(syncfs), OURS(fallocate), OURS(fallocate64)};

/* A handle of the C library itself would find its functions and not these. */
void *dlsym(void *restrict handle, const char *restrict name) {
    static void *(*real)(void *, const char *);
    static const char *const versions[] = {"GLIBC_2.34", "GLIBC_2.17", "GLIBC_2.2.5", "GLIBC_2.0"};
    for (size_t i = 0; !real && i < sizeof versions / sizeof *versions; i++)
        real = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", versions[i]);
    if (!real) _exit(96);
    if (handle != RTLD_NEXT)
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
            if (!strcmp(name, ours[i].name)) return ours[i].function;
    return real(handle, name);
}
