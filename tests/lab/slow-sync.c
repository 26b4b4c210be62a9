/* A disk that is slow, for one program: each fsync and fdatasync takes as many milliseconds longer as the file named by
   SLOW_SYNC says; without the file none. What lies in /run is in memory, and as fast as ever. Preloaded (LD_PRELOAD). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int in_memory(int fd)
{
    char link[32], path[8] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof path) >= 5 && !strncmp(path, "/run/", 5);
}

static void wait_for_disk(void)
{
    const char *path = getenv("SLOW_SYNC");
    FILE *file = path ? fopen(path, "re") : NULL;
    long ms = 0;
    if (!file)
        return;
    if (fscanf(file, "%ld", &ms) == 1 && ms > 0) {
        struct timespec time = { ms / 1000, ms % 1000 * 1000000 };
        nanosleep(&time, NULL);
    }
    fclose(file);
}

static int call(const char *name, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    if (!in_memory(fd))
        wait_for_disk();
    return real(fd);
}

int fsync(int fd) { return call("fsync", fd); }
int fdatasync(int fd) { return call("fdatasync", fd); }
