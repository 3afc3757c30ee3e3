"""Files of a long video's segments, for rules/segments.smk."""

from pathlib import Path

from mimo import segments


def part_files(*names):
    """Some files of all segments of a video."""
    return lambda wildcards: [
        made(name).format(video=part)
        for part in segments.part_names(project, wildcards.video)
        for name in names
    ]


def part_count(wildcards):
    """Number of segments of a video."""
    return segments.parts_of(project, wildcards.video)
