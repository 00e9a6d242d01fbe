"""The small parts: env files, units, schedules, finding the file, secrets, the schema, what is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import TZPATH, ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paneview.config import paths
from paneview.config.envfile import read_env_file
from paneview.config.errors import ConfigError
from paneview.config.locate import find_file
from paneview.config.models import ProjectTable, TaskTable
from paneview.config.schedule import next_time
from paneview.config.schema import schema
from paneview.config.secrets import MASK, Masker, is_secret, secret_values
from paneview.config.units import parse_duration, parse_size


class TestEnvFile:
    def test_what_people_write(self, tmp_path: Path) -> None:
        file = tmp_path / ".env"
        file.write_text(
            '# comment\n\nPLAIN=a b # comment\nexport EXPORTED=1\nQUOTED="a\\nb # no comment"\n'
            "SINGLE='$${x} ${PLAIN}'\nREF=${PLAIN}-${OUTER}\nDEFAULT=${NO:-d}\nEMPTY=\nMANY='a\nb'\r\n",
            newline="",
        )
        assert read_env_file(file, {"OUTER": "o"}) == {
            "PLAIN": "a b",
            "EXPORTED": "1",
            "QUOTED": "a\nb # no comment",
            "SINGLE": "$${x} ${PLAIN}",
            "REF": "a b-o",
            "DEFAULT": "d",
            "EMPTY": "",
            "MANY": "a\nb",
        }

    def test_every_bad_line_is_told(self, tmp_path: Path) -> None:
        file = tmp_path / ".env"
        file.write_text("A=1\n\nlonely\n1B=2\nC=${NO}\nN=a\0b\nD='open\n")
        with pytest.raises(ConfigError) as caught:
            read_env_file(file, {})
        assert [(problem.line, problem.message) for problem in caught.value.problems] == [
            (3, "lonely has no value: write lonely="),
            (4, "'1B' is not a name for an environment variable"),
            (5, "${NO} is not set in the environment or an env_file"),
            (6, "N holds a NUL character"),
            (7, "this line is not NAME=value; is a quote not closed?"),
        ]


@pytest.mark.parametrize(
    ("text", "size"), [("10MB", 10 * 2**20), ("500 kb", 512000), ("1.5G", 3 * 2**29), ("7", 7)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("5m", 300), ("1.5h", 5400), ("7d", 604800), ("1w", 604800)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "MB", "-1", "0", "1 parsec", "5 M B", "1e3", pytest.param("9" * 400, id="infinite")]
)
def test_what_is_no_size_or_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_size(text)
    with pytest.raises(ValueError, match="is not a"):
        parse_duration(text)


class TestSchedule:
    zone = ZoneInfo("Europe/Berlin")

    @pytest.fixture(autouse=True)
    def _berlin(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TZ", "Europe/Berlin")

    def at(self, text: str) -> float:
        return datetime.fromisoformat(text).replace(tzinfo=self.zone).timestamp()

    @pytest.mark.parametrize(
        ("expression", "after", "then"),
        [
            ("*/5 * * * *", "2026-01-01T12:02:03", "2026-01-01T12:05"),
            ("0 12 * * *", "2026-01-01T12:00", "2026-01-02T12:00"),
            ("@daily", "2026-01-01T12:00", "2026-01-02T00:00"),
            ("30 2 * * *", "2026-03-29T01:00", "2026-03-29T03:00"),  # 02:30 does not exist that night
        ],
    )
    def test_next(self, expression: str, after: str, then: str) -> None:
        assert next_time(expression, self.at(after)) == self.at(then)

    def test_the_hour_that_comes_twice(self) -> None:
        now = self.at("2026-10-25T01:50")
        times = []
        for _ in range(16):
            now = next_time("*/10 * * * *", now) or 0.0
            times.append(now)
        steps = {later - earlier for earlier, later in pairwise(times)}
        assert steps == {600.0}

    def test_what_ran_in_the_first_of_the_two_hours_is_not_due_in_the_second(self) -> None:
        first = self.at("2026-10-25T02:30")
        assert next_time("30 2 * * *", first - 1) == first
        assert next_time("30 2 * * *", first + 1800) == self.at("2026-10-26T02:30")

    @given(
        moment=st.sampled_from(
            [
                ("Europe/Berlin", "2026-10-25T01:00+00:00"),
                ("Europe/Berlin", "2026-03-29T01:00+00:00"),
                ("America/New_York", "2026-11-01T06:00+00:00"),
                ("America/Havana", "2026-11-01T05:00+00:00"),  # back to midnight
                ("Africa/Casablanca", "2026-02-15T02:00+00:00"),
                ("Australia/Lord_Howe", "2026-04-04T15:00+00:00"),  # by half an hour
            ]
        ),
        offset=st.floats(-7200, 7200),
        minute=st.sampled_from(["0", "30", "15,45", "*", "*/7"]),
        hour=st.sampled_from(["0", "1", "2", "1-3", "*", "*/2"]),
    )
    def test_the_next_time_is_always_ahead(
        self, moment: tuple[str, str], offset: float, minute: str, hour: str
    ) -> None:
        zone, change = moment
        now = datetime.fromisoformat(change).timestamp() + offset
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TZ", zone)
            due = next_time(f"{minute} {hour} * * *", now)
        assert due is not None
        assert now < due <= now + 2 * 86400

    def test_a_zone_named_by_its_file_has_its_rules(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A fixed offset of now would be an hour off, for half of the year."""
        place = next(
            Path(folder) / self.zone.key for folder in TZPATH if (Path(folder) / self.zone.key).exists()
        )
        monkeypatch.setenv("TZ", f":{place}")
        for month in ("01", "07"):
            assert next_time("0 12 * * *", self.at(f"2026-{month}-01T00:00")) == self.at(
                f"2026-{month}-01T12:00"
            )

    def test_a_time_that_never_comes_is_refused(self) -> None:
        with pytest.raises(ValueError, match="bad day-of-month"):
            next_time("0 0 31 2 *", 0.0)

    @pytest.mark.parametrize("expression", ["", "* * * *", "61 * * * *", "@often", "a b c d e"])
    def test_what_is_no_expression_is_refused(self, expression: str) -> None:
        with pytest.raises(ValueError, match="is not a cron expression"):
            next_time(expression, 0.0)


