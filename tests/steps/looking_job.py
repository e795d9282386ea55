"""The job of `effect_job` where its calls change nothing, so that a dry run makes them too."""

from dataclasses import replace

from tests.steps import effect_job

JOB = replace(effect_job.JOB, looks_up=True)
