"""The nightly: what it makes of what the engines wrote, its time boxes, its exit status.

The stages here are small programs; `python ci/nightly.py --scale 0.01` runs the true ones.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from allocator.catalogue import gallery
from ci import history, nightly
from ci.junit import junit
from ci.outcomes import FINDING, OK, UNKNOWN, Row, read
from ci.sarif import sarif, source_of
from models.rules import RULES

ROOT = Path(__file__).resolve().parent.parent
TRACE = "# format: 1\np0 = malloc 1\n"
FOUND = Row(
    "fuzz", "tlsf", "overlap", FINDING, "op 1: p1 overlaps p0", "overlap", TRACE, "f/x.trace"
)
ROWS = [
    FOUND,
    Row("fuzz", "buddy", "search", OK, "9 executions", seconds=1.5),
    Row("proofs", "tlsf", "first.bounds", UNKNOWN, "first.bounds: unknown"),
]  # fmt: skip
FUZZ = {
    "subjects": [
        {"name": "a", "verdict": "ok", "error": None, "executions": 7, "seconds": 1,
         "findings": []},
        {"name": "b", "verdict": "error", "error": "no", "executions": 0, "seconds": 0,
         "findings": []},
        {"name": "c", "verdict": "violation", "error": None, "executions": 9, "seconds": 2,
         "findings": [{"rule": "hang", "message": "m", "reproduced": True, "trace": TRACE,
                       "trace_file": "c/hang.trace"},
                      {"rule": "crash", "message": "m", "reproduced": False, "trace": TRACE,
                       "trace_file": None}]},
    ]
}  # fmt: skip
PROOFS = {
    "subjects": [
        {"name": "a", "claims": [
            {"name": "x", "rule": "bounds", "verdict": "proved", "seconds": 1, "trace": None},
            {"name": "y", "rule": "overlap", "verdict": "refuted", "seconds": 1, "trace": TRACE},
            {"name": "z", "rule": "overlap", "verdict": "unknown", "seconds": 1, "trace": None}]}
    ]
}  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "document", "verdicts"),
    [
        ("fuzz", FUZZ, [OK, UNKNOWN, FINDING, UNKNOWN]),
        ("proofs", PROOFS, [OK, FINDING, UNKNOWN]),
        ("kill_table", {"status": 1, "targets": [1, 2]}, [FINDING]),
        ("kill_table", {"status": 0, "targets": []}, [OK]),
        ("fuzz", {"nonsense": 1}, [UNKNOWN]),
    ],
)
def test_rows_of_what_engines_write(tmp_path, stage, document, verdicts):
    (tmp_path / "x.json").write_text(json.dumps(document))
    rows = read(stage, tmp_path / "x.json")
    assert [row.verdict for row in rows] == verdicts


def test_a_file_that_is_not_there_is_unknown(tmp_path):
    (row,) = read("fuzz", tmp_path / "none.json")
    assert row.verdict == UNKNOWN
    assert "none.json" in row.message


def test_sarif_has_what_its_schema_requires():
    document = json.loads(sarif(ROWS, ROOT))
    assert document["version"] == "2.1.0"
    assert document["$schema"].endswith("sarif-2.1.0.json")
    (run,) = document["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"]
    (rule,) = driver["rules"]
    assert rule["id"] == "overlap"
    assert rule["shortDescription"]["text"] == RULES["overlap"].violation
    (result,) = run["results"]
    assert (result["ruleId"], result["ruleIndex"], result["level"]) == ("overlap", 0, "error")
    assert "p0 = malloc 1" in result["message"]["text"]
    (place,) = result["locations"]
    artifact = place["physicalLocation"]["artifactLocation"]
    assert (ROOT / artifact["uri"]).is_file()
    assert artifact["uriBaseId"] in run["originalUriBaseIds"]
    assert place["physicalLocation"]["region"]["startLine"] >= 1
    assert result["partialFingerprints"]["trace/v1"]


def test_a_clean_night_is_an_empty_sarif_run():
    (run,) = json.loads(sarif(ROWS[1:], ROOT))["runs"]
    assert run["results"] == run["tool"]["driver"]["rules"] == []


def test_a_bundled_subject_has_a_source():
    for name in gallery()[::4]:
        path = source_of(name)
        assert path is not None
        assert path.suffix == ".c"
    assert source_of("explicit_list+bugs/copies-too-little") == source_of("explicit_list")
    assert source_of("nonsense") is None


def test_junit_counts_and_takes_in_what_pytest_wrote(tmp_path):
    theirs = tmp_path / "pytest.xml"
    theirs.write_text('<testsuites><testsuite name="pytest" tests="3"/></testsuites>')
    root = xml.fromstring(junit(ROWS, [theirs, tmp_path / "none.xml"]))
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["fuzz", "proofs", "pytest"]
    assert (suites["fuzz"].get("tests"), suites["fuzz"].get("failures")) == ("2", "1")
    assert suites["proofs"].get("errors") == "1"
    assert suites["fuzz"].find("testcase/failure").get("type") == "overlap"


def test_the_status_is_the_worst_and_a_finding_is_worse():
    assert nightly.status_of(ROWS, False) == 1
    assert nightly.status_of(ROWS[1:], False) == 2
    assert nightly.status_of(ROWS[1:], True) == 0
    assert nightly.status_of(ROWS[1:2], False) == 0


@pytest.mark.parametrize(("status", "verdict"), [(0, OK), (2, UNKNOWN)])
def test_narrow_counts_where_more_than_a_quick_look_was_asked_for(tmp_path, status, verdict):
    claim = {"name": "x", "rule": "bounds", "verdict": "narrow", "seconds": 1, "trace": None}
    document = {"subjects": [{"name": "a", "claims": [claim]}]}
    (tmp_path / "proofs.json").write_text(json.dumps(document))
    stage = nightly.Stage("proofs", [], "proofs.json", 9)
    rows = nightly.rows_of(nightly.Ran(stage, status, 1.0), tmp_path)
    assert {row.verdict for row in rows} == {verdict}
    assert nightly.status_of(rows, allow_unknown=True) == 0


def test_a_finding_of_the_search_ends_in_every_file(tmp_path):
    """A night on a subject of one's own: a free that gives the same block out twice."""
    source = tmp_path / "mine.c"
    source.write_text(
        "#include <stddef.h>\nstatic _Alignas(16) char bytes[4096];\n"
        "void *malloc(size_t n) { return n <= sizeof bytes ? bytes : NULL; }\n"
        "void free(void *at) { (void)at; }\n"
    )
    out = tmp_path / "out"
    words = [str(source), "--scale", "0.001", "--jobs", "1", "--out", str(out)]
    assert nightly.main(words) == 1
    page = (out / "summary.md").read_text()
    assert "| fuzz | 1 |" in page
    assert "`overlap`" in page
    results = json.loads((out / "findings.sarif").read_text())["runs"][0]["results"]
    assert "overlap" in [result["ruleId"] for result in results]
    for result in results:
        assert (out / result["properties"]["trace"]).is_file()
        place = result["locations"][0]["physicalLocation"]["artifactLocation"]
        assert place == {"uri": source.as_uri()}
    suite = xml.fromstring((out / "junit.xml").read_text()).find("testsuite")
    assert int(suite.get("failures")) == len(results)


