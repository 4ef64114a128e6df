"""How to run it on a cluster; not part of the installed package."""
