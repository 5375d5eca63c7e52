#include "dc.h"
