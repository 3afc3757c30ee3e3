"""Opens a file with 3D motion by the reader that recognises it."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from mimo.stage import Rejected
from video_decomp.motion.interface import SkeletonMotion, Source
from video_decomp.motion.readers import amass, bvh, deepmimic, phalp, template

READERS: tuple[ModuleType, ...] = (amass, template, bvh, deepmimic, phalp)


def read_motion(path: Path, source: Source) -> SkeletonMotion:
    """Read 3D motion of any kind.

    Args:
        path: a file, or a template's folder.
        source: how to understand it.

    Raises:
        Rejected: there is no such file, no reader knows it, or it cannot be used.
    """
    if not path.exists():
        raise Rejected(f"{path}: not there; give a file with 3D motion, or a template's folder")
    for reader in READERS:
        if (not path.is_dir() or reader is template) and reader.recognises(path):
            motion: SkeletonMotion = reader.read(path, source)
            return motion
    raise Rejected(
        f"{path}: not a motion that is known: AMASS .npz, BVH, DeepMimic's humanoid3d .txt, results of PHALP "
        "(.pkl), or motion.npz of a template"
    )
