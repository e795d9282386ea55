"""Ask providers what became of unfinished money operations, and settle them.

What a crash, an outage or a lost answer left open is looked up or sent again under its own key, and settled
as the job that began it would. While the outcome of some is unknown the exit code is 4.
"""

from jobctl.job import SettleStep
from jobctl.journal import unfinished

JOB = SettleStep(unfinished, lambda settings: settings.payment_concurrency)
