#include "team.h"

#include <stdio.h>
#include <stdlib.h>

/* What a launcher tells each copy: how many there are, and which of them it is. */
static const struct launcher {
    const char *size, *rank;
} launchers[] = {
    {"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"}, /* Open MPI's mpirun */
    {"MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"},   /* MVAPICH's */
    {"PMI_SIZE", "PMI_RANK"},                         /* MPICH's, Intel MPI's */
    {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID"},         /* srun */
};

static int number_in(const char *variable)
{
    const char *text = getenv(variable);
    const long number = text ? strtol(text, NULL, 10) : 0;
    return number > 0 && number < 1 << 24 ? (int)number : 0;
}

/* Copies that were started, 1 if it was no launcher. */
static int copies_started(int *rank)
{
    *rank = 0;
    for (size_t i = 0; i < sizeof(launchers) / sizeof(launchers[0]); i++)
        if (getenv(launchers[i].size)) {
            *rank = number_in(launchers[i].rank);
            return number_in(launchers[i].size);
        }
    return 1;
}

#ifdef Q8_HAVE_MPI

static bool join(q8_team *team, int started, const volatile int *cancel)
{
    return mpi_open(team, started, cancel);
}

static void leave(q8_team *team)
{
    mpi_close(team);
}

int team_threads(const q8_team *team)
{
    return team->size > 1 ? mpi_threads(team) : 0;
}

#else

/* Each would do all the work and write the same files. */
static bool join(q8_team *team, int started, const volatile int *cancel)
{
    (void)team, (void)cancel;
    fprintf(stderr,
            "error: %d copies of this program were started, but it was built without MPI, so they "
            "cannot share the work. Start one, or install an MPI (Debian: libopenmpi-dev "
            "openmpi-bin), run cmake again and build.\n",
            started);
    return false;
}

static void leave(q8_team *team)
{
    (void)team;
}

int team_threads(const q8_team *team)
{
    (void)team;
    return 0;
}

#endif

static bool silence(void)
{
    return freopen("/dev/null", "w", stdout) && freopen("/dev/null", "w", stderr);
}

bool team_open(q8_team *team, const volatile int *cancel)
{
    int rank;
    const int started = copies_started(&rank);
    *team = (q8_team){.size = 1};
    if (started <= 1)
        return true;
    return (rank == 0 || silence()) && join(team, started, cancel);
}

void team_close(q8_team *team)
{
    if (team->size > 1)
        leave(team);
}
