"""The tables: the frame's own, and one file per domain."""
