"""State dicts of other projects, turned into networks of this one."""