def test_history_compares_with_the_median(tmp_path):
    file = tmp_path / "history.jsonl"
    assert history.past(file) == []
    for value in (1.0, 2.0, 30.0):
        history.append(file, "2026-01-01", {"a": value})
    with file.open("a") as broken:
        broken.write("{cut")
    changes = history.compare({"a": 2.2, "new": 1.0}, history.past(file))
    assert [(each.name, each.median, each.notable) for each in changes] == [("a", 2.0, False)]
    assert history.compare({"a": 3.0}, history.past(file))[0].notable
    bench = {"batch": [{"trace": "t", "checked": 1, "bare": 4}, {"trace": "judged", "checked": 3}],
             "drivers": [{"bytes": 64, "native": 2, "python": 3}]}  # fmt: skip
    assert list(history.figures_of(bench).values()) == [0.25, 1.5]


def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *codes: str) -> None:
    """Stages that run a line of Python each."""
    codes = [code.replace("RESULT", str(tmp_path / "s0.json")) for code in codes]
    made = [nightly.Stage(f"s{n}", ["-c", code], f"s{n}.json", 9) for n, code in enumerate(codes)]
    monkeypatch.setattr(nightly, "stages", lambda _words: made)
    monkeypatch.setattr(nightly, "box", lambda *_: 3.0)


@pytest.mark.parametrize(
    ("codes", "status"),
    [
        (["pass"], 0),
        (["open('RESULT', 'w'); raise SystemExit(1)", "raise SystemExit(2)"], 1),
        (["1 / 0"], 2),  # status 1 too, and no finding
        (["raise SystemExit(2)", "pass"], 2),
        (["raise SystemExit(77)"], 2),
        (["import time; time.sleep(60)", "pass"], 2),
    ],
)
def test_a_night_of_small_stages(tmp_path, monkeypatch, codes, status):
    small(tmp_path, monkeypatch, *codes)
    words = ["--out", tmp_path, "--history", tmp_path / "history.jsonl"]
    started = time.monotonic()
    assert nightly.main([*map(str, words)]) == status
    assert time.monotonic() - started < 30
    page = (tmp_path / "summary.md").read_text()
    assert page.count("\n| s") == len(codes) + 1, "the head and a line each"
    for name in ("findings.sarif", "junit.xml"):
        assert (tmp_path / name).is_file()


def test_control_c_ends_the_night_and_writes_the_page(tmp_path):
    command = [sys.executable, ROOT / "ci" / "nightly.py", "--only", "fuzz", "--scale", "0.05"]
    command += ["--out", tmp_path, "--history", tmp_path / "h.jsonl", "--jobs", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not (tmp_path / "fuzz").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=90)
    assert process.returncode == 130
    assert (tmp_path / "summary.md").is_file()


def test_a_dry_run_prints_the_stages(capsys):
    assert nightly.main(["--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = ["fuzz", "tests", "proofs", "kill_table", "bench", "real_programs", "textbook"]
    assert [line.split()[0] for line in lines] == names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--only", "nonsense"], "no stage nonsense (there are: fuzz"),
        (["--scale", "0"], "--scale"),
        (["mine.c", "--only", "bench"], "bench knows the bundled allocators alone"),
    ],
)
def test_wrong_words_are_told(capsys, words, said):
    assert nightly.main(words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line
