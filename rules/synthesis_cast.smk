"""Results in which several people of one video are replaced at once."""


rule synthesis_cast:
    input:
        config=rules.group_template.output.config,
        members=member_files("config.json"),
        characters=lambda wildcards: every(
            rules.character.output, character=cast_of(wildcards).characters
        ),
        named=named_files("synthesis", "group"),
    output:
        video=ensure(cast_result(".mp4"), non_empty=True),
        record=cast_result(".json"),
    log:
        logged("synthesis", "{group}/{cast}.log"),
    benchmark:
        logged("synthesis", "{group}/{cast}.tsv")
    wildcard_constraints:
        group=groups_with_alpha(False),
    conda:
        environment("synthesis", "group")
    threads: threads("synthesis", "group")
    resources:
        **needs("synthesis", "group", "config", share=in_cast),
    params:
        group=subpath(input.config, parent=True),
        members=project.config.templates,
        roles=roles,
        alpha=lambda wildcards: alpha_options(project, wildcards.group),
        options=options("synthesis", "group"),
        code=lambda wildcards: project.digest(
            "synthesis", wildcards.group, "mimo.synthesis.cast"
        ),
    message:
        "{wildcards.group} with {wildcards.cast}: rendering the video"
    shell:
        "python -m mimo.synthesis.cast --group={params.group:q} --members-in={params.members:q}"
        " {params.roles:q} --output={output.video:q} {params.alpha:q} {params.options:q}"
        " > {log:q} 2>&1"


use rule synthesis_cast as synthesis_cast_alpha with:
    output:
        video=ensure(cast_result(".mp4"), non_empty=True),
        record=cast_result(".json"),
        alpha=with_alpha(cast_result),
    wildcard_constraints:
        group=groups_with_alpha(True),
