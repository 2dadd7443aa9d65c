/* tie SIGNAL PARENT PROGRAM ARGUMENT...: become PROGRAM, and get SIGNAL when the process PARENT's thread ends.

   A child's ties to its parent are made between fork and exec.  In a Python process that takes a copy of its
   memory's tables; a program that makes them and then becomes another one takes none.
   Source: prctl(2), PR_SET_PDEATHSIG; execve(2) keeps it. */

#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { UNUSABLE = 126, NOT_FOUND = 127 }; /* as shells have it */

int main(int count, char **words)
{
    if (count < 4 || prctl(PR_SET_PDEATHSIG, atol(words[1])))
        return UNUSABLE;
    if (getppid() != atol(words[2])) /* it ended before the kernel knew whom to signal */
        return UNUSABLE;
    execv(words[3], words + 3);
    perror(words[3]);
    return NOT_FOUND;
}
