"""Results of long templates: made in parts that do not wait for each other, and joined."""


rule synthesis_part:
    input:
        **rules.synthesis.input,
    output:
        video=temp(result_part(".mp4")),
        edges=temp(result_part(".npz")),
        record=temp(result_part(".json")),
    log:
        logged("synthesis", "{template}/{character}.parts/{part}.log"),
    benchmark:
        logged("synthesis", "{template}/{character}.parts/{part}.tsv")
    wildcard_constraints:
        template=made_in_parts(),
        part=r"\d+-of-\d+",
    conda:
        environment("synthesis", "template")
    threads: threads("synthesis", "template")
    resources:
        **needs("synthesis", "template", "config", share=part_clip),
    params:
        template=subpath(input.config, parent=True),
        character=subpath(input.character, parent=True),
        options=options("synthesis", "template"),
        code=digest("synthesis", "template"),
    message:
        "{wildcards.template} with {wildcards.character}: rendering part {wildcards.part}"
    shell:
        "python -m mimo.synthesis --part={wildcards.part} --template={params.template:q}"
        " --character={params.character:q} --output={output.video:q} {params.options:q}"
        " > {log:q} 2>&1"


rule synthesis_join:
    input:
        **rules.synthesis.input,
        parts=result_parts,
    output:
        video=ensure(result(".mp4"), non_empty=True),
        record=result(".json"),
    log:
        logged("synthesis", "{template}/{character}.log"),
    benchmark:
        logged("synthesis", "{template}/{character}.tsv")
    wildcard_constraints:
        template=made_in_parts(),
    conda:
        environment("synthesis", "template")
    threads: 2
    resources:
        mem_mb=1000,
    params:
        template=subpath(input.config, parent=True),
        character=subpath(input.character, parent=True),
        videos=lambda wildcards, input: [
            path for path in input.parts if path.endswith(".mp4")
        ],
        options=options("synthesis", "template"),
        code=segments.result_join_digest(),
    message:
        "{wildcards.template} with {wildcards.character}: joining the parts of the video"
    shell:
        "python -m mimo.synthesis.join --template={params.template:q} --character={params.character:q}"
        " --output={output.video:q} {params.options:q} {params.videos:q} > {log:q} 2>&1"
