"""The documentation is true: its code runs as written, its commands, links and files exist."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import duckdb
import pytest

from pipelines.refresh import refresh
from router import NoEligibleModelError, Request, Router, cli
from router.catalog.catalog import Catalog
from router.config import Settings
from router.configuration.organizations import OrganizationsFile
from router.configuration.retention import RetentionFile
from tests.factories import write_catalog
from tests.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = {
    name: (ROOT / name).read_text()
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "router/README.md",
        "router/OPERATIONS.md",
        "pipelines/README.md",
        "tests/README.md",
    )
}
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
PRICED = {"prices": [{"start": "2026-01-01", "input_usd_per_mtok": "1", "output_usd_per_mtok": "10"}]}


def block(name: str) -> str:
    """The code block that follows the marker; a block that two pages show is the same on both."""
    pattern = rf"<!-- test: {re.escape(name)} -->\n```\w+\n(.*?)```"
    found = [code for text in PAGES.values() for code in re.findall(pattern, text, re.DOTALL)]
    assert len(set(found)) == 1, f"the pages have {len(set(found))} blocks `{name}`"
    return str(found[0])


@pytest.fixture
def folder(tmp_path: Path, fake_url: str) -> Path:
    """A working folder whose data folder is where the pages' commands look for it."""
    write_catalog(tmp_path / "intellirouter-data", [{"id": "small", **PRICED}], base_url=fake_url)
    return tmp_path