class TestDiscovery:
    def test_the_nearest_file(self, tmp_path: Path) -> None:
        inner = tmp_path / "a" / "b"
        inner.mkdir(parents=True)
        (tmp_path / "taskmux.toml").touch()
        assert find_file(str(inner)) == str(tmp_path / "taskmux.toml")
        (tmp_path / "paneview.toml").touch()
        assert find_file(str(inner)) == str(tmp_path / "paneview.toml")
        (tmp_path / "a" / "taskmux.toml").touch()
        assert find_file(str(inner)) == str(tmp_path / "a" / "taskmux.toml")

    def test_a_folder_of_that_name_is_not_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "paneview.toml").mkdir()
        assert find_file(str(tmp_path)) is None

    def test_relative_and_links(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "real.toml").touch()
        (tmp_path / "paneview.toml").symlink_to("real.toml")
        monkeypatch.chdir(tmp_path)
        assert find_file(".") == str(tmp_path / "paneview.toml")

    def test_a_project_is_its_folder_and_the_file_s_name_wherever_that_points(self, tmp_path: Path) -> None:
        real, other = tmp_path / "real.toml", tmp_path / "way-in"
        other.symlink_to(tmp_path)
        link = tmp_path / "paneview.toml"
        link.symlink_to(real)
        key = paths.project_key(link)
        assert paths.project_key(other / link.name) == key
        assert paths.project_key(real) != key
        link.unlink()
        link.touch()
        assert paths.project_key(link) == key


