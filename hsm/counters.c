#include "counters.h"

_Atomic uint64_t counters[COUNTER_COUNT];
