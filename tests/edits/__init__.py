"""One edit of one decision at a time, and what no test noticed: `python -m tests.edits`.

    python -m tests.edits record tests/providers tests/jobs/sessions # which tests run over which lines
    python -m tests.edits run --seed 7 --number 40 # a sample; it goes on where it was stopped
    python -m tests.edits run --all-locks # each row lock, one by one
    python -m tests.edits run --kind claim --files jobctl/steps --list # what there is to edit

No part of the usual test run. Edits are made in copies of the checkout; recordings and results are kept in
`.edits/`, which Git ignores.
"""
