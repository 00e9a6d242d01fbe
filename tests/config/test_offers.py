"""What `init` finds in a project, and the file it writes for that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paneview.config.editing.draft import draft
from paneview.config.editing.offers import Offer, compose_services, find_offers
from paneview.config.load import parse_project
from tests.texts import texts

COMPOSE = """\
# services: no
version: "3"
services:
  # a comment
  db:
    image: postgres
    command: >
      services: not one
  'cache': { image: redis }
  my.queue-1:
    image: x

volumes:
  data:
"""


def offers(folder: Path, **files: object) -> dict[str, Offer]:
    """The offers of a folder with these files; ``_`` in a name stands for a dot."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("_", ".")).write_text(text)
    return {offer.name: offer for offer in find_offers(folder).offers}


def suggested(found: dict[str, Offer]) -> list[str]:
    return [name for name, offer in found.items() if offer.suggested]


def test_scripts_of_package_json(tmp_path: Path) -> None:
    scripts = {
        "dev": "vite",
        "predev": "echo",
        "start": "node server.js",
        "build": "vite build",
        "css:watch": "tailwind",
        "prepare": "husky",
        "it's": "x",
        "123": "y",
        "": "",
    }
    found = offers(tmp_path, package_json={"scripts": scripts})
    assert suggested(found) == ["dev", "css-watch"]
    assert (found["dev"].command, found["dev"].settings, found["dev"].detail) == ("npm run dev", {}, "vite")
    assert found["css-watch"].settings == {"auto_start": False}
    assert found["build"].settings == {"auto_start": False, "restart_policy": "no"}
    assert found["it-s"].command == "npm run 'it'\\''s'"
    assert found["task-123"].command == "npm run 123"
    assert not {"predev", "prepare", ""} & set(found)


def test_without_a_main_script_its_parts_are_suggested(tmp_path: Path) -> None:
    found = offers(tmp_path, package_json={"scripts": {"dev:api": "a", "dev:web": "b", "lint": "c"}})
    assert suggested(found) == ["dev-api", "dev-web"]
    assert found["dev-api"].settings == {}


@pytest.mark.parametrize(
    ("files", "manager"),
    [
        ({}, "npm"),
        ({"package-lock_json": ""}, "npm"),
        ({"pnpm-lock_yaml": ""}, "pnpm"),
        ({"yarn_lock": ""}, "yarn"),
        ({"bun_lockb": ""}, "bun"),
    ],
)
def test_the_package_manager_by_its_lock(tmp_path: Path, files: dict[str, str], manager: str) -> None:
    found = offers(tmp_path, package_json={"scripts": {"dev": "x"}}, **files)
    assert found["dev"].command == f"{manager} run dev"


def test_the_declared_package_manager_wins(tmp_path: Path) -> None:
    package = {"scripts": {"dev": "x"}, "packageManager": "pnpm@9.1.0"}
    assert offers(tmp_path, package_json=package, yarn_lock="")["dev"].command == "pnpm run dev"


def test_processes_of_a_procfile(tmp_path: Path) -> None:
    text = "web: serve -p ${PORT} ${OTHER}\n# no\nrelease: migrate\nworker:   work $PORT_X\r\nempty:\n"
    found = offers(tmp_path, Procfile=text, _env="A=1\n")
    assert suggested(found) == ["web", "worker"]
    assert found["web"].command == "serve -p ${PORT} ${OTHER:-}"
    assert found["web"].settings == {"env": {"PORT": "5000"}, "env_file": ".env"}
    assert found["worker"].settings == {"env_file": ".env"}
    assert found["release"].settings["restart_policy"] == "no"


def test_services_of_compose(tmp_path: Path) -> None:
    assert compose_services(COMPOSE) == ["db", "cache", "my.queue-1"]
    found = offers(tmp_path, compose_yaml=COMPOSE)
    assert suggested(found) == ["db", "cache", "my-queue-1"]
    assert found["my-queue-1"].command == "docker compose up my.queue-1"


