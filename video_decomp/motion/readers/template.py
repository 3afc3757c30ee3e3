"""Reader of ``motion.npz`` of a template: the motion that was fitted to a video, or imported before."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from mimo.body.model import Topology
from mimo.body.motion import Motion
from mimo.body.rig import anny_roles
from mimo.body.smpl import BODY_JOINTS
from mimo.stage import Rejected
from mimo.template import CONFIG, TemplateConfig
from mimo.video import VideoError, VideoReader
from video_decomp.motion.interface import SkeletonMotion, Source
from video_decomp.motion.readers.amass import smpl_roles

NEEDED = {"rest_bones.npy", "root_rotation.npy", "camera.npy"}


def recognises(path: Path) -> bool:
    """Whether a file is a ``motion.npz``, or a folder with one."""
    file = path / "motion.npz" if path.is_dir() else path
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return set(archive.namelist()) >= NEEDED


def read(path: Path, source: Source) -> SkeletonMotion:
    """Read a motion; see `video_decomp.motion.interface`.

    Raises:
        Rejected: it is damaged, or of a body that is not installed here.
    """
    file = path / "motion.npz" if path.is_dir() else path
    motion = Motion.load(file)
    topology = Topology.named(motion.model)
    heads = motion.rest_bones[:, :3, 3].astype(np.float64)
    frames, joints = motion.rotations.shape[:2]
    rotations = Rotation.from_rotvec(motion.rotations.reshape(-1, 3)).as_matrix()
    rotations = rotations.reshape(frames, joints, 3, 3)
    turn = Rotation.from_rotvec(motion.root_rotation).as_matrix()
    # A motion turns about the model's origin, a skeleton about its root.
    root = motion.translation + turn @ heads[0]
    normal = motion.ground[:3].astype(np.float64)
    length = float(np.linalg.norm(normal))
    up = normal / length if length > 0.5 else np.array([0.0, -1.0, 0.0])
    if motion.view is not None:
        # Back from a camera that moved to the world that it moved in.
        back = motion.view[:, :, :3].astype(np.float64).swapaxes(1, 2)
        turn = back @ turn
        root = np.einsum("tij,tj->ti", back, root - motion.view[:, :, 3])
        up = np.array([0.0, 0.0, 1.0])
    rotations[:, 0] = turn @ rotations[:, 0]
    fps, warnings = _rate(file, source)
    parents = topology.parents
    smpl = set(BODY_JOINTS) <= set(topology.bone_names)
    return SkeletonMotion(
        names=topology.bone_names,
        parents=parents,
        offsets=np.where(parents[:, None] >= 0, heads - heads[parents], 0),
        rotations=rotations,
        translation=root,
        fps=fps,
        up=up,
        roles=smpl_roles(topology.bone_names) if smpl else anny_roles(topology.bone_names),
        kind=f"motion.npz ({motion.model})",
        rest_of=motion.model,
        shape=motion.shape,
        warnings=tuple(warnings),
    )


def _rate(file: Path, source: Source) -> tuple[float, list[str]]:
    """Frames a second, of the template that the file lies in."""
    if source.source_fps is not None:
        return source.source_fps, []
    for name in ("vid.mp4", "sdc.mp4"):
        video = file.with_name(name)
        if video.is_file():
            try:
                return float(VideoReader(video).info.fps), []
            except VideoError as error:
                raise Rejected(str(error)) from None
    if file.with_name(CONFIG).is_file():
        return TemplateConfig.read(file.with_name(CONFIG)).fps, []
    return 30.0, ["The file lies in no template, so 30 frames a second were assumed (see --source-fps)."]
