rule character:
    input:
        picture=lambda wildcards: stored(project.characters[wildcards.character]),
        named=named_files("character", "character"),
    output:
        image=ensure(prepared("image.png"), non_empty=True),
        mask=ensure(prepared("mask.png"), non_empty=True),
        body=ensure(prepared("body.npz"), non_empty=True),
        record=prepared("character.json"),
    log:
        logged("character", "{character}.log"),
    benchmark:
        logged("character", "{character}.tsv")
    conda:
        environment("character", "character")
    threads: threads("character", "character")
    resources:
        **needs("character", "character", "picture"),
    params:
        folder=subpath(output.record, parent=True),
        options=options("character", "character"),
        code=digest("character", "character"),
        source=content(project.characters, "character"),
    message:
        "{wildcards.character}: preparing the character"
    shell:
        "python -m video_decomp.character --character={params.folder:q} {params.options:q}"
        " -- {input.picture:q} > {log:q} 2>&1"
