/* The parts of check_p11fault and what they share. */
#ifndef DCSIGN_P11CHECKS_H
#define DCSIGN_P11CHECKS_H

#include <check.h>
#include <stdint.h>

#include "p11rig.h"

extern struct rig rig;
void rig_set_up(void);
void rig_tear_down(void);
void rules(const char *text);
int64_t now_us(void);

TCase *checks_of_signatures(void);
TCase *checks_of_processes(void);
TCase *checks_of_loading(void);

#endif
