# tests of hsm
