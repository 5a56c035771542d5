/*
 * pingpong.c - the floor of the benchmark: 64 bytes over TCP to another process and back, nothing else.
 *
 * Two processes, blocking reads and writes, TCP_NODELAY, on 127.0.0.1: what the kernel alone takes for a call.
 * Prints p50 and p99 of a round trip and the CPU time of the answering process for one, in nanoseconds.
 *
 *   pingpong ROUNDS
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BYTES = 64 };

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now_ns(clockid_t clock) {
    struct timespec t;

    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int no_delay(int fd) {
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static int read_all(int fd, char *buf) {
    for (ssize_t got = 0; got < BYTES;) {
        ssize_t n = read(fd, buf + got, (size_t)(BYTES - got));

        if (n <= 0) {
            return -1;
        }
        got += n;
    }
    return 0;
}

static void answer(int listener) {
    char buf[BYTES];
    int fd = no_delay(accept(listener, NULL, NULL));

    while (read_all(fd, buf) == 0) {
        if (write(fd, buf, BYTES) != BYTES) {
            fail("write");
        }
    }
    exit(0);
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

int main(int argc, char **argv) {
    long rounds = argc == 2 ? atol(argv[1]) : 0;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    char buf[BYTES] = {0};
    struct rusage usage;

    if (rounds < 100) {
        fprintf(stderr, "usage: pingpong ROUNDS (at least 100)\n");
        return 2;
    }
    uint64_t *times = calloc((size_t)rounds, sizeof *times);
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    if (times == NULL || bind(listener, (struct sockaddr *)&address, len) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &len) != 0) {
        fail("listen");
    }
    pid_t child = fork();

    if (child == 0) {
        answer(listener);
    }
    int fd = no_delay(socket(AF_INET, SOCK_STREAM, 0));

    if (connect(fd, (struct sockaddr *)&address, len) != 0) {
        fail("connect");
    }
    for (long i = 0; i < rounds; i++) {
        uint64_t begin = now_ns(CLOCK_MONOTONIC);

        if (write(fd, buf, BYTES) != BYTES || read_all(fd, buf) != 0) {
            fail("round trip");
        }
        times[i] = now_ns(CLOCK_MONOTONIC) - begin;
    }
    close(fd);
    waitpid(child, NULL, 0);
    getrusage(RUSAGE_CHILDREN, &usage);
    qsort(times, (size_t)rounds, sizeof *times, by_value);
    uint64_t cpu_ns = ((uint64_t)usage.ru_utime.tv_sec + (uint64_t)usage.ru_stime.tv_sec) * 1000000000u +
                      ((uint64_t)usage.ru_utime.tv_usec + (uint64_t)usage.ru_stime.tv_usec) * 1000u;

    printf("%llu %llu %llu\n", (unsigned long long)times[rounds / 2], (unsigned long long)times[rounds * 99 / 100],
           (unsigned long long)(cpu_ns / (uint64_t)rounds));
    return 0;
}
