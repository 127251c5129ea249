// Executes its arguments: what one more exec of a static program takes. Without libc.
#if defined(__x86_64__)
__asm__(
    ".globl _start\n_start: mov 16(%rsp), %rdi\n lea 16(%rsp), %rsi\n xor %edx, %edx\n mov $59, %eax\n syscall\n"
    " mov $60, %eax\n mov $108, %edi\n syscall\n");
#elif defined(__aarch64__)
__asm__(
    ".globl _start\n_start: ldr x0, [sp, #16]\n add x1, sp, #16\n mov x2, #0\n mov x8, #221\n svc #0\n"
    " mov x8, #93\n mov x0, #108\n svc #0\n");
#endif
