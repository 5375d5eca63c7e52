#include "pubkey.h"
