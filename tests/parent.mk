# tests of parent
