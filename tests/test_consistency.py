"""What must stay in step: registry, help, README, crontab, settings, files, documented commands."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from jobctl.commands.job_help import command_line
from jobctl.errors import PRECEDENCE, Exit
from jobctl.job import At, EffectStep, ListStep, MoneyStep
from jobctl.registry import COMMANDS, JOBS, Entry
from jobctl.runner import due_steps, steps_of
from jobctl.sandbox.faults import KINDS
from jobctl.settings import declared, load, variable
from tests.payments import Market
from tests.world import NOW, World, command

ROOT = Path(__file__).parent.parent
JOB = pytest.mark.parametrize("job", JOBS, ids=lambda job: job.name)


@JOB
def test_one_name_everywhere(job: Entry) -> None:
    """Command, module and test file share a name; the file lies under one of the domains."""
    domain, file = job.module.split(".")[-2:]
    assert file == job.name.replace("-", "_")
    assert (ROOT / "tests" / "jobs" / domain / f"test_{file}.py").exists()


@JOB
def test_help_needs_no_database_and_no_sound_settings(job: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOP_GRACE", "nonsense")
    monkeypatch.setenv("DATABASE_URL", "mysql://nowhere")
    done = command(job.name, "--help")
    assert done.exit_code == Exit.DONE
    said = " ".join(done.out.split())
    about = " ".join((importlib.import_module(job.module).__doc__ or "").split())
    assert about in said
    for step in due_steps(job):
        for condition in step.due(At(NOW)).when:
            assert condition in said
    for each in declared():
        assert (variable(each) in said) == bool({each.name, each.metadata["group"]} & set(job.reads))
    known = {name for each in declared() for name in (each.name, each.metadata["group"])}
    assert set(job.reads) <= known
    for heading in ("--since", "--dry-run", "Exit codes:", "Examples:", command_line(job)):
        assert heading in said


@JOB
def test_every_step_reads_what_its_row_has(job: Entry) -> None:
    for step in due_steps(job):
        due = step.due(At(NOW))
        if isinstance(step, EffectStep | MoneyStep):
            assert tuple(due.read) == step.row._fields
            assert {"id"} <= set(due.read)


@JOB
def test_since_bounds_something(job: Entry) -> None:
    steps = steps_of(job)
    assert any(isinstance(each, ListStep) for each in steps) or all(
        step.due(At(NOW)).since is not None or step.due(At(NOW)).since_means for step in due_steps(job)
    )


@JOB
def test_it_runs_on_an_empty_database(job: Entry, market: Market) -> None:
    assert market.world.run(job.name).exit_code == Exit.DONE


@JOB
def test_its_dry_run_leaves_the_database_unchanged(job: Entry, market: Market) -> None:
    market.world.message()
    before = market.world.everything()
    assert market.world.run(job.name, dry_run=True).exit_code == Exit.DONE
    assert market.world.everything() == before


@JOB
def test_its_crontab_line_is_the_recommended_one(job: Entry) -> None:
    lines = (ROOT / "crontab.example").read_text().splitlines()
    assert f"{job.cron}  {command_line(job)}" in lines


def test_the_crontab_runs_nothing_else() -> None:
    lines = (ROOT / "crontab.example").read_text().splitlines()
    assert sum("jobctl " in line and line[0] in "*0123456789" for line in lines if line) == len(JOBS)


def test_the_readme_lists_every_job_and_command() -> None:
    readme = (ROOT / "README.md").read_text()
    for job in JOBS:
        schedule = f"every {job.every}" if job.every else f"`{job.cron}`"
        assert f"| `{job.name}` | {schedule} | {job.summary} |" in readme
    for name, _, summary in COMMANDS:
        assert f"| `jobctl {name}` | {summary} |" in readme


def test_env_example_has_exactly_the_settings(tmp_path: Path) -> None:
    """Each once, with its default; and the file is read without a complaint."""
    text = (ROOT / ".env.example").read_text()
    assert all(line.startswith("#") or not line for line in text.splitlines()), "copied, it sets something"
    listed = dict(re.findall(r"^# ([A-Z_]+)=(.*)$", text, re.MULTILINE))
    assert listed == {variable(each): each.metadata["default"] or "" for each in declared()}
    (tmp_path / ".env").write_text(re.sub(r"^# ([A-Z_]+=)", r"\1", text, flags=re.MULTILINE))
    loaded = load({"JOBCTL_HOME": str(tmp_path)})
    assert loaded.strangers == ("JOBCTL_HOME",)
    assert {variable(each): getattr(loaded.settings, each.name) for each in declared()[1:]} == {
        variable(each): each.default for each in declared()[1:]
    }


def test_every_exit_code_has_its_place_among_the_others() -> None:
    assert sorted(PRECEDENCE) == sorted(Exit)


def test_every_fault_of_the_sandbox_is_documented() -> None:
    listed = (ROOT / "docs" / "payments.md").read_text().partition("| Fault |")[2]
    assert set(re.findall(r"`([a-z]+_?[a-z0-9_]*)`", listed)) - {"seconds"} == set(KINDS)


def documented() -> list[str]:
    """Return the commands of the README's and docs' shell blocks that an operator would type."""
    texts = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    blocks = [
        block for each in texts for block in re.findall(r"```sh\n(.*?)```", each.read_text(), re.DOTALL)
    ]
    return sorted({line for block in blocks for line in block.splitlines() if line.startswith("jobctl ")})


@pytest.mark.parametrize("line", documented())
def test_every_documented_command_runs(line: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is understood, and does not fail for a reason of its own (1) or as misused (2)."""
    for name, value in world.environment().items():
        monkeypatch.setenv(name, value)
    world.message(status="failed", settled_at=NOW)
    world.run("notification-sender", now=None)
    world.message()
    world.run("notification-sender", now=None)
    arguments = shlex.split(line.replace("--every 10s --for 1m", "--every 50ms --for 100ms"), comments=True)[
        1:
    ]
    assert command(*arguments).exit_code in {Exit.DONE, Exit.ITEMS_FAILED}
