/* Ways into the kernel for a 32-bit thread. By the vdso it is sysenter on CPUs of Intel, syscall on those of AMD. */
enum way { BY_INT80, BY_VDSO };
void go_by(struct thread *t, enum way way);
void spin32(struct thread *t);
