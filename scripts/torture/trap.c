/* Preloaded into a process tree: kills the process that the orders name, in the middle of a commit of SQLite.

   The orders are a small file, mapped by every process and written by the torturer at any time: workers are forked
   long after this was loaded, so that nothing can be told to them in advance. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

enum step { NOTHING_WRITTEN = 1, PARTLY_WRITTEN, WRITTEN, ON_DISK };

struct orders {
    int32_t pid;      /* whom it concerns; 0: nobody */
    int32_t step;     /* where in a commit it dies */
    int32_t commits;  /* how many commits it survives before that */
    int32_t sprung;   /* 1: it has happened */
};

static volatile struct orders *orders;
static int32_t written; /* parts of the journal since the last commit of this process */
static ssize_t (*true_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*true_pwrite64)(int, const void *, size_t, off64_t);
static int (*true_fdatasync)(int);
static int (*true_fsync)(int);

__attribute__((constructor)) static void prepare(void) {
    const char *path = getenv("TORTURE_ORDERS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *page = fd >= 0 ? mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    true_pwrite = dlsym(RTLD_NEXT, "pwrite");
    true_pwrite64 = dlsym(RTLD_NEXT, "pwrite64");
    true_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    true_fsync = dlsym(RTLD_NEXT, "fsync");
    if (page != MAP_FAILED)
        orders = page;
    if (fd >= 0)
        close(fd);
}

static int concerned(void) {
    return orders && orders->pid && orders->pid == getpid();
}

static int due(enum step step) {
    return orders->step == (int32_t)step && orders->commits-- <= 0;
}

static void die(void) {
    orders->sprung = 1;
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static int is_journal(int fd) {
    char link[40], name[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name);
    return length > 4 && !memcmp(name + length - 4, "-wal", 4);
}

/* How much of a part of the journal is to be written: less than all of it means death. */
static size_t allowed(int fd, size_t size) {
    if (!concerned() || !is_journal(fd))
        return size;
    written++;
    if (written == 1 && due(NOTHING_WRITTEN))
        die();
    /* The second part is a page, after its header; commits write several. */
    return written == 2 && due(PARTLY_WRITTEN) ? size / 2 : size;
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
    size_t part = allowed(fd, size);
    ssize_t done = true_pwrite(fd, bytes, part, offset);
    if (part != size)
        die();
    return done;
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset) {
    size_t part = allowed(fd, size);
    ssize_t done = true_pwrite64(fd, bytes, part, offset);
    if (part != size)
        die();
    return done;
}

static int synced(int (*sync_it)(int), int fd) {
    int concerns_us = concerned();
    if (concerns_us && due(WRITTEN))
        die();
    int result = sync_it(fd);
    written = 0;
    if (concerns_us && due(ON_DISK))
        die();
    return result;
}

int fdatasync(int fd) {
    return synced(true_fdatasync, fd);
}

int fsync(int fd) {
    return synced(true_fsync, fd);
}
