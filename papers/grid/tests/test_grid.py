"""`make grid`: which jobs there are, and what deletions, failures, kills and SLURM do to them.

Jobs are those of `smoke`. `python papers/grid/tests/kills.py FOLDER` kills at more points.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from calls import ROOT, SNAKEMAKE, call, list_files, read_results
from kills import KILLS, TARGETS, compare, disturb

from papers.claims import list_runs, read_claims
from papers.datasets import find_absent
from papers.settings import PROFILES, list_experiments, load

TWO = "single_element/vowels unordered/grey_digits"  # of one run each
VOWELS = "single_element/vowels/smoke"
RUN = f"{VOWELS}/single_element-seed0"
FAKES = ROOT / "papers" / "grid" / "tests" / "slurm"
pytestmark = pytest.mark.timeout(5400)
if not SNAKEMAKE.exists():  # one error, instead of one for each test
    pytest.fail(f"{SNAKEMAKE}: not there; `make grid-test` makes it", pytrace=False)


def count_jobs(printed):
    """How many jobs of each rule a call has planned, by the table that Snakemake prints."""
    return {rule: int(number) for rule, number in re.findall(r"^(\w+) +(\d+)$", printed, re.M)}


def list_own(profile):
    """Part, dataset, run and seed of what papers can train here at a profile."""
    runs = []
    for section, *names in list_experiments():
        settings = load(section, profile)
        if settings.steps and not find_absent([settings.dataset]):
            runs += [(*names, seed) for seed in range(settings.seeds)]
    return runs


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which two runs are trained and measured."""
    names = ["/".join(names[:2]) for names in list_own("smoke")]
    assert [names.count(target) for target in TWO.split()] == [1, 1]
    folder = tmp_path_factory.mktemp("finished")
    result = call(folder, TWO)
    assert result.returncode == 0, result.stdout
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of it, with the times of its files."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("profile", PROFILES)
def test_the_grid_of_a_profile_has_all_its_runs(profile, tmp_path):
    result = call(tmp_path, "all", "--dry-run", "--quiet", "rules", profile=profile)
    runs = list_own(profile)
    jobs = count_jobs(result.stdout)
    assert jobs["train"] == len(runs) > 0
    assert jobs["evaluate"] == len({names[:2] for names in runs})
    assert list_files(tmp_path) == []


def test_a_part_a_dataset_and_the_readme_are_targets(tmp_path):
    smoke = list_own("smoke")
    shown = [run.split("/") for run, _ in list_runs(read_claims().values())]
    rows = {(part, dataset, run) for part, dataset, _, run in shown}
    wanted = {
        "independent": [names for names in smoke if names[0] == "independent"],
        "unordered/digits": [names for names in smoke if names[:2] == ("unordered", "digits")],
        "readme": [names for names in smoke if names[:3] in rows],
    }
    for target, runs in wanted.items():
        result = call(tmp_path, target, "--dry-run", "--quiet", "rules")
        assert count_jobs(result.stdout)["train"] == len(runs) > 1, target


def test_a_wrong_target_is_refused_in_a_sentence(tmp_path):
    result = call(tmp_path, "nobody")
    assert result.returncode == 1
    assert "error: TARGET: expected one of all, readme, " in result.stdout
    assert "Traceback" not in result.stdout
    assert list_files(tmp_path) == []


def test_a_job_gives_what_the_plain_command_gives(finished, tmp_path):
    command = [sys.executable, "-m", "papers"]
    options = ["single_element", "--dataset", "vowels", "--profile", "smoke"]
    options += ["--results", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "train", *options], cwd=ROOT, env=environment, check=True)
    subprocess.run([*command, "evaluate", *options, "--write"], cwd=ROOT, check=True)
    plain = read_results(tmp_path)
    assert len(plain) == 4
    results = read_results(finished)
    assert {name: results[name] for name in plain} == plain


def test_what_is_finished_is_left_alone(copied):
    before = {path: path.stat().st_mtime_ns for path in list_files(copied)}
    result = call(copied, TWO)
    assert result.returncode == 0 and "Nothing to be done" in result.stdout
    assert {path: path.stat().st_mtime_ns for path in list_files(copied)} == before


@pytest.mark.parametrize(
    "deleted, jobs",
    (
        (f"{RUN}.safetensors", {"train": 1, "evaluate": 1}),
        (f"{RUN}.training.csv", {"train": 1, "evaluate": 1}),
        (f"{VOWELS}/metrics.json", {"evaluate": 1}),
    ),
)
def test_what_is_deleted_is_made_again_and_nothing_else(copied, finished, deleted, jobs):
    (copied / deleted).unlink()
    others = {
        path: path.stat().st_mtime_ns for path in list_files(copied / "unordered/grey_digits")
    }
    result = call(copied, TWO)
    planned = count_jobs(result.stdout)
    assert result.returncode == 0, result.stdout
    assert planned == jobs | {"all": 1, "total": sum(jobs.values()) + 1}
    assert read_results(copied) == read_results(finished)
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_a_failed_job_leaves_its_log_and_does_not_stop_the_others(tmp_path, finished):
    checkpoint = tmp_path / f"{RUN}.checkpoint"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"damaged")
    result = call(tmp_path, TWO)
    assert result.returncode == 1
    log = (tmp_path / "logs" / f"{RUN}.log").read_text()
    assert "error: " in log and checkpoint.name in log
    assert log.strip() in result.stdout  # Whoever looks at the screen sees why.
    assert (tmp_path / "unordered/grey_digits/smoke/metrics.json").exists()
    assert not (tmp_path / VOWELS / "metrics.json").exists()
    assert checkpoint.exists()

    checkpoint.unlink()
    result = call(tmp_path, TWO)
    assert result.returncode == 0, result.stdout
    assert read_results(tmp_path) == read_results(finished)


