/* kexec_load KERNEL INITRD COMMANDLINE: load the kernel that takes over after a panic (kexec_file_load(2)). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kexec.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int kernel = argc == 4 ? open(argv[1], O_RDONLY) : -1, initrd = argc == 4 ? open(argv[2], O_RDONLY) : -1;
    if (kernel < 0 || initrd < 0)
        return 2;
    if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[3]) + 1, argv[3], KEXEC_FILE_ON_CRASH)) {
        perror("kexec_file_load");
        return 1;
    }
    return 0;
}
