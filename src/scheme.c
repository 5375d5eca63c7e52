#include "scheme.h"
