/** Time that goes by. */
#ifndef Q8_BASE_CLOCK_H
#define Q8_BASE_CLOCK_H

/** Seconds since some moment; never goes back. */
double q8_now(void);

#endif
