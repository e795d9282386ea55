"""Answers as no provider should give them: each fault's change to what would have been said."""
