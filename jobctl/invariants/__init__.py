"""What is always true of the database, whoever writes it: a rule a file, listed in `every`."""
