/* tie SIGNAL PARENT PROGRAM ARGUMENT...: become PROGRAM, and get SIGNAL when the thread of PARENT ends that
   started this.

   A child's ties to its parent are made between fork and exec.  In a Python process that takes a copy of its
   memory's tables; a program that makes them and then becomes another one takes none.
   Source: prctl(2), PR_SET_PDEATHSIG; execve(2) keeps it.

   There is no libc in it: system calls are all that it needs, and building a libc takes a minute. */

#if defined(__x86_64__)
enum { WRITE = 1, EXECVE = 59, GETPPID = 110, PRCTL = 157, EXIT = 231 }; /* asm/unistd_64.h */
__asm__(".globl _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call begin\n");

static long kernel(long number, long first, long second, long third)
{
    long answer;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "a"(number), "D"(first), "S"(second), "d"(third)
                     : "rcx", "r11", "memory");
    return answer;
}
#elif defined(__aarch64__)
enum { WRITE = 64, EXIT = 94, PRCTL = 167, GETPPID = 173, EXECVE = 221 }; /* asm-generic/unistd.h */
__asm__(".globl _start\n_start: mov x29, #0\n mov x0, sp\n bl begin\n");

static long kernel(long number, long first, long second, long third)
{
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = first;
    register long x1 __asm__("x1") = second, x2 __asm__("x2") = third;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}
#endif

enum { PR_SET_PDEATHSIG = 1 };             /* linux/prctl.h */
enum { UNUSABLE = 126, NOT_FOUND = 127 };  /* as shells have it */

static long number_of(const char *text)
{
    long number = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        number = 10 * number + *text - '0';
    return *text ? -1 : number;
}

static void say(const char *text)
{
    long length = 0;
    while (text[length])
        length++;
    kernel(WRITE, 2, (long)text, length);
}

/* The kernel's stack for a new program: the number of words, the words, 0, the environment, 0. */
__attribute__((noreturn, used)) void begin(long *stack)
{
    long count = stack[0], status = UNUSABLE;
    char **words = (char **)(stack + 1);
    if (count >= 4 && !kernel(PRCTL, PR_SET_PDEATHSIG, number_of(words[1]), 0)
        && kernel(GETPPID, 0, 0, 0) == number_of(words[2])) { /* else it ended before it was tied */
        kernel(EXECVE, (long)words[3], (long)(words + 3), (long)(words + count + 1));
        say(words[3]);
        say(": can't be executed\n");
        status = NOT_FOUND;
    }
    for (;;)
        kernel(EXIT, status, 0, 0);
}
