"""The names, signatures and meaning of other implementations, so that moving is one changed import line.

A module each: torchvision, timm, miguelvr (the package `dropblock` on PyPI), mmdet and recipe_a. The layers are
dropkit's: a schedule walks their p, and masks come from a key. Nothing here imports the other implementation. What
differs on purpose is on the page about moving, docs/moving.md.
"""
