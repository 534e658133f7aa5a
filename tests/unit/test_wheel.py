"""The installed wheel works without a checkout: command, templates and playbooks are in it."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
SECONDS = 180


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it; the libraries are those of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, CHECKOUT, cwd=folder)
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    site = next((folder / "venv" / "lib").glob("python3*/site-packages"))
    wheel = next(folder.glob("cloudexit-*.whl"))
    run(*pip, "install", "--no-deps", "--target", site, wheel, cwd=folder)
    # Libraries only: the checkout's own editable entry is a .pth file, which a path in PYTHONPATH does not follow.
    (site / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "venv" / "bin" / "python"


def test_the_package_comes_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    origin = run(installed, "-c", "import migrate; print(migrate.__file__)", cwd=tmp_path).strip()
    assert Path(origin).is_relative_to(installed.parents[1])


def test_the_playbooks_are_in_it(installed: Path, tmp_path: Path) -> None:
    program = "from migrate.target.playbooks import playbooks_folder as f; print(f())"
    folder = Path(run(installed, "-c", program, cwd=tmp_path).strip())
    assert folder.is_relative_to(installed.parents[1])
    assert {path.name for path in (folder / "roles").iterdir()} == {
        path.name for path in (CHECKOUT / "playbooks" / "roles").iterdir()
    }
    travels = folder / "roles" / "storage" / "module_utils" / "cloudexit_datadisks.py"
    assert travels.read_text() == (CHECKOUT / "migrate" / "datadisks.py").read_text()


def test_the_command_makes_a_manifest_and_plans_it(installed: Path, tmp_path: Path) -> None:
    command = (installed, "-c", "from migrate.cli import main; main()")
    run(*command, "init", "mine", "--endpoint-url", "http://127.0.0.1:1", cwd=tmp_path)
    assert "restore.database.myapp.load" in run(*command, "plan", "mine/stack.yaml", cwd=tmp_path)
