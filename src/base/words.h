/** Which word was meant by one that nothing is called. */
#ifndef Q8_BASE_WORDS_H
#define Q8_BASE_WORDS_H

#include <stddef.h>

/** Levenshtein's distance without regard to case; SIZE_MAX where a word is longer than 127. */
size_t q8_word_distance(const char *a, const char *b);

#endif
