rule pose:
    input:
        vid=rules.ingest.output.vid,
        mask=rules.segmentation.output.mask,
        named=named_files("pose", "video"),
    output:
        motion=ensure(made("motion.npz"), non_empty=True),
        sdc=ensure(made("sdc.mp4"), non_empty=True),
        record=made("records/pose.json"),
    log:
        logged("pose", "{video}.log"),
    benchmark:
        logged("pose", "{video}.tsv")
    wildcard_constraints:
        video=segments.worked_on(project, "pose"),
    conda:
        environment("pose", "video")
    threads: threads("pose", "video")
    resources:
        **needs("pose", "video"),
    params:
        folder=subpath(input.vid, parent=True),
        options=options("pose", "video"),
        code=digest("pose", "video"),
    message:
        "{wildcards.video}: fitting the body and its motion"
    shell:
        "python -m video_decomp.pose --template={params.folder:q} {params.options:q}"
        " > {log:q} 2>&1"
