"""What a wheel needs beyond `pyproject.toml`: the migrations in a place of ours, and the same bytes for everybody."""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
MIGRATIONS = "eventstore/database/migrations"
"""Where `eventstore.database.schema` looks for them first. A folder `alembic` beside ours would be the library's."""

# A wheel keeps the modes of its files, and whoever builds it has a mask of their own.
os.umask(0o022)


class BuildRooms(build_py):
    """The rooms, and the migrations, which are no package; an editable installation reads them where they are."""

    def run(self) -> None:
        """Copies everything to where the wheel is made from."""
        super().run()
        if self.editable_mode:
            return
        built = Path(self.build_lib)
        for source in sorted((ROOT / "alembic").rglob("*.py")):
            target = built / MIGRATIONS / source.relative_to(ROOT / "alembic")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        for path in built.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)


setup(cmdclass={"build_py": BuildRooms})
