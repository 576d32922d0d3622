"""Fuzz targets, one for each parser that reads what others write; docs/contributing.md says how to run them.

corpus       a few inputs for each target, from which others are made
runner       libFuzzer, by Atheris: many inputs, guided by the code that they reach
tokens.dict  what the formats are made of, for libFuzzer
targets      the targets: functions that take bytes, and raise if an invariant does not hold
test_fuzz    each target with its corpus and the same few hundred mutations of it, in the ordinary tests
"""
