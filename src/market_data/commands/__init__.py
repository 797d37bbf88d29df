"""The commands that move data: `backfill`, `import` and `retention`.

Results go to standard output; progress and complaints to standard error.
"""
