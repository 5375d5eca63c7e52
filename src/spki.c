#include "spki.h"
