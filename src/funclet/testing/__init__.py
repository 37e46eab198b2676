"""Aids for tests of functions and plug-ins: fakes that keep the contracts of the parts they stand in for."""
