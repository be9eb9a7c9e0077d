"""`genre-assets env`: the file that docker-compose.yaml is started with."""

import re
import subprocess
import sys
from pathlib import Path

from dotenv import dotenv_values

from genre_assets.stack.containers.secrets_file import MADE, compose_environment

COMMAND = str(Path(sys.executable).with_name("genre-assets"))


def test_it_goes_into_a_file_that_its_owner_alone_reads_and_has_new_secrets_each_time(tmp_path: Path) -> None:
    seen = []
    for name in ("a", "b"):
        with (tmp_path / name).open("w") as output:
            subprocess.run([COMMAND, "env"], stdout=output, check=True, cwd=tmp_path)
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        values = dotenv_values(tmp_path / name)
        assert values.keys() == {*MADE, "COMPOSE_PROFILES"}, "defaults stay commented out: a later version's hold"
        assert all(re.fullmatch(r"[\w-]{32}", values[secret] or "") for secret in MADE)
        seen += [values[secret] for secret in MADE]
    assert len(set(seen)) == 2 * len(MADE)


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    assert subprocess.run([COMMAND, "env", str(file)], cwd=tmp_path).returncode == 0
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_text()
    done = subprocess.run([COMMAND, "env", str(file)], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "its secrets are in use: move it away" in " ".join(done.stderr.split())
    assert file.read_text() == before


def test_what_the_compose_file_states_itself_is_not_offered() -> None:
    secrets = "\n".join(f"{name}=" for name in MADE)
    template = f"Head\n\n{secrets}\n# One.\nGENRE_ONE=1\n# Two.\nGENRE_B=2\nGENRE_S3_PORT=9300\n# GENRE_C=\n"
    text = compose_environment(template, "x:\n  y:\n    GENRE_ONE: here\n    GENRE_B: ${GENRE_B:-2}\n")
    assert text.endswith("# Two.\n# GENRE_B=2\n# GENRE_C=\n")
    assert "GENRE_ONE" not in text
    assert "One." not in text
