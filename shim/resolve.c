/*
 * getaddrinfo(3) against a deadline. It can't be interrupted, so when a name
 * server may be asked it runs in a thread of its own, which is left to itself
 * when the deadline passes, and cleans up after itself when it is done.
 */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <math.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "minisock.h"

struct query {
    const char *host, *service;
    struct addrinfo hints;
};

void minisock_free_list(struct minisock_addrinfo *list)
{
    while (list != NULL) {
        struct minisock_addrinfo *next = list->next;

        free(list);
        list = next;
    }
}

static int copy_list(const struct addrinfo *from,
                     struct minisock_addrinfo **to)
{
    for (; from != NULL; from = from->ai_next) {
        struct minisock_addrinfo *item;

        if (from->ai_addrlen > sizeof item->addr)
            continue;
        item = calloc(1, sizeof *item);
        if (item == NULL)
            return EAI_MEMORY;
        item->family = from->ai_family;
        item->socktype = from->ai_socktype;
        item->protocol = from->ai_protocol;
        item->length = from->ai_addrlen;
        memcpy(item->addr, from->ai_addr, from->ai_addrlen);
        if (from->ai_canonname != NULL)
            strncpy(item->canonname, from->ai_canonname,
                    sizeof item->canonname - 1);
        *to = item;
        to = &item->next;
    }
    return 0;
}

static void ask(const struct query *query, struct minisock_lookup *lookup)
{
    struct addrinfo *list = NULL;

    memset(lookup, 0, sizeof *lookup);
    lookup->error = getaddrinfo(query->host, query->service, &query->hints,
                                &list);
    if (lookup->error == EAI_SYSTEM)
        lookup->system_error = errno;
    if (lookup->error != 0)
        return;
    lookup->error = copy_list(list, &lookup->list);
    freeaddrinfo(list);
    if (lookup->error != 0) {
        minisock_free_list(lookup->list);
        lookup->list = NULL;
    }
}

/* A lookup shared by its thread and its caller; whoever is last frees it. */
struct job {
    pthread_mutex_t lock;
    pthread_cond_t finished;
    int done, abandoned;
    char *host, *service;
    struct query query;
    struct minisock_lookup lookup;
};

static void free_job(struct job *job)
{
    minisock_free_list(job->lookup.list);
    pthread_cond_destroy(&job->finished);
    pthread_mutex_destroy(&job->lock);
    free(job->host);
    free(job->service);
    free(job);
}

static struct job *new_job(const struct query *query)
{
    struct job *job = calloc(1, sizeof *job);
    pthread_condattr_t monotonic;

    if (job == NULL)
        return NULL;
    pthread_mutex_init(&job->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&job->finished, &monotonic);
    pthread_condattr_destroy(&monotonic);
    job->query = *query;
    job->query.host = job->host = strdup(query->host);
    if (query->service != NULL)
        job->query.service = job->service = strdup(query->service);
    if (job->host == NULL || (query->service != NULL && job->service == NULL)) {
        free_job(job);
        return NULL;
    }
    return job;
}

static void *run_job(void *argument)
{
    struct job *job = argument;
    int abandoned;

    ask(&job->query, &job->lookup);
    pthread_mutex_lock(&job->lock);
    job->done = 1;
    abandoned = job->abandoned;
    pthread_cond_signal(&job->finished);
    pthread_mutex_unlock(&job->lock);
    if (abandoned)
        free_job(job);
    return NULL;
}

/* The thread takes no signals: their handlers are the host's, and expect the
   host's threads. */
static int start_job(struct job *job)
{
    sigset_t all, before;
    pthread_attr_t detached;
    pthread_t thread;
    int error;

    sigfillset(&all);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&thread, &detached, run_job, job);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&detached);
    return error;
}

/* Returns whether the job was done in time; if not, it now owns itself. */
static int await_job(struct job *job, double deadline)
{
    const double longest = 1e12; /* some thirty years: time_t holds it */
    double limit = deadline < longest ? deadline : longest;
    struct timespec until;
    int done, error = 0;

    until.tv_sec = (time_t)(limit / 1e3);
    until.tv_nsec = (long)(fmod(limit, 1e3) * 1e6);
    pthread_mutex_lock(&job->lock);
    while (!job->done && error == 0)
        error = pthread_cond_timedwait(&job->finished, &job->lock, &until);
    done = job->done;
    job->abandoned = !done;
    pthread_mutex_unlock(&job->lock);
    return done;
}

static int ask_in_thread(const struct query *query, double deadline,
                         struct minisock_lookup *lookup)
{
    struct job *job = new_job(query);
    int error;

    if (job == NULL) {
        lookup->error = EAI_MEMORY;
        return 0;
    }
    error = start_job(job);
    if (error != 0) {
        lookup->error = EAI_SYSTEM;
        lookup->system_error = error;
    } else if (await_job(job, deadline)) {
        *lookup = job->lookup;
        job->lookup.list = NULL;
    } else {
        return -ETIME;
    }
    free_job(job);
    return 0;
}

/*
 * Fills in lookup. Returns 0, also when the resolver found nothing and says so
 * in lookup->error, or -ETIME. With a deadline, a numeric host is answered
 * without a thread.
 */
int minisock_resolve(const char *host, const char *service, int family,
                     int socktype, int protocol, int flags, double deadline,
                     struct minisock_lookup *lookup)
{
    struct query query = {
        .host = host,
        .service = service,
        .hints = {
            .ai_family = family,
            .ai_socktype = socktype,
            .ai_protocol = protocol,
            .ai_flags = flags
        }
    };

    if (host == NULL || isinf(deadline)) {
        ask(&query, lookup);
        return 0;
    }
    query.hints.ai_flags = flags | AI_NUMERICHOST;
    ask(&query, lookup);
    if (lookup->error != EAI_NONAME || flags & AI_NUMERICHOST)
        return 0;
    if (deadline <= minisock_now())
        return -ETIME;
    query.hints.ai_flags = flags;
    return ask_in_thread(&query, deadline, lookup);
}
