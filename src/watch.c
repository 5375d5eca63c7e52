#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parent.h"

static void look(struct watched *w)
{
	struct stat st;

	w->time = (struct timespec){0, 0};
	w->size = 0;
	w->inode = 0;
	if (stat(w->path, &st) == 0) {
		w->time = st.st_mtim;
		w->size = st.st_size;
		w->inode = st.st_ino;
	}
}

static bool same_octets(const struct config_file *file)
{
	FILE *f = fopen(file->path, "rb");
	uint8_t octets[4096];
	size_t at = 0, n = 0;
	bool same = f != NULL;

	while (same && (n = fread(octets, 1, sizeof octets, f)) > 0) {
		same = n <= file->len - at && memcmp(octets, file->octets + at, n) == 0;
		at += n;
	}
	if (f != NULL)
		fclose(f);
	return same && at == file->len;
}

void watch_taken(struct parent *p)
{
	size_t n = 0;

	watch_begin(p);
	for (size_t i = 0; i < p->config->listen_count; i++)
		for (size_t k = 0; k < p->config->listen[i].client_crl_count; k++, n++)
			if (n < p->watched_count &&
				!same_octets(&p->config->listen[i].client_crl[k]))
				p->watched[n].inode = 0; /* changed while it was being taken */
}

void watch_end(struct parent *p)
{
	for (size_t i = 0; i < p->watched_count; i++)
		free(p->watched[i].path);
	free(p->watched);
	p->watched = NULL;
	p->watched_count = 0;
}

void watch_begin(struct parent *p)
{
	size_t count = 0;

	watch_end(p);
	for (size_t i = 0; i < p->config->listen_count; i++)
		count += p->config->listen[i].client_crl_count;
	if (count == 0 || (p->watched = calloc(count, sizeof *p->watched)) == NULL)
		return;
	for (size_t i = 0; i < p->config->listen_count; i++)
		for (size_t k = 0; k < p->config->listen[i].client_crl_count; k++) {
			struct watched *w = &p->watched[p->watched_count];

			w->path = strdup(p->config->listen[i].client_crl[k].path);
			if (w->path == NULL)
				return;
			look(w);
			p->watched_count++;
		}
}

bool watch_changed(const struct parent *p)
{
	for (size_t i = 0; i < p->watched_count; i++) {
		const struct watched *w = &p->watched[i];
		struct watched now = {.path = w->path};

		look(&now);
		if (now.size != w->size || now.inode != w->inode ||
			now.time.tv_sec != w->time.tv_sec || now.time.tv_nsec != w->time.tv_nsec)
			return true;
	}
	return false;
}
