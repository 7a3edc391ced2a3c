/** Copies of the program that mpirun, srun or the like has started to share the work. */
#ifndef Q8_TOOL_TEAM_H
#define Q8_TOOL_TEAM_H

#include <q8/q8.h>

/**
 * Finds out whether there are others, by the variables that launchers set: a program that was
 * started by itself, or as the only copy, pays nothing for MPI. All but the first copy then print
 * nothing any more.
 * @param team its size becomes 1 where there are no others
 * @param cancel as in q8_env; while this copy waits for others, it tells them
 * @return false when there are others that cannot be reached; the first copy has told why
 */
bool team_open(q8_team *team, const volatile int *cancel);
/** Waits for all. */
void team_close(q8_team *team);

/** How many threads this copy should have, so that cores which several copies on a machine may use
 *  are shared out among them; 0: nothing is known. */
int team_threads(const q8_team *team);

/** What MPI does of this, in mpi.c. @param started how many copies there should be */
bool mpi_open(q8_team *team, int started, const volatile int *cancel);
void mpi_close(q8_team *team);
int mpi_threads(const q8_team *team);

#endif