def test_a_finished_run_of_other_settings_is_kept_and_named(copied):
    path = copied / f"{RUN}.run.json"
    record = json.loads(path.read_text())
    record["settings"]["steps"] += 1
    path.write_text(json.dumps(record))
    before = read_results(copied)
    result = call(copied, TWO)
    assert result.returncode == 1 and "expected no finished run of other settings" in result.stdout
    assert read_results(copied) == before


def test_a_second_grid_in_the_folder_is_refused(tmp_path):
    (tmp_path / ".snakemake").mkdir()
    with (tmp_path / ".snakemake" / "grid.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = call(tmp_path, TWO)
    assert result.returncode == 1 and "expected no other grid" in result.stdout
    assert list_files(tmp_path) == []


def test_the_next_call_finishes_what_was_killed(tmp_path):
    result = call(tmp_path / "undisturbed", TARGETS)
    assert result.returncode == 0, result.stdout
    undisturbed = read_results(tmp_path / "undisturbed")
    for point in (1, 4, 8):  # the workflow alone, with its jobs, and one job
        folder = tmp_path / str(point)
        folder.mkdir()
        status, again = disturb(folder, *KILLS[point])
        assert status != 0, KILLS[point]
        assert again.returncode == 0, again.stdout
        assert compare(folder, undisturbed) == []


# ---- GPUs and SLURM


def test_two_commands_have_two_gpus_and_the_third_one_waits(tmp_path):
    command = (
        "import os, sys, time; print(os.environ['CUDA_VISIBLE_DEVICES'], time.time(), flush=True); "
    )
    command += "time.sleep(2); print(time.time())"
    launch = [sys.executable, "papers/grid/on_gpu.py", "2", sys.executable, "-c", command]
    environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    environment |= {"TMPDIR": str(tmp_path)}
    options = {"cwd": ROOT, "env": environment, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(launch, **options) for _ in range(3)]
    spans = sorted(process.communicate()[0].split() for process in processes)
    by_start = sorted((float(begin), device, float(end)) for device, begin, end in spans)
    assert {device for _, device, _ in by_start[:2]} == {"0", "1"}
    assert by_start[2][0] >= min(by_start[0][2], by_start[1][2])


def test_jobs_on_gpus_take_one_each(tmp_path):
    result = call(
        tmp_path, "single_element/vowels", "--dry-run", "--printshellcmds", machine="gpus"
    )
    assert result.returncode == 0, result.stdout
    assert "papers/grid/on_gpu.py 1 " in result.stdout and "--accelerator auto" in result.stdout
    assert result.stdout.count("on_gpu.py") == 1  # Evaluations need none.


@pytest.fixture
def slurm(tmp_path):
    """The variables under which stand-ins of SLURM's commands are found; they keep calls there."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    return {"FAKE_SLURM": str(folder), "PATH": f"{FAKES}:{os.environ['PATH']}"}


ACCOUNT = ("--default-resources", "slurm_account=course", "slurm_partition=normal")


def test_a_dry_run_of_slurm_plans_the_same_jobs_and_submits_none(tmp_path, slurm):
    options = ("--dry-run", "--quiet", "rules", *ACCOUNT)
    results = tmp_path / "results"
    result = call(results, "all", *options, environment=slurm, machine="slurm")
    assert count_jobs(result.stdout)["train"] == len(list_own("smoke"))
    assert list(Path(slurm["FAKE_SLURM"]).iterdir()) == []


def test_slurm_gets_jobs_with_their_resources_and_runs_them(tmp_path, slurm, finished):
    results = tmp_path / "results"
    quickly = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5")
    options = (*ACCOUNT, *quickly)
    result = call(results, "single_element/vowels", *options, environment=slurm, machine="slurm")
    assert result.returncode == 0, result.stdout

    calls = sorted(Path(slurm["FAKE_SLURM"]).glob("*.call"))
    training, evaluation = [json.loads(path.read_text()) for path in calls]
    pairs = [training[number : number + 2] for number in range(len(training))]
    for pair in (["-t", "15"], ["--mem", "4000"], ["-A", "course"], ["-p", "normal"]):
        assert pair in pairs, training
    assert "--gpus=1" in " ".join(training) and "--gpus=" not in " ".join(evaluation)
    assert "on_gpu.py" not in result.stdout  # SLURM gives them out.
    assert "--cpus-per-task=1" in training and "rule_train" in " ".join(training)

    whole = read_results(finished)
    expected = {name: whole[name] for name in whole if "vowels" in name}
    assert read_results(results) == expected


def test_a_job_that_fails_under_slurm_is_tried_again_with_twice_the_resources(tmp_path, slurm):
    results = tmp_path / "results"
    checkpoint = results / f"{RUN}.checkpoint"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"damaged")
    quickly = ("--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "5")
    options = (*ACCOUNT, *quickly, "--retries", "1")
    result = call(results, "single_element/vowels", *options, environment=slurm, machine="slurm")
    assert result.returncode == 1
    calls = sorted(Path(slurm["FAKE_SLURM"]).glob("*.call"))
    memories = []
    for path in calls:
        arguments = json.loads(path.read_text())
        memories.append(arguments[arguments.index("--mem") + 1])
    assert memories == ["4000", "8000"]
    assert "error: " in (results / "logs" / f"{RUN}.log").read_text()
