# src/ledger: the daemon and the tool share all but their mains.
noinst_LIBRARIES += src/ledger/libledger.a
src_ledger_libledger_a_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS) $(PQ_CFLAGS) $(CRYPTO_CFLAGS) $(JANSSON_CFLAGS)
src_ledger_libledger_a_SOURCES = \
	src/ledger/store.c src/ledger/store.h \
	src/ledger/sqlite.c src/ledger/sqlite-attempts.c src/ledger/sqlite-file.c src/ledger/sqlite-copy.c src/ledger/sqlite-tree.c src/ledger/sqlite-settle.c src/ledger/sqlite-pending.c src/ledger/sqlite-holders.c src/ledger/sqlite-holders.h \
	src/ledger/sqlite-pending-log.c src/ledger/sqlite-vfs.c src/ledger/sqlite-pending.h src/ledger/sqlite.h \
	src/ledger/folder.c src/ledger/folder.h \
	src/ledger/postgres.c src/ledger/postgres-wire.c src/ledger/postgres-link.c src/ledger/postgres-schema.c \
	src/ledger/postgres-group.c src/ledger/postgres-foresee.c src/ledger/postgres-rows.c src/ledger/postgres-attempts.c src/ledger/postgres-tree.c \
	src/ledger/postgres.h \
	src/ledger/flood.c src/ledger/flood.h \
	src/ledger/state.c src/ledger/state.h \
	src/ledger/tree.c src/ledger/tree.h \
	src/ledger/tail.c src/ledger/tail.h \
	src/ledger/signer.c src/ledger/signer.h \
	src/ledger/courier.c src/ledger/courier.h \
	src/ledger/heads.c src/ledger/heads.h \
	src/ledger/take.c src/ledger/take.h \
	src/ledger/foresee.c src/ledger/foresee.h src/ledger/resume.c \
	src/ledger/commit.c src/ledger/commit.h src/ledger/ledger.c src/ledger/succeed.c \
	src/ledger/gather.c src/ledger/gather.h \
	src/ledger/answers.c src/ledger/answers-live.c src/ledger/answers.h \
	src/ledger/holds.c src/ledger/holds.h \
	src/ledger/stranger.c src/ledger/stranger.h \
	src/ledger/attempts.c src/ledger/attempts.h \
	src/ledger/rebuild.c src/ledger/rebuild.h \
	src/ledger/inforce.c src/ledger/inforce.h \
	src/ledger/witness.c src/ledger/witness.h \
	src/ledger/crew.c src/ledger/crew.h \
	src/ledger/leaves.c src/ledger/leaves.h \
	src/ledger/signatures.c src/ledger/signatures.h \
	src/ledger/rules.c src/ledger/rules.h \
	src/ledger/tally.c src/ledger/tally.h \
	src/ledger/tables.c src/ledger/tables.h \
	src/ledger/recall.c src/ledger/recall.h \
	src/ledger/judge.c src/ledger/judge_save.c src/ledger/judge.h \
	src/ledger/bookmark.c src/ledger/bookmark.h \
	src/ledger/verify.c src/ledger/verify_known.c src/ledger/verify_resume.c src/ledger/verify.h src/ledger/verify_walk.h \
	src/ledger/prove.c src/ledger/prove.h \
	src/ledger/archive.c src/ledger/archive_move.c src/ledger/archive_take.c src/ledger/archive_move.h src/ledger/archive.h \
	src/ledger/list.c src/ledger/export.c src/ledger/list.h \
	src/ledger/report.c src/ledger/report_html.c src/ledger/report.h \
	src/ledger/plot.c src/ledger/plot.h
LEDGER_LIBS = src/ledger/libledger.a src/libdcsign.a $(SQLITE_LIBS) $(PQ_LIBS) $(CRYPTO_LIBS) $(JANSSON_LIBS)

pkglibexec_PROGRAMS += src/ledger/dcsignd-ledger src/ledger/dcsign-ledger
src_ledger_dcsignd_ledger_SOURCES = src/ledger/dcsignd-ledger.c src/memory.c src/memory.h src/ledger/confine.c src/ledger/confine.h \
	src/ledger/server-parent.c src/ledger/server-peers.c src/ledger/server.h
src_ledger_dcsignd_ledger_LDADD = $(LEDGER_LIBS) $(SECCOMP_LIBS)
src_ledger_dcsign_ledger_SOURCES = src/ledger/dcsign-ledger.c src/memory.c src/memory.h \
	src/ledger/options.c src/ledger/options.h \
	src/ledger/fingerprint.c src/ledger/fingerprint.h \
	src/ledger/init.c src/ledger/init.h \
	src/ledger/accept.c src/ledger/accept.h \
	src/ledger/decide.c src/ledger/decide.h \
	src/ledger/succeed_tool.c src/ledger/succeed_tool.h \
	src/ledger/archived.c src/ledger/archived.h \
	src/ledger/say.c src/ledger/say.h
src_ledger_dcsign_ledger_LDADD = $(LEDGER_LIBS)

dist_man8_MANS = src/ledger/dcsign-ledger.8
