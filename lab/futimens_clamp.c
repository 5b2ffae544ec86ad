/*
 * LD_PRELOAD for NFS-Ganesha on zfs-fuse.
 *
 * NFSv4 exclusive creates store a random 2 x 32-bit verifier in a file's times. zfs-fuse refuses times past 2^31
 * (EOVERFLOW), Ganesha answers NFS4ERR_INVAL and removes the file: about 3 of 4 creates fail at random.
 * Clamp the seconds to 31 bits; Ganesha compares only what it reads back.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

static const struct timespec *clamp(struct timespec to[2], const struct timespec from[2])
{
    if (!from)
        return from;
    for (int i = 0; i < 2; i++) {
        to[i] = from[i];
        if (to[i].tv_nsec != UTIME_NOW && to[i].tv_nsec != UTIME_OMIT)
            to[i].tv_sec &= 0x7fffffff;
    }
    return to;
}

int futimens(int fd, const struct timespec times[2])
{
    int (*real)(int, const struct timespec[2]) = dlsym(RTLD_NEXT, "futimens");
    struct timespec clamped[2];
    return real(fd, clamp(clamped, times));
}

int utimensat(int dir, const char *path, const struct timespec times[2], int flags)
{
    int (*real)(int, const char *, const struct timespec[2], int) = dlsym(RTLD_NEXT, "utimensat");
    struct timespec clamped[2];
    return real(dir, path, clamp(clamped, times), flags);
}
