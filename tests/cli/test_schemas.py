"""The JSON of every command is what its JSON Schema in docs/schemas says."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ROOT, TESTS

from multiconv.check.cases import Draws
from multiconv.check.results import Report
from multiconv.check.run import _Run
from multiconv.cli.main import main
from multiconv.running import Missing
from multiconv.subjects.judging import judge
from multiconv.survey.capabilities import BackendCapabilities, Capabilities, Surprise, capabilities
from multiconv.survey.properties import properties
from multiconv.testing.drawing import draw_problems

FOLDER = ROOT / "docs" / "schemas"
SCHEMAS = {path.name.partition(".")[0]: json.loads(path.read_text()) for path in FOLDER.glob("*.schema.json")}


def validate(name: str, value: Any) -> None:
    jsonschema.validate(json.loads(json.dumps(value, allow_nan=False)), SCHEMAS[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_one_and_allows_nothing_else(name: str) -> None:
    schema = SCHEMAS[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema"] == {"const": 1}
    with pytest.raises(jsonschema.ValidationError):
        validate(name, {"schema": 1, "something": "else"})


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("check", ["check", "numpy", "--examples", "3"]),
        ("backends", ["backends"]),
        ("environments", ["env", "list"]),
        ("quirks", ["quirks"]),
        ("dispatch", ["dispatch", "numpy", "--examples", "2", "--search", "1", "--no-layers"]),
        ("known", ["known"]),
        ("known", ["known", "numpy", "--run"]),
        ("kernel", ["describe-kernel", "[[1,2,1]]"]),
        ("kernel", ["describe-kernel", "[[0.5,1.5],[-1,0]]"]),
        ("explain", ["explain", "x=1,4,9,8 w=4,2,3,2 stride=2 padding=same groups=2 bias=true"]),
        ("identify", ["identify", "numpy:negative"]),
        ("explain", ["explain", "x=1,4,9 w=4,2,3 stride=3 padding=1:0", "--direction", "conv_transpose"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_command_writes_what_its_schema_says(name: str, command: list[str]) -> None:
    ran = CliRunner().invoke(main, [*command, "--json", "-"])
    assert ran.exit_code == 0
    validate(name, json.loads(ran.stdout))


def test_a_report_of_disagreements_is_what_the_schema_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(TESTS / "check")
    from test_check import Crashes, PadsTheWrongSide, RoundsToHalf

    reports = []
    for backend in (PadsTheWrongSide(), RoundsToHalf(), Crashes()):
        run = _Run(backend.name, [backend], Draws(), lambda *_: None)  # type: ignore[list-item]
        for number, problem in enumerate(draw_problems(20, 0)):
            run.put(number, problem, problem.expectations())
        run.conclude()
        reports.append(run.report)
    assert all(report.disagreements for report in reports)
    missing = [Missing("mxnet", "it is not there", "multiconv env create mxnet")]
    validate("check", Report(reports, missing, 20, 0, ["float32"]).asdict())


def test_verdicts_are_what_the_schema_says() -> None:
    x, w = np.ones((1, 1, 4), "float32"), np.float32([[[1, 2]]])
    y = np.full((1, 1, 3), 3, "float32")
    wrong = {"flipped": y, "infinite": y * np.float32(np.inf), "short": y[..., :2], "twice": 2 * y, "right": y}
    found = judge(x, w, wrong)
    validate("judge", found.asdict())
    assert [v["diagnosis"] is not None for v in found.asdict()["verdicts"]] == [False, False, True, True, False]


def test_the_tables_are_what_their_schemas_say() -> None:
    validate(
        "capabilities", capabilities(["numpy"], dtypes=["float32"], directions=["forward"], dimensions=[1]).asdict()
    )
    surprised = BackendCapabilities("x", "1", {}, [Surprise("float32", "forward", "1-D", "plain", "it died")])
    validate("capabilities", Capabilities([surprised], []).asdict())
    validate("properties", properties(["numpy"], dtypes=["float32"], wanted=["-0 summed"]).asdict())
