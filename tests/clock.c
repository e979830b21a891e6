/* Moves the calendar by CLOCK_OFFSET_S; clocks that measure durations stay as they are. See clock.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
static long offset(void) {
    static long known, is_known;
    if (!is_known) { const char *text = getenv("CLOCK_OFFSET_S"); known = text ? atol(text) : 0; is_known = 1; }
    return known;
}
#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)
static int is_calendar(clockid_t id) {
    return id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE || id == CLOCK_TAI;
}
static struct timespec moved(const struct timespec *at, clockid_t id) {
    struct timespec real = *at;
    if (is_calendar(id)) real.tv_sec -= offset();
    return real;
}
int clock_gettime(clockid_t id, struct timespec *at) {
    REAL(clock_gettime);
    int failed = real(id, at);
    if (!failed && is_calendar(id)) at->tv_sec += offset();
    return failed;
}
int gettimeofday(struct timeval *at, void *zone) {
    REAL(gettimeofday);
    int failed = real(at, zone);
    if (!failed) at->tv_sec += offset();
    return failed;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
/* Deadlines that are moments of the calendar: the kernel compares them with its own clock. */
int clock_nanosleep(clockid_t id, int flags, const struct timespec *at, struct timespec *rest) {
    REAL(clock_nanosleep);
    struct timespec until = flags & TIMER_ABSTIME ? moved(at, id) : *at;
    return real(id, flags, &until, rest);
}
int pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *m, const struct timespec *at) {
    REAL(pthread_cond_timedwait);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    /* The clock is an attribute of the condition; uptime is far below a moment of the calendar. */
    struct timespec until = moved(at, at->tv_sec > now.tv_sec / 2 ? CLOCK_REALTIME : CLOCK_MONOTONIC);
    return real(c, m, &until);
}
int pthread_cond_clockwait(pthread_cond_t *c, pthread_mutex_t *m, clockid_t id, const struct timespec *at) {
    REAL(pthread_cond_clockwait);
    struct timespec until = moved(at, id);
    return real(c, m, id, &until);
}
int pthread_mutex_timedlock(pthread_mutex_t *m, const struct timespec *at) {
    REAL(pthread_mutex_timedlock);
    struct timespec until = moved(at, CLOCK_REALTIME);
    return real(m, &until);
}
int sem_timedwait(sem_t *s, const struct timespec *at) {
    REAL(sem_timedwait);
    struct timespec until = moved(at, CLOCK_REALTIME);
    return real(s, &until);
}
int sem_clockwait(sem_t *s, clockid_t id, const struct timespec *at) {
    REAL(sem_clockwait);
    struct timespec until = moved(at, id);
    return real(s, id, &until);
}
