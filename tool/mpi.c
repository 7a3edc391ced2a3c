/* The team's messages through MPI: the only file that knows of it. */
#include <mpi.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "team.h"

enum { MOST_NEIGHBOURS = 33 };

/* Instead of the number of a sample: no more news will come. */
#define LAST_NEWS UINT64_MAX

/* Someone in the tree, whom news come from and go to. */
struct neighbour {
    int rank;
    uint64_t told; /* the lowest number it knows from us, or we from it */
    uint64_t message;
    MPI_Request request;
};

struct ranks {
    MPI_Comm data, news;
    const volatile int *cancel;
    int threads;
    /* MPI is called by one thread at a time. */
    pthread_mutex_t lock;
    _Atomic uint64_t lowest; /* no sample from here on need be done */
    struct neighbour neighbour[MOST_NEIGHBOURS];
    int n_neighbours, n_last;
};

/* --- news: which samples need not be done ----------------------------------------------------- */

/* They flood the tree that the library's exchanges use too, so that a process has connections to
 * few others only, whatever their number. */
static void find_neighbours(struct ranks *r, int rank, int size)
{
    const int own = rank ? rank & -rank : size;
    if (rank > 0)
        r->neighbour[r->n_neighbours++].rank = rank - own;
    for (int step = 1; step < own && step < size - rank; step *= 2)
        r->neighbour[r->n_neighbours++].rank = rank + step;
    for (int i = 0; i < r->n_neighbours; i++) {
        r->neighbour[i].told = LAST_NEWS;
        r->neighbour[i].request = MPI_REQUEST_NULL;
    }
}

static void lower(struct ranks *r, uint64_t to)
{
    uint64_t now = atomic_load(&r->lowest);
    while (to < now && !atomic_compare_exchange_weak(&r->lowest, &now, to))
        ;
}

static void hear(struct ranks *r)
{
    int waiting = 0;
    MPI_Status status;
    while (MPI_Iprobe(MPI_ANY_SOURCE, 0, r->news, &waiting, &status) == MPI_SUCCESS && waiting) {
        uint64_t number;
        MPI_Recv(&number, 1, MPI_UINT64_T, status.MPI_SOURCE, 0, r->news, MPI_STATUS_IGNORE);
        r->n_last += number == LAST_NEWS;
        lower(r, number);
        for (int i = 0; i < r->n_neighbours; i++)
            if (r->neighbour[i].rank == status.MPI_SOURCE && number < r->neighbour[i].told)
                r->neighbour[i].told = number;
    }
}

static bool has_sent(struct neighbour *n)
{
    int sent;
    MPI_Test(&n->request, &sent, MPI_STATUS_IGNORE);
    return sent;
}

static void tell(const struct ranks *r, struct neighbour *n, uint64_t number)
{
    n->message = number;
    MPI_Isend(&n->message, 1, MPI_UINT64_T, n->rank, 0, r->news, &n->request);
}

/* To be called with the lock held, now and then. */
static void exchange_news(struct ranks *r)
{
    hear(r);
    for (int i = 0; i < r->n_neighbours; i++) {
        struct neighbour *n = &r->neighbour[i];
        const uint64_t lowest = atomic_load(&r->lowest);
        if (lowest < n->told && has_sent(n)) {
            n->told = lowest;
            tell(r, n, lowest);
        }
    }
}

static void stop(void *user, size_t from)
{
    struct ranks *r = user;
    lower(r, from);
    pthread_mutex_lock(&r->lock);
    exchange_news(r);
    pthread_mutex_unlock(&r->lock);
}

