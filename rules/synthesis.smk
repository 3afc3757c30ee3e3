rule synthesis:
    input:
        config=stored(f"{project.config.templates}/{{template}}/config.json"),
        template=template_files,
        character=rules.character.output.record,
        pictures=rules.character.output,
        named=named_files("synthesis", "template"),
    output:
        video=ensure(result(".mp4"), non_empty=True),
        record=result(".json"),
    log:
        logged("synthesis", "{template}/{character}.log"),
    benchmark:
        logged("synthesis", "{template}/{character}.tsv")
    wildcard_constraints:
        template=rf"(?!(?:{made_otherwise()})/)[^/]+",
    conda:
        environment("synthesis", "template")
    threads: threads("synthesis", "template")
    resources:
        **needs("synthesis", "template", "config"),
    params:
        template=subpath(input.config, parent=True),
        character=subpath(input.character, parent=True),
        alpha=lambda wildcards: alpha_options(project, wildcards.template),
        options=options("synthesis", "template"),
        code=digest("synthesis", "template"),
    message:
        "{wildcards.template} with {wildcards.character}: rendering the video"
    shell:
        "python -m mimo.synthesis --template={params.template:q}"
        " --character={params.character:q} --output={output.video:q} {params.alpha:q} {params.options:q}"
        " > {log:q} 2>&1"


use rule synthesis as synthesis_alpha with:
    output:
        video=ensure(result(".mp4"), non_empty=True),
        record=result(".json"),
        alpha=with_alpha(result),
    wildcard_constraints:
        template=rf"(?!(?:{segments.any_of(project.groups)})/)(?:{alpha_pattern(project)})",
