"""Frontiers: one problem along a sweep of its budgets."""
