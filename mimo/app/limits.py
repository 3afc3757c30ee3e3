"""What users of the web app may bring and keep: the block ``app:`` of the workspace's ``config.yaml``."""

from __future__ import annotations

from pydantic import Field

from mimo.stage import StageSettings

GIGABYTE = 10**9


class Limits(StageSettings):
    """Limits for each user; those of files count for each file."""

    video_megabytes: float = Field(2000, gt=0, description="size of a video (also a scene's), MB")
    video_seconds: float = Field(600, gt=0, description="length of a video")
    video_side: int = Field(4096, ge=64, description="pixels of the longer side of a video")
    picture_megabytes: float = Field(40, gt=0, description="size of a picture, MB")
    picture_megapixels: float = Field(100, gt=0, description="size of a picture, million pixels")
    motion_megabytes: float = Field(100, gt=0, description="size of a file with 3D motion, MB; also unpacked")
    project_gigabytes: float = Field(20, gt=0, description="all files of a user, also those made")
    free_gigabytes: float = Field(5, ge=0, description="room that uploads leave on the disk")
    inputs: int = Field(200, ge=1, description="videos, pictures and motions of a user")
    waiting_jobs: int = Field(20, ge=1, description="unfinished jobs of a user")
    keep_days: float = Field(
        14, gt=0, description="days after which inputs that were not used go, with what was made of them"
    )
    keep_days_alone: float | None = Field(
        None, gt=0, description="the same with --users one; null: nothing goes by itself"
    )
    login_hours: float = Field(24, gt=0, description="hours after which the password is asked for again")