static size_t stopped(void *user)
{
    struct ranks *r = user;
    if (pthread_mutex_trylock(&r->lock) == 0) {
        exchange_news(r);
        pthread_mutex_unlock(&r->lock);
    }
    return atomic_load(&r->lowest);
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* Leaves the core to others, the longer the longer it lasts. */
static void pause_after(int tries)
{
    enum { YIELDS = 200, LONGEST_NS = 1000000 };
    const long ns = (tries - YIELDS) * 1000L;
    const struct timespec pause = {.tv_nsec = ns < LONGEST_NS ? ns : LONGEST_NS};
    if (tries <= YIELDS)
        sched_yield();
    else
        nanosleep(&pause, NULL);
}

/* MPI's own waiting would burn a core that another rank may need, and pass on no news. */
static bool wait_for(struct ranks *r, MPI_Request *request)
{
    for (int tries = 0;; tries += tries < 1 << 20) {
        int done;
        pthread_mutex_lock(&r->lock);
        const int code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
        exchange_news(r);
        pthread_mutex_unlock(&r->lock);
        if (code != MPI_SUCCESS || done)
            return code == MPI_SUCCESS;
        if (__atomic_load_n(r->cancel, __ATOMIC_RELAXED))
            stop(r, 0);
        pause_after(tries);
    }
}

/* The library sends in pieces that an int can count. */
static bool send_to(void *user, int to, const void *data, size_t size)
{
    struct ranks *r = user;
    MPI_Request request;
    pthread_mutex_lock(&r->lock);
    const int code = MPI_Isend(data, (int)size, MPI_BYTE, to, 0, r->data, &request);
    pthread_mutex_unlock(&r->lock);
    return code == MPI_SUCCESS && wait_for(r, &request);
}

static bool receive_from(void *user, int from, void *data, size_t size)
{
    struct ranks *r = user;
    MPI_Request request;
    pthread_mutex_lock(&r->lock);
    const int code = MPI_Irecv(data, (int)size, MPI_BYTE, from, 0, r->data, &request);
    pthread_mutex_unlock(&r->lock);
    return code == MPI_SUCCESS && wait_for(r, &request);
}

/* --- threads ---------------------------------------------------------------------------------- */

/* Each core that this rank may run on counts as one over the ranks of this machine that may. */
static int count_threads(void)
{
    MPI_Comm machine;
    int n, threads = 0;
    cpu_set_t own;
    CPU_ZERO(&own); /* and stays so with more cores than it holds: then nothing is known */
    sched_getaffinity(0, sizeof(own), &own);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
    MPI_Comm_size(machine, &n);
    cpu_set_t *all = calloc((size_t)n, sizeof(*all));
    if (all) {
        double cores = 0;
        MPI_Allgather(&own, sizeof(own), MPI_BYTE, all, sizeof(own), MPI_BYTE, machine);
        for (int c = 0; c < CPU_SETSIZE; c++) {
            int users = 0;
            for (int i = 0; i < n && CPU_ISSET(c, &own); i++)
                users += CPU_ISSET(c, &all[i]) != 0;
            cores += users ? 1.0 / users : 0;
        }
        threads = cores > 0 && cores < 1 ? 1 : (int)(cores + 1e-6);
    }
    free(all);
    MPI_Comm_free(&machine);
    return threads;
}

int mpi_threads(const q8_team *team)
{
    return ((const struct ranks *)team->user)->threads;
}

/* --- beginning and end ------------------------------------------------------------------------ */

static void fail_size(int started, int seen)
{
    char library[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(library, &length);
    library[strcspn(library, ",\n")] = '\0';
    fprintf(stderr,
            "error: %d copies of this program were started, but %s, which it was built with, sees "
            "%d: start it with that library's mpirun, or with srun --mpi=pmix\n",
            started, library, seen);
}

bool mpi_open(q8_team *team, int started, const volatile int *cancel)
{
    int level, rank, size;
    MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    struct ranks *r = calloc(1, sizeof(*r));
    if (!r)
        MPI_Abort(MPI_COMM_WORLD, 1);
    if (!r || size != started) {
        free(r);
        fail_size(started, size);
        MPI_Finalize();
        return false;
    }
    MPI_Comm_dup(MPI_COMM_WORLD, &r->data);
    MPI_Comm_dup(MPI_COMM_WORLD, &r->news);
    pthread_mutex_init(&r->lock, NULL);
    r->cancel = cancel;
    r->threads = count_threads();
    atomic_init(&r->lowest, LAST_NEWS);
    find_neighbours(r, rank, size);
    *team =
        (q8_team){.user = r, .rank = rank, .size = size, .send = send_to, .receive = receive_from};
    if (level >= MPI_THREAD_SERIALIZED) {
        team->stop = stop;
        team->stopped = stopped;
    }
    return true;
}

/* So that no message is left when MPI ends. */
static void end_news(struct ranks *r)
{
    for (int i = 0; i < r->n_neighbours; i++) {
        struct neighbour *n = &r->neighbour[i];
        n->told = 0; /* nothing is sent to it any more, but the last */
        wait_for(r, &n->request);
        tell(r, n, LAST_NEWS);
    }
    for (int tries = 0; r->n_last < r->n_neighbours; tries++) {
        exchange_news(r);
        pause_after(tries);
    }
    for (int i = 0; i < r->n_neighbours; i++)
        wait_for(r, &r->neighbour[i].request);
}

void mpi_close(q8_team *team)
{
    struct ranks *r = team->user;
    end_news(r);
    MPI_Comm_free(&r->data);
    MPI_Comm_free(&r->news);
    MPI_Finalize();
    pthread_mutex_destroy(&r->lock);
    free(r);
    *team = (q8_team){.size = 1};
}
