/* The agent's configuration: what is taken keeps the promises of agent_conf.h, and is read the same
 * again. */
#include "fuzz_files.h"

#include "client/agent_state.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static void service(const struct agent_service *s)
{
	insist(name_valid(s->section.name) && s->url_count > 0);
	for (size_t i = 0; i < s->url_count; i++)
		insist(strncmp(s->urls[i], "https://", 8) == 0 && s->urls[i][8] != '\0');
	insist(s->ca[0] == '/' && s->certificate[0] == '/' && s->private_key[0] == '/');
}

static void credential(const struct agent_credential *c)
{
	insist(name_valid(c->section.name) && name_valid(c->key) && c->service != NULL);
	insist(strcmp(c->service->section.name, c->service_name) == 0);
	insist(c->scheme != NULL && c->formats != 0 && c->output[0] == '/');
	insist(c->lifetime >= 0 && c->lifetime <= DC_MAX_VALID);
	insist((c->mode & ~0640u) == 0 && (c->mode & 0400) != 0);
	insist(c->reload.command == NULL || c->reload.command[0][0] == '/');
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	struct agent_config *one, *two;

	if (len > 65536)
		return 0;
	fuzz_hush();
	fuzz_write("agent.conf", octets, len);
	one = agent_conf_read(fuzz_path("agent.conf"));
	if (one == NULL)
		return 0;
	two = agent_conf_read(fuzz_path("agent.conf"));
	insist(two != NULL && one->check_interval >= 1);
	insist(one->credential_count > 0 && one->credential_count == two->credential_count);
	for (size_t i = 0; i < one->service_count; i++)
		service(&one->services[i]);
	for (size_t i = 0; i < one->credential_count; i++) {
		char *wish = agent_wish(&one->credentials[i]);
		char *same = agent_wish(&two->credentials[i]);

		credential(&one->credentials[i]);
		insist(wish != NULL && same != NULL && strcmp(wish, same) == 0);
		free(wish);
		free(same);
	}
	agent_conf_free(one);
	agent_conf_free(two);
	return 0;
}
