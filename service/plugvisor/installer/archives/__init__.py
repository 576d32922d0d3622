"""Reading archives of which nothing is trusted: zips and compressed tars.

The standard library's `zipfile` and `tarfile` are not used for it. `zipfile` keeps the whole directory of an
archive in memory, and compares nothing but names between it and the entries; `tarfile` reads headers of any
size into memory, takes damage behind the first entry for the end, and has had endless loops in its headers. What a
package may be is much less than what they accept.
"""
