# src/ledger
