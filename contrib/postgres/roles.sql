-- The roles and the database of a ledger that nodes share: psql -f roles.sql postgres, as the
-- server's administrator. Then, as dcsign_owner, once and after each update of dcsign:
--   dcsign ledger init --ledger postgresql://dcsign_owner@HOST/dcsign \
--       --writer dcsign_node --reader dcsign_auditor
--
-- dcsign_owner    makes and migrates the tables, and archives; no process runs as it
-- dcsign_node     what dcsignd-ledger connects as: adds records, can neither change nor delete them
-- dcsign_auditor  reads: dcsign ledger verify, list, live, prove, export
CREATE ROLE dcsign_owner LOGIN;
CREATE ROLE dcsign_node LOGIN;
CREATE ROLE dcsign_auditor LOGIN;
CREATE DATABASE dcsign OWNER dcsign_owner ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE dcsign FROM PUBLIC;
GRANT CONNECT ON DATABASE dcsign TO dcsign_node, dcsign_auditor;
