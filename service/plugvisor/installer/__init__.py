"""The worker: a process of the plugins' user that does everything in the install folder.

It trusts no package and no file in that folder, and stands alone: it needs the standard library and `layout.py`.
"""