def test_targets_of_a_makefile(tmp_path: Path) -> None:
    text = ".PHONY: run test\nX := 1\nY ::= 2\nrun: dep ## serve it\n\tx\ntest:\n\ty\nout.o: a.c\n\tz\ndep:\n"
    found = offers(tmp_path, Makefile=text)
    assert list(found) == ["run", "test"]
    assert (suggested(found), found["run"].detail) == (["run"], "serve it")
    assert list(offers(tmp_path, Makefile="all: a.o\na.o: a.c\nserve:\n")) == ["all", "serve"]


def test_python_projects(tmp_path: Path) -> None:
    text = '[tool.poe.tasks]\nserve = "x"\n_hidden = "y"\nlint = { cmd = "ruff" }\n[tool.pdm.scripts]\nwatch = "z"\n'
    found = offers(tmp_path, manage_py="import django", pyproject_toml=text, uv_lock="")
    assert found["django"].command == "uv run python manage.py runserver 8000"
    assert found["django"].settings == {"health_tcp": 8000}
    assert (found["serve"].command, found["lint"].detail) == ("uv run poe serve", "ruff")
    assert suggested(found) == ["django", "serve", "watch"]
    (tmp_path / ".venv").mkdir()
    assert offers(tmp_path)["migrate"].command == ".venv/bin/python manage.py migrate"
    assert "django" not in offers(tmp_path, manage_py="print('hello')")


def test_of_what_wraps_what_only_the_outermost_is_suggested(tmp_path: Path) -> None:
    package = {"scripts": {"dev": "vite"}}
    makefile = "dev:\n\tnpm run dev\n"
    found = offers(tmp_path, package_json=package, Makefile=makefile, compose_yaml=COMPOSE)
    assert suggested(found) == ["db", "cache", "my-queue-1", "dev"]
    assert (found["dev-makefile"].command, found["dev-makefile"].settings["auto_start"]) == (
        "make dev",
        False,
    )
    found = offers(tmp_path, Procfile="web: npm run dev\n")
    assert suggested(found) == ["web", "db", "cache", "my-queue-1"]


def test_what_cannot_be_read_is_told_and_hides_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text("[" * 100_000)
    (tmp_path / "pyproject.toml").write_text("=")
    (tmp_path / "compose.yml").write_text("services: {db: {}}\n")
    (tmp_path / "Procfile").mkdir()
    (tmp_path / "Makefile").write_text("dev:\n")
    found = find_offers(tmp_path)
    assert [offer.name for offer in found.offers] == ["dev"]
    assert [note.split(":")[0] for note in found.notes] == ["compose.yml", "package.json", "pyproject.toml"]


NAMES = texts(max_size=60)
BODIES = texts(max_size=80)


@given(st.dictionaries(NAMES, BODIES, max_size=6), st.lists(st.tuples(NAMES, BODIES), max_size=4))
def test_whatever_the_scripts_the_file_loads(
    tmp_path_factory: pytest.TempPathFactory, scripts: dict[str, str], processes: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "project"
    folder.mkdir(exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"scripts": scripts}))
    procfile = "".join(f"{name}: {body}\n" for name, body in processes)
    (folder / "Procfile").write_text(procfile, "utf-8", "surrogatepass")
    found = find_offers(folder).offers
    file = folder / "paneview.toml"
    project = parse_project(draft(file, found).encode(), file, {})
    assert [(task.name, task.command) for task in project.tasks.values()] == [
        (offer.name, offer.command) for offer in found
    ]
    assert project.name == "project"


def test_with_nothing_found_the_file_holds_an_example_in_comments(tmp_path: Path) -> None:
    file = tmp_path / "paneview.toml"
    text = draft(file, [])
    assert parse_project(text.encode(), file, {}).tasks == {}
    example = "\n".join(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))
    data: Any = parse_project(
        ('name = "x"\n[tasks.db]\ncommand = "x"\n' + example[example.index("[tasks") :]).encode(), file, {}
    )
    assert data.tasks["web"].health_url
