/* Helpers that share the parts of one job, and never hold it up.

Parts are taken one by one from a ticket. The caller takes parts too and waits only for those that a helper has
begun: a helper that was put to sleep by the system, because another program needs its core, simply takes none. Fixed
shares with a barrier (OpenMP) stall for whole time slices in that case.

A process that was forked has no helpers, only what they left in memory: its caller computes alone. */
#ifndef CHATWRIGHT_THREADS_H
#define CHATWRIGHT_THREADS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SPINS = 4000 }; /* looks at the ticket before a helper goes to sleep: some ten microseconds */
enum { MOST_PARTS = 0xfffff };

typedef void (*Part)(void *job, int part);

typedef struct {
    _Alignas(64) _Atomic uint64_t ticket; /* number of the job (24 bits), its parts (20), the next part (20) */
    _Alignas(64) _Atomic int done;
    _Alignas(64) _Atomic(Part) function;
    _Atomic(void *) job;
    _Atomic int sleeping, ending;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t *threads;
    int helpers, forks; /* forks: how often the process had been forked when they were hired */
} Crew;

static int forks; /* ancestors of this process that used this library */
static void forked(void) { forks++; }
static void hear_of_forks(void) { pthread_atfork(NULL, NULL, forked); }

static inline void breathe(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Takes one part of the job that the ticket shows. 0 where none is left. */
static int take_part(Crew *crew) {
    uint64_t ticket = atomic_load(&crew->ticket);
    uint64_t parts = (ticket >> 20) & 0xfffff, next = ticket & 0xfffff;
    if (next >= parts) return 0;
    /* While a part is left the caller publishes nothing new: if the ticket is still the same, these belong to it. */
    Part function = atomic_load(&crew->function);
    void *job = atomic_load(&crew->job);
    if (!atomic_compare_exchange_strong(&crew->ticket, &ticket, ticket + 1)) return 1;
    function(job, (int)next);
    atomic_fetch_add(&crew->done, 1);
    return 1;
}

static void *helper(void *argument) {
    Crew *crew = argument;
    int idle = 0;
    while (!atomic_load(&crew->ending)) {
        if (take_part(crew)) {
            idle = 0;
        } else if (++idle < SPINS) {
            breathe();
        } else {
            uint64_t seen = atomic_load(&crew->ticket);
            pthread_mutex_lock(&crew->lock);
            atomic_fetch_add(&crew->sleeping, 1);
            while (atomic_load(&crew->ticket) == seen && !atomic_load(&crew->ending))
                pthread_cond_wait(&crew->wake, &crew->lock);
            atomic_fetch_sub(&crew->sleeping, 1);
            pthread_mutex_unlock(&crew->lock);
            idle = 0;
        }
    }
    return NULL;
}

static void share(Crew *crew, Part function, void *job, int parts) {
    if (parts <= 1 || parts > MOST_PARTS || crew->helpers == 0 || crew->forks != forks) {
        for (int part = 0; part < parts; part++) function(job, part);
        return;
    }
    atomic_store(&crew->done, 0);
    atomic_store(&crew->function, function);
    atomic_store(&crew->job, job);
    uint64_t number = (atomic_load(&crew->ticket) >> 40) + 1;
    atomic_store(&crew->ticket, number << 40 | (uint64_t)parts << 20);
    if (atomic_load(&crew->sleeping)) {
        pthread_mutex_lock(&crew->lock);
        pthread_cond_broadcast(&crew->wake);
        pthread_mutex_unlock(&crew->lock);
    }
    while (take_part(crew)) {}
    while (atomic_load(&crew->done) < parts) breathe();
}

static Crew *hire(int threads) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, hear_of_forks);
    Crew *crew = aligned_alloc(64, (sizeof(Crew) + 63) / 64 * 64);
    memset(crew, 0, sizeof *crew);
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->wake, NULL);
    crew->threads = calloc(threads, sizeof *crew->threads);
    crew->forks = forks;
    for (int i = 0; i + 1 < threads; i++)
        if (pthread_create(&crew->threads[crew->helpers], NULL, helper, crew) == 0) crew->helpers++;
    return crew;
}

static void dismiss(Crew *crew) {
    if (crew->forks == forks) {
        pthread_mutex_lock(&crew->lock);
        atomic_store(&crew->ending, 1);
        pthread_cond_broadcast(&crew->wake);
        pthread_mutex_unlock(&crew->lock);
        for (int i = 0; i < crew->helpers; i++) pthread_join(crew->threads[i], NULL);
    }
    free(crew->threads);
    free(crew);
}

#endif
