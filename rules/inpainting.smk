rule inpainting:
    input:
        vid=rules.ingest.output.vid,
        mask=rules.segmentation.output.mask,
        named=named_files("inpainting", "video"),
    output:
        bk=ensure(made("bk.mp4"), non_empty=True),
        record=made("records/inpainting.json"),
    log:
        logged("inpainting", "{video}.log"),
    benchmark:
        logged("inpainting", "{video}.tsv")
    wildcard_constraints:
        video=f"{segments.worked_on(project, 'inpainting')}|{segments.any_of(project.groups)}",
    conda:
        environment("inpainting", "video")
    threads: threads("inpainting", "video")
    resources:
        **needs("inpainting", "video"),
    params:
        folder=subpath(input.vid, parent=True),
        options=options("inpainting", "video"),
        code=digest("inpainting", "video"),
    message:
        "{wildcards.video}: filling in the scene behind the person"
    shell:
        "python -m video_decomp.inpainting --template={params.folder:q} {params.options:q}"
        " > {log:q} 2>&1"
