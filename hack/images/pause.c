// The first process of every pod: it keeps the pod's namespaces, and takes in processes that lost their parents.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
  sigset_t signals;
  int signal;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGCHLD);
  sigprocmask(SIG_BLOCK, &signals, NULL);
  while (sigwait(&signals, &signal) == 0 && signal == SIGCHLD)
    while (waitpid(-1, NULL, WNOHANG) > 0)
      ;
  return 0;
}
