"""Corrections of masks by hand."""

from mimo.corrections import correction_files
from mimo.segments import video_of
from mimo.weight_sources.digests import content_digests


def corrections(wildcards):
    """What was corrected by hand of a video's mask; for a segment, of all its video."""
    return list(map(str, correction_files(corrections_folder(wildcards))))


def corrections_folder(wildcards):
    """Where corrections of a video's mask lie."""
    return project.config.corrections / video_of(wildcards.video)


def corrections_option(wildcards):
    """Command-line option that tells of them, if there are any."""
    folder = corrections_folder(wildcards)
    return [f"--corrections={folder}"] if corrections(wildcards) else []


def corrections_content(wildcards):
    """Digests of them."""
    return [
        line for file in corrections(wildcards) for line in content_digests(Path(file))
    ]
