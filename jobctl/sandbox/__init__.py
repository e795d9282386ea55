"""A payment provider's stand-in: speaks its wire protocol on this machine, keeps its state, has its faults.

Written from the provider's public documents alone, and sharing nothing with the adapters that talk to it, so
that a misreading of the one is not repeated in the other.
"""

from jobctl.sandbox.sandbox import SECRET_KEY, Sandbox

__all__ = ["SECRET_KEY", "Sandbox"]
