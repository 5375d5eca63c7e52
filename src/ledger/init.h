/* `dcsign ledger init`: the one command that makes a ledger, as its owner. */
#ifndef DCSIGN_INIT_H
#define DCSIGN_INIT_H

/* argv[1] is "init". Gives the exit code. */
int init_main(int argc, char **argv);

#endif
