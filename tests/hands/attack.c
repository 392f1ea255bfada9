/* What the tests of the kernel's hands are attacked by; harmless: own uid, few processes, all of it ends by itself.
 * attack KIND UID DIR END [GENERATION]: a parent, which lives; a sibling, which lives; and a root that waits for a byte on
 * stdin and then does KIND; with a `+` before KIND it executes itself first, with GENERATION 0. The parent prints the
 * root's and the sibling's pid. DIR/reached says that KIND is under way, DIR/outlived that it was left to its own end. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static char **args;
static long end;

static int over(void) { return time(NULL) >= end; }

static void rest(void)
{
	while (!over())
		sleep(1);
	_exit(0);
}

static void leave(const char *name)
{
	char path[512];
	int fd;
	snprintf(path, sizeof(path), "%s/%s", args[3], name);
	fd = open(path, O_CREAT | O_WRONLY, 0644);
	if (fd >= 0)
		close(fd);
}

static void reached(void) { leave("reached"); }

/* Every generation ends as soon as the next is there. */
static void forks(long generations)
{
	for (long n = 0; generations == 0 || n < generations; n++) {
		if (n == 100 && generations == 0)
			reached();
		if (over())
			_exit(0);
		pid_t child = fork();
		if (child > 0)
			_exit(0);
		if (child < 0)
			n--;
	}
	reached();
	rest();
}

/* The same with nothing copied and before all ordinary work, so that a generation lives for some 20 us on a busy machine
 * too, and nobody who is told of it comes in time. For a few seconds at most: it takes a CPU from everybody. */
static int clones(void *generation)
{
	static char stacks[65][16384];
	static time_t until;
	long n = (long)generation;
	if (n == 0)
		until = time(NULL) + 4;
	if (n == 1000)
		reached();
	while (time(NULL) < until) {
		if (clone(clones, stacks[(n + 1) % 64 + 1], CLONE_VM | SIGCHLD, (void *)(n + 1)) > 0)
			_exit(0);
	}
	leave("outlived");
	_exit(0);
}

static void again(long n)
{
	char number[32];
	snprintf(number, sizeof(number), "%ld", n);
	char *next[] = { args[0], args[1], args[2], args[3], args[4], number, NULL };
	execv("/proc/self/exe", next);
	_exit(1);
}

static void execs(long n, long generations)
{
	if (n == 100)
		reached();
	if (over())
		_exit(0);
	if (n == generations)
		rest();
	for (;;) {
		pid_t child = fork();
		if (child > 0)
			_exit(0);
		if (child == 0)
			break;
	}
	again(n + 1);
}

static void bomb(void)
{
	for (int n = 0; !over(); n++) {
		if (fork() < 0)
			reached();
		usleep(1000);
	}
	_exit(0);
}

static void doubles(void)
{
	for (int n = 0; n < 5; n++) {
		if (fork())
			continue;
		setsid();
		if (fork())
			_exit(0);
		rest();
	}
	usleep(20000);
	reached();
	rest();
}

static void go(long generation)
{
	const char *kind = args[1] + (args[1][0] == '+');
	if (!strcmp(kind, "bomb"))
		bomb();
	if (!strcmp(kind, "double"))
		doubles();
	if (!strcmp(kind, "forks-200"))
		forks(200);
	if (!strcmp(kind, "forks"))
		forks(0);
	if (!strcmp(kind, "clones"))
		clones(NULL);
	if (!strcmp(kind, "execs-100"))
		execs(generation, 100);
	if (!strcmp(kind, "execs"))
		execs(generation, -1);
	_exit(2);
}

int main(int argc, char **argv)
{
	struct rlimit few = { 120, 120 };
	struct sched_param low = { .sched_priority = 1 }, none = { 0 };
	char byte;
	pid_t root, sibling, parent = getpid();
	args = argv;
	if (argc < 5)
		return 2;
	end = atol(argv[4]);
	signal(SIGCHLD, SIG_IGN);
	/* Whoever is orphaned goes at once, and does not count against the limit until init finds the time. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (argc > 5)
		go(atol(argv[5]));
	/* While it may: the root inherits it, the others give it back. */
	if (strstr(argv[1], "clones") && sched_setscheduler(0, SCHED_FIFO, &low))
		fprintf(stderr, "NOT TESTED: a chain before all ordinary work\n");
	if (setrlimit(RLIMIT_NPROC, &few) || setgid(atoi(argv[2])) || setuid(atoi(argv[2])))
		return 3;
	root = fork();
	if (root == 0) {
		if (read(0, &byte, 1) != 1)
			_exit(0);
		if (args[1][0] == '+')
			again(0);
		go(0);
	}
	sched_setscheduler(0, SCHED_OTHER, &none);
	sibling = fork();
	if (sibling == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(0);
		rest();
	}
	printf("%d %d\n", root, sibling);
	fflush(stdout);
	rest();
}
