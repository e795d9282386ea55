"""A world that disagrees, at random: whatever happens, in the end the provider and the database agree."""
