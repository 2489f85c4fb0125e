/* pack DISK PATH...: write a ustar archive to a disk; holes of the files are left out by seeking over them,
   so the disk must be fresh (all zeros). Folders are taken whole. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int disk;

static void die(const char *what)
{
    fprintf(stderr, "pack: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void header(const char *path, size_t size)
{
    char block[512] = "";
    unsigned sum = 8 * ' ';
    snprintf(block, 100, "%s", path[0] == '/' ? path + 1 : path);
    snprintf(block + 100, 8, "%07o", 0600);
    snprintf(block + 124, 12, "%011lo", size);
    snprintf(block + 136, 12, "%011o", 0);
    block[156] = '0';
    memcpy(block + 257, "ustar\00000", 8);
    for (int i = 0; i < 512; i++)
        sum += (unsigned char)block[i];
    snprintf(block + 148, 8, "%06o", sum);
    block[155] = ' ';
    if (write(disk, block, sizeof block) != sizeof block)
        die(path);
}

static void write_all(const char *buffer, size_t size)
{
    for (ssize_t done; size; buffer += done, size -= done)
        if ((done = write(disk, buffer, size)) <= 0)
            die("disk");
}

/* Regular files on tmpfs know their holes. */
static void regular(const char *path, int in, size_t size)
{
    static char buffer[1 << 20];
    off_t base, data = 0, end;
    header(path, size);
    base = lseek(disk, 0, SEEK_CUR);
    while ((data = lseek(in, data, SEEK_DATA)) >= 0) {
        end = lseek(in, data, SEEK_HOLE);
        lseek(disk, base + data, SEEK_SET);
        while (data < end) {
            size_t want = (size_t)(end - data) < sizeof buffer ? (size_t)(end - data) : sizeof buffer;
            ssize_t got = pread(in, buffer, want, data);
            if (got <= 0)
                die(path);
            write_all(buffer, got);
            data += got;
        }
    }
    lseek(disk, base + ((size + 511) & ~511UL), SEEK_SET);
}

static void pack(const char *path)
{
    char inner[512];
    struct stat status;
    struct dirent *entry;
    if (lstat(path, &status))
        die(path);
    if (S_ISREG(status.st_mode)) {
        int in = open(path, O_RDONLY);
        if (in < 0)
            die(path);
        regular(path, in, status.st_size);
        close(in);
    } else if (S_ISDIR(status.st_mode)) {
        DIR *folder = opendir(path);
        while ((entry = readdir(folder)))
            if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) {
                snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
                pack(inner);
            }
        closedir(folder);
    }
}

int main(int argc, char **argv)
{
    disk = argc > 1 ? open(argv[1], O_WRONLY) : -1;
    if (disk < 0)
        die(argc > 1 ? argv[1] : "no disk");
    for (int i = 2; i < argc; i++)
        pack(argv[i]);
    return fsync(disk) ? 1 : 0;
}
