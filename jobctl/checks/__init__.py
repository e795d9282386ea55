"""Whether the database has what jobctl relies on, as well as the migration that says so."""
