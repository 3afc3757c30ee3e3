"""Files and resources of the parts that results of long templates are made in."""

from dataclasses import replace


def made_in_parts():
    """Regular expression of templates whose results are made in parts: not those with transparency."""
    return rf"(?!(?:{alpha_pattern(project)})/)(?:{segments.in_parts(project)})"


def part_clip(template, clip):
    """What a part of a result works on: a clip as long as it is."""
    return replace(clip, frames=-(-clip.frames // segments.parts_of(project, template)))


def result_parts(wildcards):
    """The files of all parts of a result."""
    return every(
        rules.synthesis_part.output,
        template=wildcards.template,
        character=wildcards.character,
        part=segments.result_parts(project, wildcards.template),
    )
