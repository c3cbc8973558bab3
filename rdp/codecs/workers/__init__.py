"""Codecs whose libraries run in another interpreter: a worker process, and what both ends of its pipes say."""
