"""Who plays whom in results with several people, and where these lie."""

from dataclasses import replace

from mimo.casting import KEEP, REMOVE, Cast


def cast_of(wildcards):
    """Who plays whom."""
    try:
        cast = Cast.parse(wildcards.cast)
        cast.check(project.groups[wildcards.group], project.characters)
    except Rejected as error:
        raise WorkflowError(str(error)) from None
    return cast


def roles(wildcards):
    """A cast as its command line is told of it."""
    return [
        f"--cast={member}={role if role in (KEEP, REMOVE) else project.config.prepared / role}"
        for member, role in cast_of(wildcards).roles
    ]


def cast_result(suffix):
    """A file of the result of a group and a cast."""
    return f"{project.config.results}/{{group}}/{{cast}}{suffix}"


def groups_with_alpha(wanted):
    """Regular expression of groups whose results are made with transparency, too; or of those that are not."""
    return segments.any_of(
        group for group in project.groups if has_alpha(project, group) == wanted
    )


def in_cast(name, clip):
    """What a cast works on: the clip once for each of its people."""
    return replace(clip, frames=clip.frames * len(project.groups[name]))
