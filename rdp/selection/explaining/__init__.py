"""Why there is no selection, in numbers that a user can act on."""
