"""One module for each version, in order; `alembic` reads them.

Add here: a module that follows the newest one (`UPGRADE`: PostgreSQL's statements), and its number in `HEAD`.
Not here: a change to a version that has been on main, or one that takes away what the version before still uses:
code of both runs side by side while an installation is brought up.
"""
