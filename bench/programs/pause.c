// A program that stands: it waits for a signal. Static, without libc.
#if defined(__x86_64__)
__asm__(".globl _start\n_start: mov $34, %eax\n syscall\n jmp _start\n");
#elif defined(__aarch64__)
__asm__(
    ".globl _start\n_start: mov x0, #0\n mov x1, #0\n mov x2, #0\n mov x3, #0\n mov x8, #73\n svc #0\n b _start\n");
#endif
