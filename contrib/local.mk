EXTRA_DIST += contrib/packages.sh contrib/check.sh contrib/try.sh contrib/demo.sh .ci/run

EXTRA_DIST += contrib/completion/dcsign.bash
completiondir = $(datadir)/bash-completion/completions
install-data-local:
if SYSTEMD_UNITS
	$(MKDIR_P) '$(DESTDIR)$(prefix)/lib/sysusers.d' '$(DESTDIR)$(prefix)/lib/tmpfiles.d'
	$(INSTALL_DATA) '$(srcdir)/src/dcsignd.sysusers' '$(DESTDIR)$(prefix)/lib/sysusers.d/dcsignd.conf'
	$(INSTALL_DATA) '$(srcdir)/src/dcsignd.tmpfiles' '$(DESTDIR)$(prefix)/lib/tmpfiles.d/dcsignd.conf'
endif
	$(MKDIR_P) '$(DESTDIR)$(completiondir)'
	$(INSTALL_DATA) '$(srcdir)/contrib/completion/dcsign.bash' '$(DESTDIR)$(completiondir)/dcsign'
uninstall-local:
	rm -f '$(DESTDIR)$(prefix)/lib/sysusers.d/dcsignd.conf' '$(DESTDIR)$(prefix)/lib/tmpfiles.d/dcsignd.conf'
	rm -f '$(DESTDIR)$(completiondir)/dcsign'

EXTRA_DIST += debian/changelog debian/control debian/copyright debian/dcsign.docs debian/dcsign.install \
	debian/dcsignd.docs debian/dcsignd.examples debian/dcsignd.install debian/rules debian/source/format
EXTRA_DIST += contrib/pki/README.md contrib/pki/ca.cnf contrib/pki/cfssl.json doc/quickstart.md
EXTRA_DIST += contrib/two-nodes.sh contrib/haproxy/haproxy.cfg \
	contrib/postgres/roles.sql contrib/postgres/dcsign.conf contrib/postgres/pg_hba.conf

# What the programs are made of, as CycloneDX JSON: dcsign.cdx.json.
sbom_programs = $(bin_PROGRAMS) $(sbin_PROGRAMS) $(pkglibexec_PROGRAMS)
sbom: $(sbom_programs)
	$(AM_V_GEN)/usr/bin/python3 $(srcdir)/contrib/sbom.py '$(PACKAGE_VERSION)' $(sbom_programs) >dcsign.cdx.json.new && \
		mv dcsign.cdx.json.new dcsign.cdx.json
.PHONY: sbom
CLEANFILES += dcsign.cdx.json
EXTRA_DIST += contrib/sbom.py contrib/reproducible.sh