@pytest.fixture
def port(folder: Path) -> Iterator[str]:
    """The port of a running shim."""
    command = [sys.executable, "-m", "router.cli", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip().rpartition(":")[2]
        process.terminate()


def run_python(code: str, folder: Path) -> str:
    """What a program prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_python_example_answers(folder: Path) -> None:
    """The callable's example prints text, model and exact cost."""
    assert run_python(block("python"), folder) == "from small small 0.002000000000\n"


@pytest.mark.slow
def test_the_streaming_example_answers(folder: Path) -> None:
    """The callable's streaming example prints the text."""
    assert run_python(block("stream"), folder) == "from small"


@pytest.mark.slow
def test_the_embedding_example_answers(folder: Path, fake_url: str) -> None:
    """The callable's other two APIs, by the two models that serve them."""
    models: list[str | dict[str, Any]] = ["small", {"id": "large", "vectors": "large"}]
    write_catalog(folder / "intellirouter-data", models, base_url=fake_url)
    assert run_python(block("embed"), folder) == "2 from small\n"


@pytest.mark.slow
def test_the_openai_example_answers(folder: Path, port: str) -> None:
    """The openai package's example prints the answer and the id to judge it by."""
    printed = run_python(block("openai").replace("8080", port), folder)
    assert re.fullmatch(r"from small [0-9a-f-]{36}\n", printed)


@pytest.mark.slow
def test_the_curl_examples_answer(folder: Path, port: str) -> None:
    """The first example shows the headers the README names; the second judges that answer."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    printed = _curl(block("curl").replace("8080", port))
    for header in ("x-request-id", "x-intellirouter-model: small", "x-intellirouter-cost-usd: 0.002"):
        assert header in printed
    request_id = re.search(r"x-request-id: (\S+)", printed)
    assert request_id is not None
    judged = _curl(block("feedback").replace("8080", port).replace("THE-X-REQUEST-ID", request_id.group(1)))
    assert "feedback_id" in json.loads(judged)


def _curl(command: str) -> str:
    return subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
def test_the_queries_answer(folder: Path) -> None:
    """Each of the pages' SQL queries returns rows on a warehouse with traffic."""
    home = folder / "intellirouter-data"
    models: list[str | dict[str, Any]] = [{"id": "small", **PRICED}, {"id": "down"}]
    catalog = (home / "catalog.yaml").read_text()
    base_url = re.search(r"base_url: (\S+)", catalog)
    assert base_url is not None
    write_catalog(home, models, base_url=base_url.group(1))
    with Router.open(home=home, seed=1) as router:
        message = {"role": "user", "content": "hi"}
        for _ in range(5):
            response = router.complete_sync(Request(messages=[message], task_type="math"))
            router.feedback(response.request_id, "quality", 1.0)
        with pytest.raises(Exception, match="503"):
            router.complete_sync(Request(messages=[message], model="down"))
    assert refresh(Settings.load({}, home=home)).success
    queries = [query for query in block("sql").split(";") if query.strip()]
    assert len(queries) == 6
    with duckdb.connect(home / "warehouse" / "intellirouter.duckdb", read_only=True) as connection:
        assert [bool(connection.execute(query).fetchall()) for query in queries] == [True] * 6
    report, total = [
        subprocess.run(
            [sys.executable, "-m", "router.cli", *shlex.split(line)[1:]],
            capture_output=True,
            text=True,
            check=True,
            cwd=folder,
            env=ENVIRONMENT,
        ).stdout
        for line in block("ask").splitlines()
    ]
    assert re.search(r"math\W+small\W+5\b", report), report
    assert re.search(r'"requests":\s*6\b', total), total  # five that were answered, and one that failed


def test_the_example_files_are_taken(tmp_path: Path) -> None:
    """policies.yaml, limits.yaml and experiments.yaml as printed are what the router reads."""
    write_catalog(tmp_path, [{"id": "gpt-4o", "data_policy": ["no_training"], **PRICED}, "other"])
    for name in ("policies.yaml", "limits.yaml", "experiments.yaml"):
        (tmp_path / name).write_text(block(name))
    request = Request(messages=[{"role": "user", "content": "hi"}], organization_id="acme")
    with Router.open(home=tmp_path) as router:
        assert {**router.health()["limits"], "limits": 1, "budgets": 2} == router.health()["limits"]
        with pytest.raises(NoEligibleModelError) as caught:
            router.route(request)
    assert caught.value.exclusions == {
        "gpt-4o": "the request's `ignore` lists it",
        "other": "its data policy does not state `no_training`, which policy `support-bot` requires",
    }


def test_the_example_catalog_is_taken(tmp_path: Path) -> None:
    """catalog.yaml as printed names two providers, one of them with two keys, one of them Azure's."""
    (tmp_path / "catalog.yaml").write_text(block("catalog.yaml"))
    catalog = Catalog.load(tmp_path / "catalog.yaml")
    assert [entry.kind for entry in catalog.providers.values()] == ["openai", "azure"]
    assert [len(entry.key_variables) for entry in catalog.providers.values()] == [2, 1]
    assert catalog.models["gpt-4o-azure"].provider_model == "my-deployment"


def test_the_example_of_arms_is_taken(tmp_path: Path) -> None:
    """Two efforts of one model, and a model of Gemini's own API."""
    (tmp_path / "catalog.yaml").write_text(block("arms.yaml"))
    models = Catalog.load(tmp_path / "catalog.yaml").models
    assert {models[name].provider_model for name in ("r1-high", "r1-low")} == {"deepseek/deepseek-r1"}
    assert models["gemini-3-pro"].provider == "google"


def test_the_example_of_vectors_is_taken(tmp_path: Path) -> None:
    """Two deployments that stand in for one another, and a model of two APIs."""
    (tmp_path / "catalog.yaml").write_text(block("vectors.yaml"))
    catalog = Catalog.load(tmp_path / "catalog.yaml")
    assert catalog.vectors == {"text-embedding-3-small"}
    assert [model.vectors is None for model in catalog.models.values()] == [True, False, False]
    assert catalog.models["gpt-4o"].apis == {"chat", "responses"}


def test_the_example_of_retention_is_taken(tmp_path: Path) -> None:
    """retention.yaml as printed gives one organisation its periods and holds one user."""
    (tmp_path / "retention.yaml").write_text(block("retention.yaml"))
    rules = RetentionFile.load(tmp_path / "retention.yaml")
    assert set(rules.organizations) == {"acme"}
    assert [hold.user for hold in rules.legal_holds] == ["ada"]


def test_the_example_of_organizations_is_taken(tmp_path: Path) -> None:
    """organizations.yaml as printed gives one organisation a mark-up and one a discount."""
    (tmp_path / "organizations.yaml").write_text(block("organizations.yaml"))
    acme, globex = OrganizationsFile.load(tmp_path / "organizations.yaml").organizations
    assert (acme.time_zone, str(acme.mark_up), str(globex.discount)) == ("Europe/Vienna", "0.15", "0.1")


def _lines_of_shell() -> list[str]:
    blocks = [code for text in PAGES.values() for code in re.findall(r"```bash\n(.*?)```", text, re.DOTALL)]
    return sorted({line for code in blocks for line in code.replace("\\\n", " ").splitlines()})


@pytest.mark.parametrize("line", [line for line in _lines_of_shell() if line.startswith("intellirouter ")])
def test_a_command_has_its_options(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each `intellirouter` command in the pages is parsed by the command line, without being run."""
    words = shlex.split(line, comments=True)[1:]
    monkeypatch.chdir(tmp_path)
    for name in [word for word in words if word.endswith((".csv", ".json", ".parquet", ".tar.gz", ".yaml"))]:
        Path(name).touch()  # a file that the reader has
    command: click.Command = cli._group()
    context = click.Context(command, info_name="intellirouter")
    while isinstance(command, click.Group) and not words[0].startswith("-"):
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command, context = found, click.Context(found, parent=context)
    command.make_context(command.name, words, parent=context.parent)


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_page_links_to_what_exists(page: str) -> None:
    """Relative links lead to files, folders and headings; files in backticks of CONTRIBUTING exist."""
    folder = (ROOT / page).parent
    for target, _, heading in re.findall(r"\]\((?!https?:)([^)#]*)(#?)([^)]*)\)", PAGES[page]):
        path = folder / target if target else ROOT / page
        assert path.exists(), target
        if heading:
            assert heading in _headings(path.read_text()), heading
    for path_named in re.findall(r"`((?:router|pipelines|sql|tests)/[^`<> ]*)`", PAGES[page]):
        assert (ROOT / path_named).exists(), path_named


def _headings(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_ways_through_the_code_are_short() -> None:
    """A reader opens at most 12 files from HTTP to Parquet, and at most 14 from a segment to a score."""
    ways = re.findall(r"<!-- files: at most (\d+) -->\n((?:\d+\. .*\n)+)", PAGES["CONTRIBUTING.md"])
    assert [int(bound) for bound, _ in ways] == [12, 14]
    for bound, way in ways:
        files = re.findall(r"^\d+\. `([^`]+)`", way, re.MULTILINE)
        assert 0 < len(files) == len(way.splitlines()) <= int(bound)
        assert [path for path in files if not (ROOT / path).is_file()] == []


def test_the_benchmarks_are_listed() -> None:
    """tests/README.md has a line for each benchmark."""
    programs = {path.stem for path in (ROOT / "tests" / "benchmarks").glob("*.py")}
    listed = set(
        re.findall(r"^\| `(\w+)` \|", PAGES["tests/README.md"].partition("## Benchmarks")[2], re.MULTILINE)
    )
    assert listed == programs - {"recorded", "__init__"}


def test_the_example_file_names_only_what_exists() -> None:
    """.env.example names only settings that exist, or keys of providers."""
    known = {name for name, _, _ in Settings.describe()} | {"OPENAI_API_KEY"}
    named = set(re.findall(r"^([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert named <= known
