/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A load that counts: opens, connects, execs or forks, COUNT of each or (0) until it is told to end; prints how many it did.
 * Ends by itself after some minutes, or after an hour where so many are wanted. A child of its own that ended by a signal
 * is told, and the exit code is 3.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t over;

static void end(int signal)
{
	over = signal;
}

static int opened(void)
{
	int fd = open("flood", O_WRONLY | O_CREAT | O_APPEND, 0600);
	return fd < 0 ? -1 : close(fd);
}

/* Nobody listens on port 1: it is refused at once. */
static int connected(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(1) };
	int s = socket(AF_INET, SOCK_STREAM, 0);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (s < 0)
		return -1;
	connect(s, (void *)&to, sizeof(to));
	return close(s);
}

static int ended_otherwise(pid_t pid, int status)
{
	printf("child %d ended with status %x\n", pid, status);
	exit(3);
}

/* 7 is how a child ends that nobody touched. */
static int reaped(pid_t pid)
{
	int status;
	if (waitpid(pid, &status, 0) < 0)
		return -1;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 7)
		return 0;
	return ended_otherwise(pid, status);
}

static int executed(char *self, char *argument)
{
	pid_t pid = vfork();
	if (pid == 0) {
		execl(self, self, "nothing", argument, (char *)NULL);
		_exit(1);
	}
	return pid < 0 ? -1 : reaped(pid);
}

/* Up to MANY live at once, each for a moment: pids are taken and given back in no order. */
enum { MANY = 40 };
static int forked(unsigned long number)
{
	static pid_t living[MANY];
	pid_t *mine = &living[number % MANY];
	if (*mine && reaped(*mine))
		return -1;
	*mine = fork();
	if (*mine == 0) {
		usleep(rand() % 5000);
		_exit(7);
	}
	if (*mine > 0)
		return 0;
	/* Too many at once for this place: some must end first. */
	*mine = 0;
	for (int i = 0; i < MANY; i++)
		if (living[i]) {
			pid_t one = living[i];
			living[i] = 0;
			return reaped(one) ? -1 : 1;
		}
	usleep(1000);
	return 1;
}

int main(int argc, char **argv)
{
	unsigned long done = 0, most;
	char *what = argc > 1 ? argv[1] : "";
	int failed = 0, status;
	if (!strcmp(what, "nothing"))
		return 7;
	if (argc < 3)
		return 2;
	most = strtoul(argv[2], NULL, 10);
	/* Other tests run beside it. */
	if (nice(10) < 0)
		return 1;
	signal(SIGTERM, end);
	signal(SIGALRM, end);
	/* A million of them take a quarter of an hour beside a daemon. */
	alarm(most > 100000 ? 3600 : 600);
	while (!over && (!most || done < most)) {
		if (!strcmp(what, "opens"))
			failed = opened();
		else if (!strcmp(what, "connects"))
			failed = connected();
		else if (!strcmp(what, "execs"))
			failed = executed(argv[0], argc > 3 ? argv[3] : "");
		else if (!strcmp(what, "forks"))
			failed = forked(done);
		else
			return 2;
		if (failed < 0) {
			perror(what);
			return 1;
		}
		if (!failed)
			done++;
	}
	for (pid_t pid; (pid = wait(&status)) > 0;)
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
			ended_otherwise(pid, status);
	printf("%lu\n", done);
	return 0;
}
