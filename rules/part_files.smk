"""Files and resources of the parts that results of long templates are made in."""

from dataclasses import replace


def part_needs(resource):
    """Resources of a part: those of a clip as long as it is."""

    def amount(wildcards, input, attempt):
        clip = job_clip("synthesis", wildcards.template, Path(input.config))
        parts = segments.parts_of(project, wildcards.template)
        part = replace(clip, frames=-(-clip.frames // parts))
        return getattr(
            project.demand("synthesis", wildcards.template, part, attempt), resource
        )

    return amount


def result_parts(wildcards):
    """The files of all parts of a result."""
    return every(
        rules.synthesis_part.output,
        template=wildcards.template,
        character=wildcards.character,
        part=segments.result_parts(project, wildcards.template),
    )
