"""The workspace: the project of the only user, or a project for each, which others cannot see."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from mimo.app.limits import Limits
from mimo.app.project_folder import PRIVATE, ProjectFolder
from mimo.app.signing import Signer
from mimo.run.configuration import read_configuration
from mimo.stage import Rejected, parse_settings

ONE = ""
"""Name of the only user of a workspace."""
USERS = "users"
_USER = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Workspace:
    """A folder that the app works in.

    Attributes:
        folder: absolute path, a project folder.
        many: every browser is a user with a project of its own, ``users/ID``; else there is one user, whose
            project is the workspace.
        shared: project whose templates, motions, characters and scenes all users may use; None: with many
            users the workspace itself, with one user none.
        limits: of each user.
        signer: signs cookies.
    """

    folder: Path
    many: bool
    shared: Path | None
    limits: Limits
    signer: Signer

    @classmethod
    def open(cls, folder: Path, *, many: bool, gallery: Path | None = None) -> Workspace:
        """Open a workspace; what it lacks is made.

        Raises:
            Rejected: its ``config.yaml`` or its secret cannot be used.
        """
        folder = folder.absolute()
        alone = ProjectFolder(ONE, folder, None)
        alone.prepare()
        config = folder / "config.yaml"
        limits = parse_settings(Limits, read_configuration([config]).get("app") or {}, f"{config}: app")
        if gallery is not None and not gallery.is_dir():
            raise Rejected(f"{gallery}: no such folder; give the project that is to be the gallery")
        shared = gallery.absolute() if gallery else folder if many else None
        return cls(folder, many, shared, limits, Signer(folder / PRIVATE / "secret"))

    @property
    def private(self) -> Path:
        """Folder of the server's own files, which are served to nobody."""
        return self.folder / PRIVATE

    @staticmethod
    def new_user() -> str:
        """A name that nobody can guess."""
        return secrets.token_hex(16)

    def project(self, user: str) -> ProjectFolder:
        """Project of a user.

        Args:
            user: `ONE`, or a name by `new_user`.

        Raises:
            Rejected: no such name can be.
        """
        if not self.many:
            return ProjectFolder(ONE, self.folder, self.shared)
        if not _USER.fullmatch(user):
            raise Rejected("this page is of an earlier session; load it again")
        config = self.folder / "config.yaml"
        return ProjectFolder(user, self.folder / USERS / user, self.shared, config)

    def users(self) -> list[str]:
        """All users that have a project."""
        if not self.many:
            return [ONE]
        folder = self.folder / USERS
        paths = folder.iterdir() if folder.is_dir() else ()
        return sorted(path.name for path in paths if _USER.fullmatch(path.name))
