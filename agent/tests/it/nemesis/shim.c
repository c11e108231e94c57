/* Loaded into an agent before its C library: the wall clock and the disk as a page of memory says that
 * is shared with the test. What the page does not say stays as it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* As the test writes it. */
struct page {
    int64_t ahead_us;   /* the wall clock is so far ahead */
    int64_t sync_us;    /* a sync takes so much longer */
    int64_t sync_errno; /* a sync fails so */
    int64_t write_errno;/* a write to a file fails so */
    int64_t refused;    /* how often either did */
};

static volatile struct page quiet;
static volatile struct page *page = &quiet;

__attribute__((constructor)) static void look(void) {
    const char *path = getenv("NEMESIS_PAGE");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        page = at;
}

/* The one that is hidden; looked for once, for the clock is read often. */
#define REAL(name) ({ \
    static __typeof__(&name) real; \
    if (!real) \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
    real; \
})

/* A file of the disk, and not where the agent prints to. */
static int is_on_disk(int fd) {
    struct stat about;
    return fd > 2 && fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
}

static int refuses(int64_t why) {
    if (why == 0)
        return 0;
    __atomic_add_fetch((int64_t *)&page->refused, 1, __ATOMIC_RELAXED);
    errno = (int)why;
    return 1;
}

static int before_sync(void) {
    int64_t late = page->sync_us;
    if (late > 0) {
        struct timespec rest = {late / 1000000, late % 1000000 * 1000};
        nanosleep(&rest, NULL);
    }
    return refuses(page->sync_errno);
}

int fsync(int fd) {
    return before_sync() ? -1 : REAL(fsync)(fd);
}

int fdatasync(int fd) {
    return before_sync() ? -1 : REAL(fdatasync)(fd);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    if (page->write_errno && is_on_disk(fd) && refuses(page->write_errno))
        return -1;
    return REAL(pwrite64)(fd, bytes, count, offset);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    if (page->write_errno && is_on_disk(fd) && refuses(page->write_errno))
        return -1;
    return REAL(write)(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (page->write_errno && is_on_disk(fd) && refuses(page->write_errno))
        return -1;
    return REAL(writev)(fd, parts, count);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = REAL(clock_gettime)(clock, now);
    int64_t ahead = page->ahead_us;
    if (result == 0 && ahead != 0 && clock == CLOCK_REALTIME) {
        int64_t nanos = now->tv_nsec + ahead % 1000000 * 1000;
        now->tv_sec += ahead / 1000000;
        if (nanos < 0) {
            nanos += 1000000000;
            now->tv_sec -= 1;
        } else if (nanos >= 1000000000) {
            nanos -= 1000000000;
            now->tv_sec += 1;
        }
        now->tv_nsec = nanos;
    }
    return result;
}
