"""Results in which several people of one video are replaced at once."""

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


def in_cast(name, clip):
    """What a cast works on: the clip once for each of its people."""
    return replace(clip, frames=clip.frames * len(project.groups[name]))


rule synthesis_cast:
    input:
        config=rules.group_template.output.config,
        members=member_files("config.json"),
        characters=lambda wildcards: every(
            rules.character.output, character=cast_of(wildcards).characters
        ),
        named=named_files("synthesis", "group"),
    output:
        video=ensure(f"{project.config.results}/{{group}}/{{cast}}.mp4", non_empty=True),
        record=f"{project.config.results}/{{group}}/{{cast}}.json",
    log:
        logged("synthesis", "{group}/{cast}.log"),
    benchmark:
        logged("synthesis", "{group}/{cast}.tsv")
    conda:
        environment("synthesis", "group")
    threads: threads("synthesis", "group")
    resources:
        **needs("synthesis", "group", "config", share=in_cast),
    params:
        group=subpath(input.config, parent=True),
        members=project.config.templates,
        roles=roles,
        options=options("synthesis", "group"),
        code=lambda wildcards: project.digest(
            "synthesis", wildcards.group, "mimo.synthesis.cast"
        ),
    message:
        "{wildcards.group} with {wildcards.cast}: rendering the video"
    shell:
        "python -m mimo.synthesis.cast --group={params.group:q} --members-in={params.members:q}"
        " {params.roles:q} --output={output.video:q} {params.options:q} > {log:q} 2>&1"
