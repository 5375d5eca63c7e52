EXTRA_DIST += contrib/packages.sh contrib/check.sh contrib/try.sh contrib/demo.sh .ci/run

EXTRA_DIST += contrib/completion/dcsign.bash
completiondir = $(datadir)/bash-completion/completions
install-data-local:
	$(MKDIR_P) '$(DESTDIR)$(completiondir)'
	$(INSTALL_DATA) '$(srcdir)/contrib/completion/dcsign.bash' '$(DESTDIR)$(completiondir)/dcsign'
uninstall-local:
	rm -f '$(DESTDIR)$(completiondir)/dcsign'
