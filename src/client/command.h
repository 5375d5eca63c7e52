/* The commands of dcsign. Each takes argv with its own name first and returns an exit code
 * (tool.h); its help is what `dcsign help NAME` prints. */
#ifndef DCSIGN_CLIENT_COMMAND_H
#define DCSIGN_CLIENT_COMMAND_H

extern const char request_help[];
extern const char agent_help[];
extern const char inspect_help[];
extern const char verify_help[];

int command_request(int argc, char **argv);
int command_agent(int argc, char **argv);
int command_inspect(int argc, char **argv);
int command_verify(int argc, char **argv);

#endif