class TestSecrets:
    patterns = ("*TOKEN*", "*PASSWORD*")

    def test_names(self) -> None:
        assert is_secret("GITHUB_TOKEN", self.patterns)
        assert is_secret("db_password", self.patterns)
        assert not is_secret("PORT", self.patterns)

    def test_masking(self) -> None:
        env = {
            "API_TOKEN": "abc.def",
            "PASSWORD": "abc.defghi",
            "PIN_TOKEN": "12",
            "URL": "http://x/?t=abc.def",
        }
        masker = Masker(self.patterns, secret_values([env], {"MON_TOKEN": "true"}, self.patterns))
        assert masker.text("abc.defghi and abcXdef, 12, true") == f"{MASK} and abcXdef, 12, true"
        assert masker.env(env) == {
            "API_TOKEN": MASK,
            "PASSWORD": MASK,
            "PIN_TOKEN": MASK,
            "URL": f"http://x/?t={MASK}",
        }
        assert Masker(self.patterns, ()).text("x") == "x"

    def test_each_line_of_a_value_over_several_is_masked(self) -> None:
        key = "-----BEGIN PRIVATE KEY-----\r\nMIIEvQIBADANBg\r\n  kqhkiG9w\r\nshort\r\n-----END PRIVATE KEY-----\r\n"
        masker = Masker(self.patterns, [key])
        shown = [masker.text(f"2> {line}") for line in key.splitlines()]
        assert shown == [
            "2> -----BEGIN PRIVATE KEY-----", f"2> {MASK}", f"2>   {MASK}", "2> short", "2> -----END PRIVATE KEY-----"
        ]  # fmt: skip
        assert masker.text(f"<{key}>") == f"<{MASK}>"

    def test_json_is_masked_at_any_depth_and_of_an_object_of_ours_the_values(self) -> None:
        masker = Masker((), ["hunter2"])
        found = {"hunter2": [{"a": ("hunter2!", 1, None)}, True]}
        assert masker.json(found) == {MASK: [{"a": [f"{MASK}!", 1, None]}, True]}
        assert masker.values(found) == {"hunter2": [{"a": [f"{MASK}!", 1, None]}, True]}


class TestSchema:
    def test_every_key_is_there_with_a_description(self) -> None:
        whole = schema()
        assert set(whole["properties"]) == set(ProjectTable.__struct_fields__)
        assert set(whole["$defs"]["TaskTable"]["properties"]) == set(TaskTable.__struct_fields__)
        for definition in [whole, *whole["$defs"].values()]:
            assert definition["additionalProperties"] is False
            assert all(len(field["description"]) > 10 for field in definition["properties"].values())

    def test_it_says_what_toml_can_say(self) -> None:
        text = json.dumps(schema())
        assert "null" not in text
        tasks = schema()["properties"]["tasks"]
        assert tasks["additionalProperties"] == {"$ref": "#/$defs/TaskTable"}
        assert tasks["propertyNames"]["maxLength"] == 64
        task = schema()["$defs"]["TaskTable"]
        assert task["required"] == ["command"]
        assert task["properties"]["restart_policy"]["enum"] == ["always", "no", "on-failure"]
        assert task["properties"]["port"]["maximum"] == 65535
        assert task["properties"]["log_max_size"]["default"] == "10MB"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("paneview.config", ["msgspec", "pathlib"]),
        ("paneview.config.locate", ["msgspec", "pathlib", "dataclasses", "typing"]),
        ("paneview.config.errors", ["msgspec", "pathlib", "dataclasses", "typing"]),
        ("paneview.config.paths", ["msgspec", "dataclasses"]),
        ("paneview.config.load", ["dotenv", "cronsim", "asyncio", "paneview.config.editing.scan"]),
    ],
)
def test_imports_stay_light(module: str, absent: list[str]) -> None:
    script = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", _with_path(script)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def _with_path(script: str) -> str:
    """The script with this process's path, to be run without `site`, whose .pth files may import anything."""
    return f"import sys; sys.path[:] = {sys.path!r}; {script}"
