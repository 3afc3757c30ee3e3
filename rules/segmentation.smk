rule segmentation:
    input:
        vid=rules.ingest.output.vid,
        corrections=corrections,
        named=named_files("segmentation", "video"),
    output:
        mask=ensure(made("mask.mp4"), non_empty=True),
        record=made("records/segmentation.json"),
    log:
        logged("segmentation", "{video}.log"),
    benchmark:
        logged("segmentation", "{video}.tsv")
    wildcard_constraints:
        video=segments.worked_on(project, "segmentation"),
    conda:
        environment("segmentation", "video")
    threads: threads("segmentation", "video")
    resources:
        **needs("segmentation", "video"),
    params:
        folder=subpath(input.vid, parent=True),
        options=options("segmentation", "video"),
        corrections=corrections_option,
        corrected=corrections_content,
        code=digest("segmentation", "video"),
    message:
        "{wildcards.video}: finding and cutting out the person"
    shell:
        "python -m video_decomp.segmentation --template={params.folder:q} {params.options:q}"
        " {params.corrections:q} > {log:q} 2>&1"
