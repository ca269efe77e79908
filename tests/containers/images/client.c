/* An application that resolves names with libc's getaddrinfo at a steady rate, and prints results.
 *
 *     client RATE NAME...
 *
 * It prints one line for each lookup: its number, when it was due (ms since the epoch), how long it
 * took from then (µs), the return code of getaddrinfo, the numbers of IPv4 and IPv6 addresses, the
 * last byte of the first IPv4 address, and the name. Each lookup starts when it is due, even if
 * earlier ones have not returned, so that a slow resolver is not hidden by a slow client. There are
 * enough threads for a libc that takes 20 s. A lookup that never returns has no line, and the
 * reader finds it by the gap in the numbers.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_SECONDS = 21, STACK_BYTES = 256 * 1024 };

static atomic_ulong next_number;
static double rate;
static struct timespec start;
static char **names;
static int name_count;

static long long microseconds_since(const struct timespec *then) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (now.tv_sec - then->tv_sec) * 1000000LL + (now.tv_nsec - then->tv_nsec) / 1000;
}

static void look_up(unsigned long number, const struct timespec *due) {
    const char *name = names[number % (unsigned long)name_count];
    struct addrinfo hints, *found = NULL, *each;
    char line[512];
    int v4 = 0, v6 = 0, last = -1, code, length;
    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    code = getaddrinfo(name, "80", &hints, &found);
    long long took = microseconds_since(due);
    for (each = code == 0 ? found : NULL; each; each = each->ai_next) {
        if (each->ai_family == AF_INET) {
            if (!v4++) last = ntohl(((struct sockaddr_in *)each->ai_addr)->sin_addr.s_addr) & 255;
        } else {
            v6++;
        }
    }
    if (found) freeaddrinfo(found);
    length = snprintf(line, sizeof line, "%lu %lld %lld %d %d %d %d %s\n", number,
                      due->tv_sec * 1000LL + due->tv_nsec / 1000000, took, code, v4, v6, last, name);
    /* Each line is one write, so that lines of several threads do not mix. */
    if (length > 0 && write(1, line, (size_t)length) < 0) _exit(1);
}

static void *work(void *unused) {
    (void)unused;
    for (;;) {
        unsigned long number = atomic_fetch_add(&next_number, 1);
        long long offset = (long long)(number * 1e9 / rate);
        struct timespec due = {start.tv_sec + (start.tv_nsec + offset) / 1000000000LL, (start.tv_nsec + offset) % 1000000000LL};
        clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &due, NULL);
        look_up(number, &due);
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_attr_t attributes;
    pthread_t thread;
    if (argc < 3 || (rate = atof(argv[1])) < 1 || rate > 1000) {
        fputs("usage: client RATE NAME...   (RATE: 1 to 1000 lookups a second)\n", stderr);
        return 64;
    }
    names = argv + 2;
    name_count = argc - 2;
    clock_gettime(CLOCK_REALTIME, &start);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    for (int i = 0; i < (int)(rate * PATIENCE_SECONDS) + 8; i++) {
        if (pthread_create(&thread, &attributes, work, NULL) != 0) { fputs("client: no more threads\n", stderr); return 1; }
    }
    pthread_join(thread, NULL);
    return 0;
}
