/* `dcsign ledger accept-clock`: a person says that this machine's clock is right now. */
#ifndef DCSIGN_ACCEPT_H
#define DCSIGN_ACCEPT_H

/* argv[1] is "accept-clock". Gives the exit code. */
int accept_main(int argc, char **argv);

#endif
