"""Readers for untrusted archives: zips and compressed tars.

They do not use the standard library's `zipfile` and `tarfile`. `zipfile` loads the whole directory of an archive into
memory, and compares only names between the directory and the entries. `tarfile` loads headers of any size into
memory, treats damage after the first entry as the end, and has had endless loops in its parser. Packages need only a
small part of what both accept.
"""
